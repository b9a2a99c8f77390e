# A cache can't build; machines build for it, such as this one, and what they make lands there.
cat > chain.nix <<'N'
let d = name: deps: cmd: derivation { inherit name deps; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" cmd ]; };
in rec {
  leaf = d "leaf" [ ] "echo leaf > $out";
  top = d "top" [ leaf ] "echo $deps > $out";
  bad = d "bad" [ ] "exit 3";
  above = d "above" [ bad ] "echo > $out";
}
N
cache=file://$PWD/cache
mkdir -p "$NIX_STATE_DIR"
names() { sed 's,.*/[0-9a-z]\{32\}-,,' | sort; }
try() {
  status=0
  "$@" > said 2> errors || status=$?
  names < said
  grep -o 'Unable to build with a primary store' errors || true
  echo "status $status"
}
# Nobody builds.
try nix-build --store "$cache" chain.nix -A top --no-out-link
try nix build --store "$cache" -f chain.nix leaf --no-link
# This machine does.
try nix-build --store "$cache" chain.nix -A top --builders 'auto - - 1 1' -j0
nix path-info --store "$cache" --all | grep -v drv$ | names
try nix-build --store "$cache" chain.nix -A top -j0
# One that is no machine of that kind, or can't build either.
try nix-build --store "$cache" chain.nix -A bad --builders 'auto i686-linux - 1 1' -j0
try nix build --store "$cache" -f chain.nix above --builders "file://$PWD/cache2 - - 1 1" -j0
try nix build --store "$cache" -f chain.nix above --builders 'auto - - 1 1' -j0
