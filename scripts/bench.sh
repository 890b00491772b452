#!/usr/bin/env bash
# bench.sh: builds the benchmark (tests/bench) and runs it. Needs `make build`. ONLY=regexp selects cases (`scripts/bench.sh -list` has their
# names), ROUNDS=n (5, or as many as 10 minutes have room for), BENCH_DOCS=dir gets a copy of the pictures, BENCH_DISK=dir is a directory on
# the disk to measure. Status ≠ 0 if a case fails; a missed bar is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Its rows are left out, with the reason, where a program is missing.
scripts/deps.sh bench || echo "bench: goes on without what is missing" >&2

out=bin/bench
mkdir -p "$out"
cc=${CC:-gcc}
flags=(-std=c11 -O2 -g -Wall -Wextra -Wpedantic -Werror)
benchfs=(-Llib -lbenchfs "-Wl,-rpath,$PWD/lib")
"$cc" "${flags[@]}" -Iinclude tests/bench/worker/*.c -o "$out/worker" "${benchfs[@]}" -lpthread
"$cc" "${flags[@]}" tests/bench/outsider/outsider.c -o "$out/outsider"
"${GO:-go}" build -o "$out/bench" ./tests/bench

# Programs whose start is measured: without a library, with the smallest one that is written in Go, with BenchFS.
"${GO:-go}" build -buildmode=c-shared -o "$out/libanswer.so" ./tests/bench/first/library
"$cc" "${flags[@]}" tests/bench/first/bare.c -o "$out/first-bare"
"$cc" "${flags[@]}" tests/bench/first/golibrary.c -o "$out/first-golibrary" "-L$out" -lanswer "-Wl,-rpath,$PWD/$out"
"$cc" "${flags[@]}" -Iinclude tests/bench/first/benchfs.c -o "$out/first-benchfs" "${benchfs[@]}"

# In a mount namespace of its own, mounts end with the run however it ends.
private=()
if [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then private=(unshare --mount --propagation private); fi

exec "${private[@]}" "$out/bench" -worker "$out/worker" -cc "$cc" -only "${ONLY:-}" -rounds "${ROUNDS:-0}" -docs "${BENCH_DOCS:-}" \
    -disk "${BENCH_DISK:-bench/results}" "$@"
