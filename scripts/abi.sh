#!/usr/bin/env bash
# abi.sh check|update: compares lib/libbenchfs.so and include/benchfs.h with the interface that abi/ records, or records them. docs/abi.md says what
# is promised. Needs `make build` and, for check and update, libabigail (Debian: abigail-tools).
set -euo pipefail
cd "$(dirname "$0")/.."

library=${ABI_LIBRARY:-lib/$(readlink lib/libbenchfs.so.0)}
headers=${ABI_HEADERS:-include}
recorded=abi/libbenchfs.abi
names=abi/constants.txt
now=$(mktemp -d)
trap 'rm -rf "$now"' EXIT

# Only what exported functions reach, as include/benchfs.h declares it: nothing of Go's own, no place in a file.
abidw --headers-dir "$headers" --drop-private-types --drop-undefined-syms --no-show-locs --no-corpus-path --no-comp-dir-path \
    --out-file "$now/libbenchfs.abi" "$library"

# Macros and enumerators are compiled into programs and leave no trace in the library.
{
    echo '#include <benchfs.h>' | "${CC:-gcc}" -I"$headers" -E -dM - | grep -E '^#define BENCHFS_' | grep -vE '^#define (BENCHFS_H|BENCHFS_API)( |$)'
    # shellcheck disable=SC2016 # awk's own
    "${CC:-gcc}" -I"$headers" -E -P "$headers/benchfs.h" | grep -oE 'BENCHFS_[A-Z_]+ = [^,}]+' | sed 's/ *$//'
} | LC_ALL=C sort >"$now/constants.txt"

case ${1:-} in
update)
    mkdir -p abi
    cp "$now/libbenchfs.abi" "$recorded"
    cp "$now/constants.txt" "$names"
    echo "abi: recorded; look at git diff abi/ and say in CHANGELOG.md what was added"
    ;;
check)
    status=0
    if ! abidiff "$recorded" "$now/libbenchfs.abi"; then status=1; fi
    if ! diff -u "$names" "$now/constants.txt"; then status=1; fi
    if [ "$status" -ne 0 ]; then
        echo "abi: the interface is not the recorded one (above). Nothing was meant to change? Then undo it. An addition: make abi-update. Anything" >&2
        echo "abi: else needs a new soname: docs/abi.md" >&2
        exit 1
    fi
    echo "abi: as recorded, $(grep -c '<function-decl ' "$recorded") functions, $(wc -l <"$names") constants"
    ;;
*)
    echo "usage: $0 check|update" >&2
    exit 2
    ;;
esac
