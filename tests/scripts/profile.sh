# A profile of store paths and of attributes of a file.
cat >default.nix <<'EOF'
let mk = name: derivation { inherit name; system = builtins.currentSystem; builder = builtins.getEnv "SHELL_PROGRAM"; PATH = builtins.getEnv "TOOLS"; args = [ "-c" "mkdir -p $out/bin; echo ${name} >$out/bin/${builtins.substring 0 1 name}; :" ]; };
in { a = mk "a-1.0"; a2 = mk "a-2.0"; b = mk "b-1"; }
EOF
names() { sed "s:$PWD/store/[^-]*-:PATH-:g"; }
nix profile add -f . a 2>/dev/null
nix profile add $(nix-build -A b --no-out-link 2>/dev/null) 2>/dev/null
nix profile list | names
nix profile list --json | names
profile=$(readlink -f home/.nix-profile)
cat "$profile/manifest.json" | names; echo
cat "$profile/bin/a" "$profile/bin/b"
nix-store -q --references "$profile" | names | sort
nix path-info --json --json-format 1 "$profile" | grep -o '"ca":"fixed:r:sha256:'
nix profile remove a 2>&1
nix profile remove nothing 2>&1
nix profile add --priority 3 -f . a2 2>/dev/null
nix profile list --json | names
nix profile history | sed 's/([-0-9]*)/(DATE)/'
nix profile rollback 2>&1
nix profile rollback --to 1 2>&1
nix profile list | names
nix profile wipe-history 2>&1
nix profile history | sed 's/([-0-9]*)/(DATE)/'
nix profile remove --all 2>&1
nix profile list
