#!/usr/bin/env bash
# verify.sh [MODEL [MUTATION]]: checks the models of shm/PROTOCOL.md (models/*.pml) with Spin, exhaustively. Without arguments: all models within all
# bounds that they name, all mutations, and this script itself. With MODEL (ring, place, …): that one. With MUTATION: that mutation, and the trail
# to the error.
# SHORT=1 leaves out the bounds marked LONG. MODELS names another directory of models, PROTOCOL another contract. Nothing is written into the tree. How to read the rest: models/README.md.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

export MODELS=${MODELS:-models} PROTOCOL=${PROTOCOL:-shm/PROTOCOL.md}
export DEPTH=${DEPTH:-10000} MEGABYTES=${MEGABYTES:-4000} CC=${CC:-gcc}
MODELS=$(realpath "$MODELS") PROTOCOL=$(realpath "$PROTOCOL")
SELF=$(realpath scripts/verify.sh)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "verify: $*" >&2
    return 1
}

# The bounds of a model. With SHORT set, those are left out that take most of the time.
bounds() {
    if [ -n "${SHORT:-}" ]; then
        sed -n '/^ \* CONFIG LONG /d; s/^ \* CONFIG \(.*\)/\1/p' "$MODELS/$1.pml"
    else
        sed -n 's/^ \* CONFIG \(LONG \)\{0,1\}\(.*\)/\2/p' "$MODELS/$1.pml"
    fi
}
mutations() { sed -n 's/^ \* \(MUTATION_[A-Z0-9_]*\): .*/\1/p' "$MODELS/$1.pml"; }

# well_formed MODEL: it has bounds and mutations, and the mutations of its head are those of its code.
well_formed() {
    local listed used
    [ -f "$MODELS/$1.pml" ] || fail "there is no model $1" || return
    [ -n "$(bounds "$1")" ] || fail "$1: no bounds" || return
    listed=$(mutations "$1" | sort)
    [ -n "$listed" ] || fail "$1: no mutations" || return
    used=$(grep -v '^ \*' "$MODELS/$1.pml" | grep -o 'MUTATION_[A-Z0-9_]*' | sort -u)
    if [ "$listed" = "$used" ]; then
        documented "$1"
        return
    fi
    fail "$1: the mutations of its head are not those of its code:" "$(comm -3 <(echo "$listed") <(echo "$used") | tr -s '\t\n' ' ')"
}

# documented MODEL: the table of README.md has each mutation, as the head has it.
documented() {
    local name text status=0
    [ -f "$MODELS/README.md" ] || return 0
    while IFS=: read -r name text; do
        grep -qF "| $1 | \`$name\` |$text |" "$MODELS/README.md" || fail "README.md has no line for $name of $1 as in its head" || status=1
    done < <(sed -n 's/^ \* \(MUTATION_[A-Z0-9_]*: .*\)/\1/p' "$MODELS/$1.pml")
    return $status
}

