#!/bin/sh
# deps.sh build|lint|test|bench|abi|consumer|mpi|verify: installs the Debian packages that are missing. Does nothing, and needs no rights, when they are there.
set -eu

case "${1:-build}" in
build) wanted="gcc g++ gfortran libc6-dev libucx-dev pkg-config libssl-dev python3 python3-numpy libopenmpi-dev openmpi-bin" ;;
lint) wanted="clang-format shellcheck" ;;
test) wanted="gcc g++ gfortran binutils bzip2 fio git make perl python3 rsync sqlite3 xz-utils pkg-config libhdf5-dev hdf5-tools bc bsdutils busybox cmake cpio ed file gdbmtool less lmdb-utils lua5.4 mksh netcdf-bin ninja-build patch python3-venv tree vim zip unzip zstd" ;;
mpi) wanted="libopenmpi-dev openmpi-bin libmpich-dev mpich util-linux" ;;
bench) wanted="ucx-utils iproute2 util-linux" ;;
abi) wanted="abigail-tools" ;;
consumer) wanted="cmake dpkg-dev man-db libhdf5-dev" ;;
verify) wanted="gcc libc6-dev spin" ;;
*)
    echo "usage: $0 build|lint|test|bench|abi|consumer|mpi|verify" >&2
    exit 2
    ;;
esac

# What the packages are for; a system that has it by other means needs no packages.
present() {
    case "$1" in
    gcc) command -v "${CC:-gcc}" >/dev/null ;;
    gfortran) command -v "${FC:-gfortran}" >/dev/null ;;
    libc6-dev) [ -e /usr/include/stdio.h ] ;;
    libucx-dev) command -v pkg-config >/dev/null && pkg-config --exists 'ucx >= 1.13' ;;
    libssl-dev) command -v pkg-config >/dev/null && pkg-config --exists libcrypto ;;
    # Debian's interpreter, for which python3-numpy is; another python3 may come first in PATH.
    python3) command -v "${PYTHON:-/usr/bin/python3}" >/dev/null ;;
    python3-numpy) "${PYTHON:-/usr/bin/python3}" -c 'import numpy' 2>/dev/null ;;
    libopenmpi-dev) command -v mpicc >/dev/null ;;
    openmpi-bin) command -v mpirun >/dev/null ;;
    libhdf5-dev) command -v pkg-config >/dev/null && pkg-config --exists hdf5 ;;
    hdf5-tools) command -v h5diff >/dev/null ;;
    libmpich-dev) command -v mpicc.mpich >/dev/null ;;
    mpich) command -v mpirun.mpich >/dev/null ;;
    binutils) command -v ar >/dev/null ;;
    bsdutils) command -v script >/dev/null ;;
    gdbmtool) command -v gdbmtool >/dev/null && command -v gdbm_dump >/dev/null ;;
    lmdb-utils) command -v mdb_load >/dev/null ;;
    netcdf-bin) command -v ncgen >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    python3-venv) "${PYTHON:-/usr/bin/python3}" -c 'import ensurepip' 2>/dev/null ;;
    xz-utils) command -v xz >/dev/null ;;
    ucx-utils) command -v ucx_perftest >/dev/null ;;
    iproute2) command -v ip >/dev/null ;;
    abigail-tools) command -v abidw >/dev/null && command -v abidiff >/dev/null ;;
    dpkg-dev) command -v dpkg-shlibdeps >/dev/null ;;
    man-db) command -v man >/dev/null ;;
    util-linux) command -v unshare >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing=""
for package in $wanted; do
    present "$package" || missing="$missing $package"
done

if ! command -v "${GO:-go}" >/dev/null; then
    echo "Go is missing (see go.mod for the version): https://go.dev/doc/install" >&2
    exit 1
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing:$missing (these are the names in Debian; there is no apt-get here: install them yourself)" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "missing:$missing; as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "installing:$missing"
# shellcheck disable=SC2086 # lists of words
if ! { $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/dev/null; then
    echo "apt-get could not install:$missing" >&2
    exit 1
fi
for package in $missing; do
    if ! present "$package"; then
        echo "$package is installed and still not usable" >&2
        exit 1
    fi
done
