# Which commands and flags need which experimental features, and how their setting is shown.
export NIX_CONFIG="sandbox = false"
said() { echo "$*: $("$@" 2>&1 | grep -v '^warning' | head -n 1)"; }
said nix eval --expr 1
said nix --offline config show cores
said nix config show cores
said nix store info
said nix frobnicate
said nix
said nix-instantiate --eval --expr 1
said nix --extra-experimental-features nix-command eval --expr 1
said nix eval --expr 1 --extra-experimental-features nix-command
said nix --extra-experimental-features nix-command flake metadata
said nix --experimental-features "nix-command flakes" config show experimental-features
said nix --experimental-features "nix-command ca-derivations" --extra-experimental-features "ca-derivations auto-allocate-uids" config show experimental-features
said nix --experimental-features nix-command config show system-features --system-features "b a b"
said nix --experimental-features nix-command config show allowed-uris --allowed-uris "b a b"
