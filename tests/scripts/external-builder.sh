# A program that builds for a kind of machine that this is not.
cat >default.nix <<'EOF'
derivation {
  name = "external"; system = "x68_46-xunil"; builder = builtins.getEnv "SHELL_PROGRAM";
  args = [ "-c" "echo the builder says $words; printf foo >$out" ]; words = "some words"; dep = builtins.toFile "dep" "";
}
EOF
cat >external <<EOF
#!$SHELL_PROGRAM
set -eu
get() { nix eval --impure --raw --expr "let json = builtins.fromJSON (builtins.readFile \$2); in \$1" 2>/dev/null; }
echo not for the log
[ "\$1" = flag ]
out=\$(get json.env.out "\$2") words=\$(get json.env.words "\$2")
export out words
[ "\$out" = "\$(get json.outputs.out "\$2")" ]
script=\$(get 'builtins.elemAt json.args 1' "\$2")
printf '\2\n'
get 'builtins.concatStringsSep " " (builtins.attrNames json)' "\$2"; echo
get '"\${toString json.version} \${json.system} \${json.tmpDirInSandbox} \${json.env.TMPDIR}"' "\$2"; echo
get 'toString (map (path: builtins.substring 33 100 (baseNameOf path)) json.inputPaths)' "\$2"; echo
[ "\$PWD" = "\$(get json.tmpDir "\$2")" ] && [ "\$PWD" = "\$(get json.topTmpDir "\$2")/build" ] && echo here
$SHELL_PROGRAM -c "\$script"
EOF
chmod +x external
build() { nix-build --no-out-link --option external-builders "[{\"systems\":[\"x68_46-xunil\"],\"args\":[\"flag\"],\"program\":\"$PWD/external\"}]" "$@"; }
build 2>&1 | grep -o "experimental Nix feature 'external-builders' is disabled"
NIX_CONFIG="$NIX_CONFIG
extra-experimental-features = external-builders" build 2>log >path
grep -v -e '^this derivation' -e '^building' -e '^warning' -e '^  ' log
cat "$(cat path)"; echo
