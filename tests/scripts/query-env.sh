# What nix-env finds in an expression, and what it says of packages that are not as they should be.
cat > packages.nix <<'P'
let
  d = attrs: derivation ({ system = "x86_64-linux"; builder = "/bin/sh"; } // attrs);
in {
  b = d { name = "b-1.2"; } // { meta = { description = "the b"; license = { free = true; }; platforms = [ "x86_64-linux" ]; }; };
  a = d { name = "a-2.0"; outputs = [ "out" "dev" ]; } // { meta.outputsToInstall = [ "out" "dev" ]; };
  set = { recurseForDerivations = true; inner = d { name = "inner-3"; }; };
  closed = { hidden = d { name = "hidden-4"; }; };
  "a+b" = d { name = "plus-5"; };
  failing = throw "this one does not evaluate";
  asserted = assert false; d { name = "asserted-6"; };
  wrong = d { name = "wrong-7"; } // { meta.odd = x: x; };
}
P
nix-env -f packages.nix -qa 2>&1 | sort || true
sed -i '/failing/d' packages.nix
nix-env -f packages.nix -qaP --description
nix-env -f packages.nix -qa --json --meta 2>/dev/null | tr , '\n' | grep -v '"system"'
nix-env -f packages.nix -qa --attr-path -A set
nix-env -f packages.nix -qa 'in.*' a
nix-env -f packages.nix -qa --system
nix-env -f packages.nix -qa missing 2>&1 || echo "status $?"
