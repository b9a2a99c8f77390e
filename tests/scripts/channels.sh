# Channels from archives: added, fetched, installed from, rolled back, removed.
archive() {
  rm -rf expressions; mkdir -p expressions "$1"
  echo "{ a = derivation { name = \"a-$2\"; system = builtins.currentSystem; builder = \"$SHELL_PROGRAM\"; PATH = \"$TOOLS\"; args = [ \"-c\" \"mkdir \$out; echo $2 >\$out/version\" ]; }; }" >expressions/default.nix
  tar -cf - expressions | xz >"$1/nixexprs.tar.xz"
}
archive foo-unstable 1
archive bar-1.5 1
nix-channel --add "file://$PWD/foo-unstable"
nix-channel --add "file://$PWD/bar-1.5/" bar
nix-channel --add ftp://x 2>&1 | tail -1
nix-channel --add http://x '-' 2>&1 | tail -1
nix-channel --list
nix-channel --update 2>&1 | grep unpacking
(cd var/nix/profiles/per-user/*/channels 2>/dev/null || cd var/profiles/per-user/*/channels 2>/dev/null || cd home/.local/state/nix/profiles/channels; ls)
nix-env -qaP '*'
nix-env -iA foo.a 2>&1 | grep -v '^[ tb/w]'
cat home/.nix-profile/version
archive foo-unstable 2
nix-channel --option tarball-ttl 0 --update foo 2>&1 | grep unpacking
nix-env -qaP --no-name '*'
nix-channel --list-generations | sed 's/ .*[0-9:] / /'
nix-channel --rollback 2>&1
nix-env -qa a
nix-channel --remove bar 2>/dev/null
nix-channel --list
nix-env -q --profile "$(dirname "$(readlink -f home/.nix-defexpr)")/.nix-defexpr/channels"
