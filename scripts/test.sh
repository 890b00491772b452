#!/usr/bin/env bash
# test.sh SUITE: runs tests, prints what runs and how long it took. Status ≠ 0 if anything failed. Suites: all, go, race, c, fortran, cpp, python,
# examples, consumer, abi, ior, mpi, processes, preload, hdf5, posix, model, fault, locks, tests (those that have no step of their own), verify, fuzz.
# Everything runs, also after a failure; the failures are listed at the end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

GO=${GO:-go}
failed=()

# step NAME COMMAND…
step() {
    local name=$1 begin=$SECONDS
    shift
    printf '\n=== %s: %s\n' "$name" "$*"
    if "$@"; then
        printf -- '--- %s: ok, %d s\n' "$name" $((SECONDS - begin))
    else
        printf -- '--- %s: FAILED, %d s\n' "$name" $((SECONDS - begin))
        failed+=("$name")
    fi
}

# The packages with tests that need nothing but Go and UCX.
unit_packages() { "$GO" list ./... | grep -v '/tests/'; }

# Without UCX and C, where the race detector sees all that happens.
race_packages="./cache/... ./capi/bridge/... ./config/... ./core/... ./fserr/... ./internal/handle/... ./internal/rangelock/... ./internal/registry/... ./shm/... ./internal/wal/... ./meta/... ./rpc/... ./store/..."

# existing keeps the patterns that stand for something.
existing() {
    local pattern
    for pattern in "$@"; do
        if [ -d "${pattern%/...}" ]; then echo "$pattern"; fi
    done
}

run_go() {
    mapfile -t packages < <(unit_packages)
    step "unit tests" "$GO" test -timeout 5m "${packages[@]}"
}

run_race() {
    # shellcheck disable=SC2086 # a list of words
    mapfile -t packages < <(existing $race_packages)
    step "unit tests with the race detector" "$GO" test -short -race -timeout 5m "${packages[@]}"
}

# run_dir NAME DIRECTORY TIMEOUT
run_dir() {
    step "$1" "$GO" test -count=1 -timeout "$3" "./$2/..."
}

# Directories under tests/ without a step of their own.
run_rest() {
    local dir
    for dir in tests/*/; do
        dir=${dir%/}
        case $dir in
        tests/c | tests/posix | tests/model | tests/fault | tests/locks) ;;
        *) if compgen -G "$dir/*_test.go" >/dev/null; then run_dir "$dir" "$dir" 5m; fi ;;
        esac
    done
}

# By number of runs: a time limit makes Go's fuzzing fail at its end now and then (golang.org/issue/75804). Minimizing is for what was found,
# and would eat the runs.
run_fuzz() {
    local package target runs
    while read -r package target runs; do
        case $package in '' | '#'*) continue ;; esac
        step "fuzz $package $target" "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-$runs}" -fuzzminimizetime 10x -timeout 5m "$package" </dev/null
    done <scripts/fuzz-targets.txt
}

case "${1:-all}" in
go) run_go ;;
race) run_race ;;
c) run_dir "C ABI" tests/c 8m ;;
fortran | cpp | python) run_dir "bindings of $1" "tests/$1" 5m ;;
examples) run_dir "examples" tests/examples 5m ;;
ior) run_dir "IOR backend" tests/ior 5m ;;
mpi) run_dir "MPI" tests/mpi 5m ;;
processes) run_dir "processes under the interposer" tests/processes 5m ;;
hdf5) run_dir "HDF5 driver" tests/hdf5 5m ;;
preload) run_dir "programs under the interposer" tests/preload 5m ;;
consumer) run_dir "the installed tree" tests/consumer 5m ;;
abi) step "recorded ABI" scripts/abi.sh check ;;
posix) run_dir "POSIX conformance" tests/posix 8m ;;
model) run_dir "random operations against a model" tests/model 8m ;;
fault) run_dir "killed daemons" tests/fault 8m ;;
locks) run_dir "locks between processes" tests/locks 5m ;;
tests) run_rest ;;
verify) step "protocol models" scripts/verify.sh ;;
fuzz) run_fuzz ;;
all)
    run_go
    run_race
    run_dir "C ABI" tests/c 8m
    run_dir "POSIX conformance" tests/posix 8m
    run_dir "random operations against a model" tests/model 8m
    run_dir "killed daemons" tests/fault 8m
    run_dir "locks between processes" tests/locks 5m
    run_rest
    step "recorded ABI" scripts/abi.sh check
    step "protocol models" env SHORT=1 scripts/verify.sh
    run_fuzz
    ;;
*)
    echo "usage: $0 all|go|race|c|fortran|cpp|python|examples|consumer|abi|ior|mpi|processes|preload|hdf5|posix|model|fault|locks|tests|verify|fuzz" >&2
    exit 2
    ;;
esac

if [ ${#failed[@]} -gt 0 ]; then
    printf '\nFAILED after %d s:\n' "$SECONDS"
    printf '  %s\n' "${failed[@]}"
    exit 1
fi
printf '\nall passed, %d s\n' "$SECONDS"
