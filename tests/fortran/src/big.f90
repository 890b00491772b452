! big.f90: a read of more than one C call moves, of a file that is mostly a hole.
program big
  use, intrinsic :: iso_fortran_env, only: int8, int64
  use benchfs
  use check
  implicit none
  integer(int64), parameter :: limit = 2147479552_int64, n = limit + 5000
  integer(int8), allocatable :: array(:)
  integer(int64) :: bytes
  integer :: fd
  call benchfs_init()
  fd = benchfs_open('/big', BENCHFS_O_CREAT + BENCHFS_O_RDWR)
  call benchfs_pwrite(fd, [1_int8, 2_int8, 3_int8], limit - 1)
  call benchfs_pwrite(fd, 4_int8, n - 1)
  allocate (array(n + 10))
  array(n - 5:) = 9
  call benchfs_pread(fd, array, 0_int64, bytes)
  call equal('pread', bytes, n)
  call that('around the limit', all(array(limit - 1:limit + 3) == [0_int8, 1_int8, 2_int8, 3_int8, 0_int8]))
  call that('at the end', all(array(n - 1:n + 1) == [0_int8, 4_int8, 9_int8]))
  call benchfs_close(fd)
  call benchfs_finalize()
end program big
