let
  version = { major = 1; };
in
"name-${version}"
