#!/usr/bin/env bash
# install.sh install|uninstall: what `make build` made, into $DESTDIR and the directories that the Makefile passes on; or those files away again.
# Both walk the same list. Files that say where things are do so relative to their own place, so that the tree can be moved. A relative directory
# is one below PREFIX.
set -euo pipefail
cd "$(dirname "$0")/.."

action=${1:?usage: $0 install|uninstall}
: "${PREFIX:?called by make}" "${BINDIR:?}" "${LIBDIR:?}" "${INCLUDEDIR:?}" "${DATADIR:?}" "${MANDIR:?}" "${DOCDIR:?}" "${PYTHONDIR:?}" "${ZSHDIR:?}" "${FORTRANMODDIR:?}"
: "${VERSION:?}" "${LIBRARY:?}" "${SONAME:?}"
root=${DESTDIR:-}
PREFIX=$(realpath -ms -- "$PREFIX")
PREFIX=${PREFIX%/} # the root's is empty
for name in BINDIR LIBDIR INCLUDEDIR DATADIR MANDIR DOCDIR PYTHONDIR ZSHDIR FORTRANMODDIR; do
    directory=${!name}
    case $directory in
    /*) ;;
    *) directory=$PREFIX/$directory ;;
    esac
    printf -v "$name" %s "$(realpath -ms -- "$directory")"
done
share=$DATADIR/benchfs
emptied=()

case $action in
install | uninstall) ;;
*)
    echo "usage: $0 install|uninstall" >&2
    exit 2
    ;;
esac

# put MODE SOURCE TARGET; the target without DESTDIR
put() {
    case $action in
    install) install -D -m "$1" -T "$2" "$root$3" ;;
    uninstall)
        rm -f "$root$3"
        emptied+=("$(dirname "$3")")
        ;;
    esac
}

# put_all MODE DIRECTORY FILE…
put_all() {
    local mode=$1 directory=$2 file
    shift 2
    for file in "$@"; do put "$mode" "$file" "$directory/${file##*/}"; done
}

# place_link TARGET NAME
place_link() {
    case $action in
    install) ln -sfn "$1" "$root$2" ;;
    uninstall) rm -f "$root$2" ;;
    esac
}

# below DIRECTORY: the path as pkg-config writes it, relative to the prefix if it is in there.
below() {
    case $1 in
    "$PREFIX"/*) echo "\${prefix}/${1#"$PREFIX"/}" ;;
    *) echo "$1" ;;
    esac
}

# template SOURCE TARGET: with its @NAMES@ filled in
template() {
    local filled
    filled=$(mktemp)
    sed -e "s|@VERSION@|$VERSION|g; s|@LIBRARY@|$LIBRARY|g; s|@SONAME@|$SONAME|g" \
        -e "s|@PREFIX_FROM_PC@|$prefix_from_pc|g; s|@LIBDIR_PC@|$(below "$LIBDIR")|g" \
        -e "s|@INCLUDEDIR_PC@|$(below "$INCLUDEDIR")|g; s|@FORTRANMODDIR_PC@|$(below "$FORTRANMODDIR")|g" \
        -e "s|@INCLUDEDIR_CMAKE@|$(realpath -ms --relative-to="$LIBDIR/cmake/BenchFS" "$INCLUDEDIR")|g" \
        -e "s|@FORTRANMODDIR_CMAKE@|$(realpath -ms --relative-to="$LIBDIR/cmake/BenchFS" "$FORTRANMODDIR")|g" "$1" >"$filled"
    put 644 "$filled" "$2"
    rm -f "$filled"
}

case $LIBDIR in
"$PREFIX"/*) prefix_from_pc="\${pcfiledir}/$(realpath -ms --relative-to="$LIBDIR/pkgconfig" "${PREFIX:-/}")" ;;
*) prefix_from_pc=$PREFIX ;;
esac

put_all 755 "$BINDIR" bin/benchfs bin/benchfsd
put 755 "lib/$LIBRARY" "$LIBDIR/$LIBRARY"
place_link "$LIBRARY" "$LIBDIR/$SONAME"
place_link "$SONAME" "$LIBDIR/libbenchfs.so"
put_all 755 "$LIBDIR" lib/libbenchfs_preload.so lib/libbenchfs_inner.so
put_all 644 "$INCLUDEDIR" include/benchfs.h include/benchfs.hpp
template cmake/benchfs.pc.in "$LIBDIR/pkgconfig/benchfs.pc"
template cmake/benchfs-fortran.pc.in "$LIBDIR/pkgconfig/benchfs-fortran.pc"
template cmake/BenchFSConfig.cmake.in "$LIBDIR/cmake/BenchFS/BenchFSConfig.cmake"
template cmake/BenchFSConfigVersion.cmake.in "$LIBDIR/cmake/BenchFS/BenchFSConfigVersion.cmake"

put 644 lib/fortran/benchfs.mod "$FORTRANMODDIR/benchfs.mod"
put 644 lib/fortran/libbenchfs_fortran.a "$LIBDIR/libbenchfs_fortran.a"
put_all 644 "$share/fortran" fortran/*.f90 fortran/*.inc
put 644 python/benchfs.py "$PYTHONDIR/benchfs.py"
put 644 benchfs.toml.example "$share/benchfs.toml.example"
put_all 644 "$share/examples" examples/*.*
put_all 644 "$share/examples/hdf5" examples/hdf5/*
for file in ior/*; do
    if [ -f "$file" ]; then put 644 "$file" "$share/$file"; fi
done

for page in docs/man/*.[1-8]; do put 644 "$page" "$MANDIR/man${page##*.}/${page##*/}"; done
# man benchfs_open: the same page, by the name of each function.
so=$(mktemp)
echo '.so man3/benchfs.3' >"$so"
for function in benchfs_init $(sed -n 's/^ *\(benchfs_[a-z_]*\);$/\1/p' capi/libbenchfs.map); do put 644 "$so" "$MANDIR/man3/$function.3"; done
rm -f "$so"
for program in benchfs benchfsd; do
    put 644 "lib/completions/$program.bash" "$DATADIR/bash-completion/completions/$program"
    put 644 "lib/completions/$program.zsh" "$ZSHDIR/_$program"
    put 644 "lib/completions/$program.fish" "$DATADIR/fish/vendor_completions.d/$program.fish"
done
put_all 644 "$DOCDIR" README.md CHANGELOG.md ARCHITECTURE.md
put_all 644 "$DOCDIR/docs" docs/*.md
put_all 644 "$DOCDIR/docs/performance" docs/performance/*

# stays DIRECTORY: is it left, though it is empty? Ours are not. Of others, those are that somebody else may have made: outside of the prefix, and
# in the system's own. In a staged tree nothing is.
stays() {
    [ -z "$root" ] || return 1
    case $1 in
    */benchfs | */benchfs/* | */cmake/BenchFS) return 1 ;;
    esac
    case $PREFIX in
    '' | /usr | /usr/local) return 0 ;;
    esac
    [[ $1 != "$PREFIX" && $1 != "$PREFIX"/* ]]
}

for directory in "${emptied[@]}"; do
    until [ "$directory" = / ] || stays "$directory" || ! rmdir "$root$directory" 2>/dev/null; do directory=$(dirname "$directory"); done
done