# all_fences: each memory fence of the contract has a mutation in one of the models.
all_fences() {
    local fence status=0
    for fence in $(grep -oE '\[F[0-9]+\]' "$PROTOCOL" | tr -d '[]' | sort -u); do
        grep -qE "^ \* MUTATION_$fence:" "$MODELS"/*.pml || fail "no model has a mutation for the fence $fence" || status=1
    done
    return $status
}

# search DIRECTORY MODEL FLAG…: 0: the model holds within these bounds, and all its states were seen; 1: an error was found; 2: anything else.
# The figures are in DIRECTORY/figures: states, depth, seconds.
search() {
    local at=$1 model=$2 begin
    shift 2
    mkdir -p "$at"
    cp "$MODELS/$model.pml" "$MODELS"/*.pmi "$at"
    begin=$(date +%s.%N)
    (
        cd "$at" || exit 2
        spin -a "$@" "$model.pml" >spin.out 2>&1 || { cat spin.out >&2; exit 2; }
        # Not reduced: partial order reduction is unsound with `provided` and `timeout`.
        "$CC" "$OPTIMIZE" -w -DSAFETY -DNOREDUCE -DMEMLIM="$MEGABYTES" -o pan pan.c || exit 2
        # -E: a deadlock is an error by the model's own assertion after `timeout`, which says whom it may leave waiting.
        ./pan -E -m"$DEPTH" -w22 >pan.out 2>&1
    ) || return 2
    sed -nE 's/ *([0-9.e+]+) states, stored.*/\1/p; s/.*depth reached ([0-9]+), errors.*/\1/p' "$at/pan.out" | tac | tr '\n' ' ' >"$at/figures"
    echo "$begin $(date +%s.%N)" | awk '{ printf "%.1f\n", $2 - $1 }' >>"$at/figures"
    if grep -qE 'errors: [1-9]' "$at/pan.out" && [ -f "$at/$model.pml.trail" ]; then return 1; fi
    grep -q 'errors: 0' "$at/pan.out" || return 2
    if grep -qiE 'search not completed|max search depth too small|memory bound|out of memory' "$at/pan.out"; then return 2; fi
}

# row DIRECTORY MODEL WHAT OUTCOME: a line of the table, in one write.
row() {
    local states=- depth=- seconds=-
    [ -f "$1/figures" ] && read -r states depth seconds <"$1/figures"
    printf '%-6s %-52s %10s %6s %7s  %s\n' "$2" "$3" "$states" "$depth" "$seconds" "$4"
}

# job MODEL BOUNDS: the model holds. job MODEL MUTATION: an error is found within one of its bounds. One line of the table; status 0 if so.
job() {
    local model=$1 what=$2 at flags outcome
    at=$(mktemp -d "$dir/XXXXXX")
    if [[ $what != MUTATION_* ]]; then
        read -ra flags <<<"$what"
        OPTIMIZE=-O2 search "$at/run" "$model" "${flags[@]}"
        outcome=$?
        row "$at/run" "$model" "$what" "$(case $outcome in 0) echo holds ;; 1) echo 'FAILS' ;; *) echo 'NOT COMPLETE' ;; esac)"
        [ $outcome = 1 ] && [ -n "${TRAIL:-}" ] && trail "$at/run" "$model" "${flags[@]}"
        rm -rf "$at"
        return $outcome
    fi
    mutations "$model" | grep -qx "$what" || fail "$model: there is no mutation $what" || return
    while read -ra flags; do
        OPTIMIZE=-O1 search "$at/run" "$model" "-D$what" "${flags[@]}" # compiling takes longer than the search
        outcome=$?
        [ $outcome = 0 ] || break
        rm -rf "$at/run"
    done < <(bounds "$model")
    row "$at/run" "$model" "$what" "$(case $outcome in 1) echo found ;; 0) echo 'NOT FOUND' ;; *) echo 'NOT COMPLETE' ;; esac)"
    [ $outcome = 1 ] && [ -n "${TRAIL:-}" ] && trail "$at/run" "$model" "-D$what" "${flags[@]}"
    rm -rf "$at"
    [ $outcome = 1 ]
}

# trail DIRECTORY MODEL FLAG…: the steps to the error.
trail() {
    local at=$1 model=$2
    shift 2
    (cd "$at" && spin -t -p -g "$@" "$model.pml")
}

# run_all MODEL…: everything about them, two at a time, with the table.
run_all() {
    local model status=0
    for model in "$@"; do well_formed "$model" || return; done
    printf '%-6s %-52s %10s %6s %7s\n' model 'bounds, or mutation' states depth seconds
    for model in "$@"; do
        bounds "$model" | tac | while read -r line; do printf '%s\0%s\0' "$model" "$line"; done
        mutations "$model" | while read -r line; do printf '%s\0%s\0' "$model" "$line"; done
    done | xargs -0 -n 2 -P "$(nproc)" "$SELF" job || status=1
    [ $status = 0 ] || fail "a model fails, was not searched completely, or does not find a mutation"
}

