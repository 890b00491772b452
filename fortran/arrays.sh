#!/bin/sh
# arrays.sh generic|procedures: writes arrays_generic.inc or arrays.inc, the transfers for each type of array (`make docs` does it). One
# procedure for each type and operation: the ranks are one by dummy(..), the types cannot be, if the compiler is to know the size of an element.
set -eu

# suffix, type
types() {
    cat <<'END'
int8 integer(int8)
int16 integer(int16)
int32 integer(int32)
int64 integer(int64)
real32 real(real32)
real64 real(real64)
complex32 complex(real32)
complex64 complex(real64)
logical logical
bool logical(c_bool)
character character(len=*)
END
}

generic() {
    for call in read write pread pwrite iread iwrite; do
        printf '  interface benchfs_%s\n    module procedure %s_bytes\n' "$call" "$call"
        types | while read -r suffix _; do printf '    module procedure %s_%s\n' "$call" "$suffix"; done
        printf '  end interface\n\n'
    done
}

# blocking CALL SUFFIX TYPE INTENT OFFSET: OFFSET is "offset, " or nothing.
blocking() {
    cat <<END
  subroutine $1_$2(fd, array, $5bytes, stat)
    integer(c_int), intent(in) :: fd
    $3, intent($4), target, contiguous :: array(..)
END
    [ -z "$5" ] || echo '    integer(c_int64_t), intent(in) :: offset'
    cat <<END
    integer(c_int64_t), intent(out), optional :: bytes
    integer(c_int), intent(out), optional :: stat
    call $1_bytes(fd, first(array), size(array, kind=c_size_t) * (storage_size(array, c_size_t) / 8), $5bytes, stat)
  end subroutine

END
}

# request CALL SUFFIX TYPE INTENT
request() {
    cat <<END
  function $1_$2(fd, array, offset, stat) result(request)
    integer(c_int), intent(in) :: fd
    $3, intent($4), target, asynchronous :: array(..)
    integer(c_int64_t), intent(in) :: offset
    integer(c_int), intent(out), optional :: stat
    integer(c_int) :: request
    if (is_contiguous(array)) then
      request = $1_bytes(fd, first(array), size(array, kind=c_size_t) * (storage_size(array, c_size_t) / 8), offset, stat)
    else
      request = refuse_gaps('benchfs_$1', stat)
    end if
  end function

END
}

procedures() {
    types | while read -r suffix type; do
        blocking read "$suffix" "$type" inout ''
        blocking write "$suffix" "$type" in ''
        blocking pread "$suffix" "$type" inout 'offset, '
        blocking pwrite "$suffix" "$type" in 'offset, '
        request iread "$suffix" "$type" inout
        request iwrite "$suffix" "$type" in
    done
}

echo '  ! Written by arrays.sh: change that.'
case "${1:-}" in
generic) generic ;;
procedures) procedures ;;
*)
    echo "usage: $0 generic|procedures" >&2
    exit 2
    ;;
esac
