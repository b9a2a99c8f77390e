# Of several builds that fail: which are told of, in which order, and how often.
cat > failing.nix <<'N'
let
  d = name: deps: cmd: derivation { inherit name deps; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" cmd ]; };
  of = name: deps: d name deps "echo > $out";
in rec {
  bad = d "bad" [ ] "exit 3";
  bad2 = d "bad2" [ ] "exit 4";
  good = of "good" [ ];
  a = of "a" [ bad ];
  b = of "b" [ bad ];
  both = of "both" [ bad bad2 ];
  high = of "high" [ (of "middle" [ bad ]) ];
  wide = of "wide" [ good (of "middle2" [ bad ]) ];
}
N
# One line for each error: what could not be built and why. Names that are ordered by hash are ordered by name.
shown() {
  awk -v store="$NIX_STORE_DIR/" '
    function name(path) { gsub(store, "", path); gsub(/[0-9a-z]+-/, "", path); return path }
    /Cannot build/ { cannot = name($4); next }
    /Reason:/ && cannot { sub(/ *Reason: /, ""); print cannot, $0; cannot = "" }
    /error: build of/ { n = split(name($0), parts, "\x27"); list = ""
      for (i = 2; i <= n; i += 2) names[i / 2] = parts[i]
      for (i = 1; i <= n / 2; i++) for (j = i + 1; j <= n / 2; j++) if (names[j] < names[i]) { t = names[i]; names[i] = names[j]; names[j] = t }
      for (i = 1; i <= n / 2; i++) list = list " " names[i]
      print "failed:" list }'
}
try() {
  echo "$*:"
  case $1 in nix) set -- "$@" --no-link;; nix-build) set -- "$@" --no-out-link;; esac
  status=0
  "$@" > said 2>&1 || status=$?
  shown < said
  echo "status $status"
}
try nix-build failing.nix -A a -A b
try nix-build failing.nix -A a -A b -A bad
try nix-build failing.nix -A both
try nix-build failing.nix -A both -k
try nix-build failing.nix -A both -A good -j1
try nix-build failing.nix -A high -A wide
try nix-build failing.nix -A high -A b -k
try nix-build failing.nix -A bad -A bad2 -j1
try nix-build failing.nix -A b -A bad2 -A good -k
try nix-build failing.nix -A a -A bad2 -j1
try nix build -f failing.nix a b
try nix build -f failing.nix b a --keep-going
try nix build -f failing.nix bad bad2 both -j1
try nix build -f failing.nix high wide
