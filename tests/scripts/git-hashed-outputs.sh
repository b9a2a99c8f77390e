# Outputs that are named by git's hash of their tree: fixed and floating, files and directories.
cat >default.nix <<'EOF'
let
  mk = name: attrs: derivation ({
    inherit name; system = builtins.currentSystem; builder = builtins.getEnv "SHELL_PROGRAM"; PATH = builtins.getEnv "TOOLS";
    args = [ "-c" "mkdir $out; cd $out; echo hi >a.c; mkdir a; echo '#!' >a/x; chmod +x a/x; ln -s a l; :" ];
    outputHashMode = "git";
  } // attrs);
in {
  floating = mk "floating" { __contentAddressed = true; outputHashAlgo = "sha1"; };
  fixed = mk "fixed" { outputHashAlgo = "sha1"; outputHash = "3ff7aa3b19e01c08ae61ac07cc0ac8ac7ea57a8f"; };
  file = mk "file" { __contentAddressed = true; outputHashAlgo = "sha256"; args = [ "-c" "echo hello >$out" ]; };
}
EOF
nix path-info --json --json-format 1 $(nix-build --no-out-link -A floating 2>/dev/null) | grep -o '"ca":"[^"]*"'
nix path-info --json --json-format 1 $(nix-build --no-out-link -A file 2>/dev/null) | grep -o '"ca":"[^"]*"'
nix-build --no-out-link -A fixed 2>&1 >/dev/null | grep -o 'got: .*'
