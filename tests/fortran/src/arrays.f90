! arrays.f90: every type, ranks 0 to 7, sections, arrays without elements; what arrives is compared byte for byte through int8.
program arrays
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use benchfs
  use check
  implicit none
  integer(int64), parameter :: zero = 0
  integer :: fd

  call benchfs_init()
  fd = benchfs_open('/arrays', BENCHFS_O_CREAT + BENCHFS_O_RDWR + BENCHFS_O_TRUNC)
  call types
  call ranks
  call sections
  call large
  call benchfs_close(fd)
  call benchfs_unlink('/arrays')
  call benchfs_finalize()

contains

  subroutine types
    integer(int8) :: i8(3) = [1_int8, -2_int8, 3_int8], j8(3)
    integer(int16) :: i16(3) = [1_int16, -2_int16, 300_int16], j16(3)
    integer(int32) :: i32(3) = [1, -2, 3], j32(3)
    integer(int64), asynchronous :: i64(3) = [1_int64, -2_int64, 3000000000_int64], j64(3)
    real(real32) :: r32(3) = [1.5_real32, -2.25_real32, 3e7_real32], s32(3)
    real(real64), asynchronous :: r64(3) = [1.5_real64, -2.25_real64, 3e70_real64], s64(3)
    complex(real32) :: c32(2) = [(1.0_real32, 2.0_real32), (3.0_real32, -4.0_real32)], d32(2)
    complex(real64) :: c64(2) = [(1.0_real64, 2.0_real64), (3.0_real64, -4.0_real64)], d64(2)
    logical :: l(3) = [.true., .false., .true.], m(3)
    logical(c_bool) :: lb(3) = [.true._c_bool, .false._c_bool, .true._c_bool], mb(3)
    character(len=4) :: t(2) = ['abcd', 'efgh'], u(2)
    call put(3_int64)
    call benchfs_write(fd, i8); call benchfs_write(fd, i16); call benchfs_write(fd, i32); call benchfs_write(fd, i64)
    call benchfs_write(fd, r32); call benchfs_write(fd, r64); call benchfs_write(fd, c32); call benchfs_write(fd, c64)
    call benchfs_write(fd, l); call benchfs_write(fd, lb); call benchfs_write(fd, t)
    call equal('bytes', benchfs_lseek(fd, zero, BENCHFS_SEEK_CUR), 3_int64 + 3 * (1 + 2 + 4 + 8 + 4 + 8) + 16 + 32 + 12 + 3 + 8)
    call put(3_int64)
    call benchfs_read(fd, j8); call benchfs_read(fd, j16); call benchfs_read(fd, j32); call benchfs_read(fd, j64)
    call benchfs_read(fd, s32); call benchfs_read(fd, s64); call benchfs_read(fd, d32); call benchfs_read(fd, d64)
    call benchfs_read(fd, m); call benchfs_read(fd, mb); call benchfs_read(fd, u)
    call that('integers', all(i8 == j8) .and. all(i16 == j16) .and. all(i32 == j32) .and. all(i64 == j64))
    call that('reals', all(abs(r32 - s32) <= 0) .and. all(abs(r64 - s64) <= 0))
    call that('complex', all(abs(c32 - d32) <= 0) .and. all(abs(c64 - d64) <= 0))
    call that('logical', all(l .eqv. m) .and. all(lb .eqv. mb))
    call that('character', all(t == u))
    call benchfs_wait(benchfs_iwrite(fd, r64, 1000_int64))
    s64 = 0
    call benchfs_wait(benchfs_iread(fd, s64, 1000_int64))
    call that('requests', all(abs(r64 - s64) <= 0))
    call benchfs_pwrite(fd, 7_int16, zero)
    call benchfs_pread(fd, j16(2), zero)
    call equal('a scalar', int(j16(2)), 7)
  end subroutine

  subroutine put(offset)
    integer(int64), intent(in) :: offset
    call equal('lseek', benchfs_lseek(fd, offset, BENCHFS_SEEK_SET), offset)
  end subroutine

  subroutine ranks
    integer(int8) :: bytes(128), a(2, 2, 2, 2, 2, 2, 2)
    integer :: i
    a = reshape([(int(i, int8), i=0, 127)], shape(a))
    call benchfs_pwrite(fd, a, zero)
    call benchfs_pread(fd, bytes, zero)
    call that('array element order', all(bytes == [(int(i, int8), i=0, 127)]))
    a = 0
    call benchfs_pread(fd, a(:, :, :, :, :, :, 1), 64_int64)
    call benchfs_pread(fd, a(:, :, :, :, :, 1, 2), 32_int64)
    call benchfs_pread(fd, a(:, :, :, :, 1, 2, 2), 16_int64)
    call benchfs_pread(fd, a(:, :, :, 1, 2, 2, 2), 8_int64)
    call benchfs_pread(fd, a(:, :, 1, 2, 2, 2, 2), 4_int64)
    call benchfs_pread(fd, a(:, 1, 2, 2, 2, 2, 2), 2_int64)
    call benchfs_pread(fd, a(1, 2, 2, 2, 2, 2, 2), 1_int64)
    call that('ranks', all(reshape(a, [128]) == &
                           [[(int(i, int8), i=64, 127), (int(i, int8), i=32, 63), (int(i, int8), i=16, 31)], &
                            [(int(i, int8), i=8, 15), (int(i, int8), i=4, 7), (int(i, int8), i=2, 3), 1_int8, 0_int8]]))
  end subroutine

  subroutine sections
    integer :: a(4, 4), b(4, 4), i
    integer(int64) :: n
    a = reshape([(i, i=1, 16)], [4, 4])
    b = 0
    call benchfs_pwrite(fd, a(::2, 2:3), zero)
    call benchfs_pread(fd, b(2::2, 3:4), zero)
    call that('a section with gaps', all(b(2::2, 3:4) == a(::2, 2:3)) .and. count(b == 0) == 12)
    call benchfs_pwrite(fd, a(4:1:-1, 1), zero)
    call benchfs_pread(fd, b(:, 1), zero)
    call that('backwards', all(b(:, 1) == [4, 3, 2, 1]))
    call benchfs_pwrite(fd, a(1:0, :), zero, n)
    call equal('no elements', n, zero)
    call benchfs_pread(fd, a(1:0, 1), zero)
    call shape_of(a)
  end subroutine

  subroutine shape_of(a)
    integer, intent(inout) :: a(:, :)
    integer, allocatable :: b(:)
    call benchfs_pwrite(fd, a, zero)
    allocate (b(size(a)))
    call benchfs_pread(fd, b, zero)
    call that('assumed shape and allocatable', all(b == reshape(a, [size(a)])))
  end subroutine

  ! Several chunks.
  subroutine large
    real(real64), allocatable :: a(:, :), b(:, :)
    allocate (a(1000, 1500), b(1000, 1500))
    call random_number(a)
    call benchfs_pwrite(fd, a, 4097_int64)
    call benchfs_pread(fd, b, 4097_int64)
    call that('12 MB', all(abs(a - b) <= 0))
  end subroutine
end program arrays
