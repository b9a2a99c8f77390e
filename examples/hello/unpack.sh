# Builder of `tools`: Debian packages → one relocated directory tree in $out. Runs in busybox's shell.
export PATH="$NIX_BUILD_TOP/applets"
"$busybox/busybox" mkdir "$PATH"
"$busybox/busybox" --install -s "$PATH"

# Merged /usr from the start, whatever the packages themselves say: /bin is usr/bin and so on.
mkdir -p "$out"
cd "$out"
for dir in bin sbin lib lib64; do
  mkdir -p usr/$dir
  ln -s usr/$dir $dir
done

# A package is an ar archive; the files are in its data.tar. Links that point to absolute places are mended below.
export EXTRACT_UNSAFE_SYMLINKS=1
for deb in $debs; do
  ar p "$deb" data.tar.xz | tar xJ -C "$out"
done
find . -mindepth 1 -maxdepth 1 -type d ! -name usr -exec rm -rf {} +
rm -rf usr/share/doc usr/share/info usr/share/lintian usr/share/locale usr/share/man

# What Debian sets up when packages are configured, which nobody did here.
ln -sf bash usr/bin/sh
ln -sf gawk usr/bin/awk

find . -type l | while read -r link; do
  target=$(readlink "$link")
  case $target in
    /*) ln -sfn "$out$target" "$link" ;;
  esac
done

# Programs name their loader by an absolute path, and the loader looks for libraries in absolute places: both become
# $out. DT_RPATH of a program (not DT_RUNPATH) also holds for the libraries of its libraries, so these stay as they are.
loader=$(echo "$out"/usr/lib64/ld-linux-*.so.*)
libraries=$(dirname "$(readlink -f "$loader")")
cp usr/bin/patchelf "$NIX_BUILD_TOP/"
patchelf() { "$loader" --library-path "$libraries" "$NIX_BUILD_TOP/patchelf" "$@"; }

n_programs=0
for file in $(find usr/bin usr/sbin usr/lib/gcc* usr/libexec -type f -perm -100 ! -name '*.so*'); do
  patchelf --print-interpreter "$file" >/dev/null 2>&1 || continue
  chmod u+w "$file"
  patchelf --force-rpath --set-rpath "$libraries" --set-interpreter "$loader" "$file"
  n_programs=$((n_programs + 1))
done
echo "relocated $n_programs programs"

# `cc`: gcc that looks for headers and start files in $out and makes programs that find their libraries there.
rm -f usr/bin/cc
cat >usr/bin/cc <<END
#!$out/usr/bin/bash
exec $out/usr/bin/gcc --sysroot=$out -Wl,-rpath,$libraries -Wl,--dynamic-linker,$loader "\$@"
END
chmod +x usr/bin/cc
