#!/usr/bin/env bash
# ior.sh IOR_SRC: compiles ior/aiori-BENCHFS.c alone against the headers of a source tree of IOR 4.x, without a warning. MPICC is the compiler
# (mpicc), IOR_CFLAGS are further flags. IOR itself is built where it is: docs/ior.md.
set -euo pipefail
cd "$(dirname "$0")/.."

source=${1:-}
if [ -z "$source" ]; then
    echo "make ior IOR_SRC=/path/to/ior: the source tree of IOR 4.x, e.g. of https://github.com/hpc/ior" >&2
    exit 2
fi
if [ ! -f "$source/src/aiori.h" ]; then
    echo "$source has no src/aiori.h: IOR_SRC is the top of IOR's source tree" >&2
    exit 2
fi
mpicc=${MPICC:-mpicc}
if ! command -v "$mpicc" >/dev/null; then
    echo "$mpicc is missing: install an MPI library (Debian: libopenmpi-dev), or say MPICC=compiler" >&2
    exit 2
fi
out=bin/ior/aiori-BENCHFS.o
mkdir -p "$(dirname "$out")"
# shellcheck disable=SC2086 # a list of words
"$mpicc" -std=gnu11 -O2 -g -Wall -Wextra -Werror ${IOR_CFLAGS:-} -Iinclude -I"$source/src" -c ior/aiori-BENCHFS.c -o "$out"
echo "$out: compiled against $source/src"
