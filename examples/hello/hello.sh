# Builder of `hello`: the usual steps, in the toolchain's bash. Its tests are part of the build.
export PATH="$tools/usr/bin"
export SHELL="$tools/usr/bin/bash" CONFIG_SHELL="$tools/usr/bin/bash"

tar xf "$src"
cd hello-*

# The shell is named to make too, which would take /bin/sh: the build needs none.
"$SHELL" ./configure --prefix="$out" --disable-dependency-tracking --disable-nls CC=cc
make -j"$NIX_BUILD_CORES" SHELL="$SHELL"
make check SHELL="$SHELL"
make install SHELL="$SHELL"
