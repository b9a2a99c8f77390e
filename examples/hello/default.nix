# GNU hello from source, with a C toolchain that is itself a store path, made out of Debian packages.
#
#   debs, source   fixed outputs: one file each, its URL and hash from the lock file
#   tools          the packages unpacked side by side and relocated into one store path (unpack.sh)
#   hello          configure, make, make check, make install with nothing but tools (hello.sh)
#
# The lock file is written by ./lock from apt's metadata. Beside it lies busybox/busybox, a static program that does
# the first unpacking: nothing of the machine is seen by the builds, not even a /bin/sh.
{ lock }:

let
  locked = builtins.fromJSON (builtins.readFile lock);
  system = "x86_64-linux";

  fetch = { file, url, sha256 }: derivation {
    # "~" and "%3a" (the colon of an epoch) stand in Debian's file names but not in a store path's.
    name = builtins.replaceStrings [ "~" "%" ] [ "_" "_" ] file;
    system = "builtin";
    builder = "builtin:fetchurl";
    inherit url;
    outputHash = sha256;
    outputHashAlgo = "sha256";
    outputHashMode = "flat";
  };

  # A directory, so that the program inside is called busybox: it looks at its own name.
  busybox = builtins.path { name = "busybox"; path = dirOf (/. + lock) + "/busybox"; };

  version = builtins.head (builtins.match "hello_([0-9.]+)\\.orig.*" locked.source.file);
in
rec {
  tools = derivation {
    name = "debian-gcc";
    inherit system busybox;
    builder = "${busybox}/busybox";
    args = [ "sh" "-eu" ./unpack.sh ];
    debs = map fetch locked.debs;
  };

  hello = derivation {
    name = "hello-${version}";
    inherit system tools;
    builder = "${tools}/usr/bin/bash";
    args = [ "-eu" ./hello.sh ];
    src = fetch locked.source;
  };
}
