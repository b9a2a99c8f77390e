# `nix-env -qas`: installed, present, obtainable.
cat >default.nix <<'EOF'
let mk = name: derivation { inherit name; system = builtins.currentSystem; builder = builtins.getEnv "SHELL_PROGRAM"; args = [ "-c" "echo >$out" ]; };
in { a = mk "a-1"; b = mk "b-1"; }
EOF
a=$(nix-build --no-out-link -A a 2>/dev/null)
nix copy --no-check-sigs --to "file://$PWD/cache1" "$a" 2>/dev/null
query() { nix-env -f . -qas "$@" --option substitute true --substituters "file://$PWD/cache1" '*'; }
query
nix-store --delete "$a" >/dev/null 2>&1
query
echo 'WantMassQuery: 1' >>cache1/nix-cache-info
query
query -b
