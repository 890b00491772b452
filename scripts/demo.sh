#!/usr/bin/env bash
# demo.sh INPUT: the main job on real data. Embedded mode first; then, on two daemons, one process stores the tree INPUT and another reads it
# back and compares. Status ≠ 0 if anything fails or differs. Needs `make build`.
set -euo pipefail
cd "$(dirname "$0")/.."

input=${1:?usage: $0 INPUT}
[ -d "$input" ] || {
    echo "$input is no directory: make demo INPUT=path" >&2
    exit 2
}

out=bin/demo
mkdir -p "$out"
cc=${CC:-gcc}
flags=(-O2 -g -Wall -Wextra -Iinclude -Iexamples)
libs=(-Llib -lbenchfs "-Wl,-rpath,$PWD/lib")
"$cc" "${flags[@]}" examples/embedded.c -o "$out/embedded" "${libs[@]}"
"$cc" "${flags[@]}" examples/demo_store.c examples/demo_common.c -o "$out/demo_store" "${libs[@]}"
"$cc" "${flags[@]}" examples/demo_verify.c examples/demo_common.c -o "$out/demo_verify" "${libs[@]}" -lcrypto

# What this shell has set of BenchFS is not meant for the demonstration.
for variable in $(compgen -e | grep '^BENCHFS_' || true); do unset "$variable"; done

echo "== embedded: one program, no daemon"
"$out/embedded"

echo
echo "== two daemons: $input ($(du -sh --apparent-size "$input" 2>/dev/null | cut -f1))"
# shellcheck disable=SC2016 # expanded by the inner shell
bin/benchfs run -n 2 -- sh -ec '
    "$1/demo_store" "$2" /tree
    echo
    "$1/demo_verify" "$2" /tree
    echo
    bin/benchfs status
' demo "$out" "$input"
echo
echo "ok"
