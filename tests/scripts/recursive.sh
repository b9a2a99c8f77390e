# A builder that adds, asks and builds, with and without a sandbox.
export NIX_CONFIG="$NIX_CONFIG
extra-experimental-features = recursive-nix
sandbox-paths = /usr /lib /lib64? /bin $(dirname "$SHELL_PROGRAM") $(dirname "$(readlink -f "$(type -P nix)")") $PWD/bin?
system-features = recursive-nix
"
secret=$(nix store add --name secret script.sh)
export secret
cat >default.nix <<'EOF'
{ round, sandboxed }:
derivation {
  inherit sandboxed;
  name = "recursive-${round}"; system = builtins.currentSystem; builder = builtins.getEnv "SHELL_PROGRAM"; PATH = builtins.getEnv "TOOLS";
  known = builtins.toFile "known" "known"; secret = builtins.getEnv "secret"; SHELL_PROGRAM = builtins.getEnv "SHELL_PROGRAM"; requiredSystemFeatures = [ "recursive-nix" ];
  args = [ "-c" ''
    set -eu
    export NIX_CONFIG="experimental-features = nix-command" HOME=$PWD
    nix path-info $known >/dev/null
    ! nix path-info $secret 2>/dev/null
    ! nix build --no-link $secret 2>/dev/null
    ! nix store cat $secret 2>/dev/null
    mkdir $out
    echo added ${round} >added
    added=$(nix store add added)
    cat $added
    [ "$sandboxed" = false ] || ! echo changed 2>/dev/null >$added
    mkdir directory; ln -s $added directory/link
    directory=$(nix store add directory)
    cat $directory/link
    cp -d $directory/link $out/link
    nix build -L --impure --out-link inner --expr '
      derivation {
        name = "inner"; system = builtins.currentSystem; builder = builtins.getEnv "SHELL_PROGRAM"; args = [ "-c" "echo inner $input >$out" ];
        input = builtins.toFile "input" "x";
      }'
    ln -s $(readlink inner) $out/inner
    nix path-info --all | sed 's/.*store.[^-]*-//' | sort
  '' ];
}
EOF
for round in 1 2; do
  sandbox=false; [ $round = 1 ] || sandbox=true
  nix-build --option sandbox $sandbox --argstr round $round --argstr sandboxed $sandbox 2>log >/dev/null || { cat log; exit 1; }
  grep -v -e '^this derivation' -e '^building' -e '^warning' -e '^  ' log
  nix-store -qR result | sed 's/.*store.[^-]*-//' | sort
  sed "s:$PWD/store/[^-]*-::" <result/inner
done
