#!/bin/sh
# build-lib.sh: libbenchfs.so into a directory, for tests: scripts/build-lib.sh DIR [go build flags, e.g. -asan]
# DIR gets libbenchfs.so.0 (named by its soname) and the link libbenchfs.so that the linker looks for.
set -eu
if [ $# -lt 1 ]; then
    echo "usage: $0 DIR [go build flags]" >&2
    exit 2
fi
top=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
cd "$top"
go build "$@" -buildmode=c-shared \
    -ldflags "-extldflags '-Wl,-soname,libbenchfs.so.0 -Wl,--version-script=$top/capi/libbenchfs.map -Wl,--wrap=pthread_create'" \
    -o "$dir/libbenchfs.so.0" ./capi
# Go writes a header of its exports beside the library: they are internal.
rm -f "$dir/libbenchfs.so.h" "$dir/libbenchfs.h" "$dir/libbenchfs.so.0.h"
ln -sf libbenchfs.so.0 "$dir/libbenchfs.so"
