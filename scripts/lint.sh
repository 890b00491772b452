#!/usr/bin/env bash
# lint.sh CLANG_FORMAT C-FILE…: style and static checks; all of them, also after a failure. The rules on imports and the like are Go tests:
# internal/lint.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
clang_format=$1
shift
status=0

check() {
    printf '=== %s\n' "$1"
    shift
    "$@" || status=1
}

# shellcheck disable=SC2317 # called by check
go_format() {
    local files
    files=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l)
    [ -z "$files" ] && return
    printf 'not formatted (make format):\n%s\n' "$files"
    return 1
}

shell_files() { git ls-files -co --exclude-standard scripts fortran .ci | grep -E '\.sh$|^\.ci/run$'; }

check gofmt go_format
check "go vet" go vet ./...
check staticcheck go tool staticcheck ./...
check "rules (internal/lint)" go test ./internal/lint
check clang-format "$clang_format" --dry-run -Werror "$@"
mapfile -t scripts < <(shell_files)
check shellcheck shellcheck "${scripts[@]}"
exit $status
