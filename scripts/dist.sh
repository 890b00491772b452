#!/usr/bin/env bash
# dist.sh DIRECTORY: a Debian package and a tarball of the sources. `make dist` calls it: it needs MAKE, VERSION and
# SONAME. Needs dpkg-dev; the tarball, of what is committed, needs git and a repository. MAINTAINER="Name <address>" is who the package is from.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

out=${1:?usage: $0 DIRECTORY}
: "${VERSION:?called by make}" "${SONAME:?}" "${MAKE:=make}"
mkdir -p "$out"
out=$(cd "$out" && pwd)
machine=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/debian/benchfs
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}

"$MAKE" --no-print-directory install DESTDIR="$tree" PREFIX=/usr LIBDIR="/usr/lib/$multiarch" PYTHONDIR=/usr/lib/python3/dist-packages \
    DATADIR=/usr/share MANDIR=/usr/share/man DOCDIR=/usr/share/doc/benchfs ZSHDIR=/usr/share/zsh/vendor-completions
libraries=("$tree/usr/lib/$multiarch/libbenchfs.so.$VERSION" "$tree/usr/lib/$multiarch/"libbenchfs_*.so)
strip --strip-unneeded "$tree/usr/bin/"* "${libraries[@]}"
chmod 644 "${libraries[@]}"
find "$tree/usr/share/man" -type f -exec gzip -9n {} +
maintainer=${MAINTAINER:-BenchFS <benchfs@localhost>}
gzip -9n >"$tree/usr/share/doc/benchfs/changelog.gz" <<END
benchfs ($VERSION) unstable; urgency=medium

  * See CHANGELOG.md.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END

# The packages that the programs and the library are linked against, and UCX, which they load.
cat >"$work/debian/control" <<END
Source: benchfs
Package: benchfs
Architecture: $machine
END
shared=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "-l$tree/usr/lib/$multiarch" "$tree/usr/bin/"* "${libraries[@]}" 2>"$work/shlibdeps.log") || {
    cat "$work/shlibdeps.log" >&2
    exit 1
}
shared=${shared#shlibs:Depends=}

mkdir "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<END
Package: benchfs
Version: $VERSION
Section: net
Priority: optional
Architecture: $machine
Maintainer: $maintainer
Installed-Size: $(du -ks --exclude=DEBIAN "$tree" | cut -f1)
Depends: $shared, libucx0 (>= 1.13)
Recommends: pkg-config
Suggests: python3, gfortran
Description: ad hoc parallel file system for HPC jobs
 For the length of a job BenchFS joins the memory and local storage of the
 nodes into one name space, and serves it over UCX to the applications there.
 .
 This package has the daemon, the tool, the library with its headers, the
 Fortran and Python modules, and what CMake and pkg-config need.
END
echo "libbenchfs ${SONAME##*.so.} benchfs (>= ${VERSION%.*})" >"$tree/DEBIAN/shlibs"
echo "activate-noawait ldconfig" >"$tree/DEBIAN/triggers"
(cd "$tree" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zxz --build "$tree" "$out/benchfs_${VERSION}_$machine.deb" >/dev/null
echo "$out/benchfs_${VERSION}_$machine.deb"

if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo "dist: no tarball, these sources are no git repository" >&2
    exit 0
fi
git archive --format=tar.gz --prefix="benchfs-$VERSION/" -o "$out/benchfs-$VERSION.tar.gz" HEAD
echo "$out/benchfs-$VERSION.tar.gz"
