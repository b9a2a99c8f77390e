let
  f = x: { value = x; };
in
(f 1) 2
