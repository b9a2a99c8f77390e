# Packages as XML.
cat >default.nix <<'EOF'
let mk = name: meta: derivation { inherit name; system = "x86_64-linux"; builder = builtins.getEnv "SHELL_PROGRAM"; outputs = [ "out" "dev" ]; PATH = builtins.getEnv "TOOLS"; args = [ "-c" "mkdir $out $dev; :" ]; } // { inherit meta; };
in {
  a = mk "a-1.0" { description = "an \"<a>\" & b\nc"; priority = 3; broken = false; strings = [ "x" "y" ]; set = { one = "1"; two = "2"; }; };
  b = mk "b" { };
}
EOF
nix-env -f . -i a 2>/dev/null
nix-env -f . -qa --xml
nix-env -f . -qa --xml --meta --status --description --compare-versions --system a
nix-env -q --xml