# refused TEXT COMMAND…: the command fails and says TEXT.
refused() {
    local text=$1 out
    shift
    if out=$("$@" 2>&1) || ! grep -q "$text" <<<"$out"; then fail "the check of this script: \`$text\` expected of: $*; it said: $out"; fi
}

# toy NAME HEAD-LINE…: a model of a counter, in a directory of its own, that two processes count up; property: it is 2 at the end.
toy() {
    local name=$1
    shift
    mkdir -p "$dir/toys"
    touch "$dir/toys/none.pmi"
    {
        echo '/*'
        printf ' * %s\n' "$@"
        cat <<'MODEL'
 */
byte n, seen, done;
proctype counter() {
    byte old;
#ifdef MUTATION_TORN
    old = n;
    n = old + 1;
#else
    n++;
#endif
#ifdef MUTATION_HARMLESS
    old = 0;
#endif
    done++
}
init { run counter(); run counter(); done == 2; assert(n == 2 + WRONG) }
MODEL
    } >"$dir/toys/$name.pml"
}

# check_self: this script notices what it must notice.
check_self() {
    local torn='MUTATION_TORN: two steps' harmless='MUTATION_HARMLESS: nothing' status=0
    export TOYS=$dir/toys
    toy good 'CONFIG -DWRONG=0' "$torn" "$harmless"
    toy unlisted 'CONFIG -DWRONG=0' "$torn"
    toy unused 'CONFIG -DWRONG=0' "$torn" "$harmless" 'MUTATION_ELSE: is not there'
    toy bare 'CONFIG -DWRONG=0'
    toy boundless "$torn" "$harmless"
    toy wrong 'CONFIG -DWRONG=1' "$torn" "$harmless"
    echo '[F1] [F2]' >"$dir/toys/PROTOCOL.md"
    refused 'no mutations' env MODELS="$TOYS" "$SELF" bare || status=1
    refused 'no bounds' env MODELS="$TOYS" "$SELF" boundless || status=1
    refused 'are not those of its code' env MODELS="$TOYS" "$SELF" unlisted || status=1
    refused 'are not those of its code: *MUTATION_ELSE' env MODELS="$TOYS" "$SELF" unused || status=1
    refused 'there is no mutation MUTATION_ELSE' env MODELS="$TOYS" "$SELF" good MUTATION_ELSE || status=1
    refused 'there is no model' env MODELS="$TOYS" "$SELF" none || status=1
    refused 'NOT FOUND' env MODELS="$TOYS" "$SELF" good || status=1
    refused 'FAILS' env MODELS="$TOYS" "$SELF" job wrong -DWRONG=1 || status=1
    refused 'NOT COMPLETE' env MODELS="$TOYS" DEPTH=3 "$SELF" job good -DWRONG=0 || status=1
    refused 'for the fence F1$' env MODELS="$TOYS" PROTOCOL="$TOYS/PROTOCOL.md" "$SELF" fences || status=1
    env MODELS="$TOYS" "$SELF" job good -DWRONG=0 >/dev/null || fail "the check of this script: a model that holds was refused" || status=1
    env MODELS="$TOYS" "$SELF" good MUTATION_TORN >/dev/null || fail "the check of this script: a mutation was not found" || status=1
    return $status
}

command -v spin >/dev/null || { fail "spin is missing: make deps-verify"; exit 1; }
case "${1:-}" in
'')
    check_self && all_fences || exit 1
    all=()
    for file in "$MODELS"/*.pml; do all+=("$(basename "$file" .pml)"); done
    run_all "${all[@]}"
    ;;
job) job "$2" "$3" ;;
fences) all_fences ;;
self) check_self ;;
*)
    well_formed "$1" || exit 1
    if [ $# -gt 1 ]; then TRAIL=1 job "$1" "$2"; else run_all "$1"; fi
    ;;
esac
