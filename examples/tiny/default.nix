# The smallest build worth the name: two derivations, one using the other, that need nothing but /bin/sh.
#
#   nixlang build -f examples/tiny
let
  shell = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-euc" script ];
  };

  greeting = shell "greeting" ''
    echo 'Hello from a build' >"$out"
  '';
in
# Mentioning `greeting` in the script is what makes it an input: its path is filled in, and it is built first.
shell "tiny" ''
  read -r text <${greeting}
  echo "$text, which was built in the sandbox of another." >"$out"
''
