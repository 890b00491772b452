! array_dump: a field of three dimensions into one file, one plane a time; then any part of it back, without reading the rest.
program array_dump
  use, intrinsic :: iso_fortran_env, only: int64, real64
  use benchfs
  implicit none
  integer, parameter :: nx = 200, ny = 100, nz = 50
  integer(int64), parameter :: header = 3 * 8, plane = 8_int64 * nx * ny
  real(real64), allocatable :: field(:, :, :), part(:, :)
  integer(int64) :: shape_there(3), bytes
  integer :: fd, k, rc

  call benchfs_init() ! without stat= an error ends the program, with its reason
  allocate (field(nx, ny, nz))
  call random_number(field)

  fd = benchfs_open('/field.dat', BENCHFS_O_CREAT + BENCHFS_O_TRUNC + BENCHFS_O_RDWR)
  call benchfs_write(fd, shape(field, kind=int64))
  do k = nz, 1, -1 ! planes may be written in any order, and by different processes
    call benchfs_pwrite(fd, field(:, :, k), header + plane * (k - 1))
  end do
  call benchfs_close(fd)

  fd = benchfs_open('/field.dat', BENCHFS_O_RDONLY)
  call benchfs_read(fd, shape_there)
  print '(a, 3(1x, i0))', 'shape', shape_there
  allocate (part(nx, ny))
  call benchfs_pread(fd, part, header + plane * 16)
  print '(a, l2)', 'plane 17 is what was written:', all(abs(part - field(:, :, 17)) <= 0)
  ! Every other element of a column: what is read goes where the section says.
  call benchfs_pread(fd, part(1:nx:2, 3), header, bytes)
  print '(a, i0, a, l2)', 'bytes of a section: ', bytes, ', right:', all(abs(part(1:nx:2, 3) - field(1:nx / 2, 1, 1)) <= 0)

  ! With stat= the program decides; with bytes= the end of the file is no error.
  call benchfs_pread(fd, part, header + plane * nz, bytes)
  print '(a, i0, a)', 'after the last plane are ', bytes, ' bytes'
  call benchfs_pread(fd, part, header + plane * nz, stat=rc)
  print '(2a)', 'without bytes=: ', benchfs_strerror(rc)
  call benchfs_close(fd)
  call benchfs_unlink('/field.dat')
  rc = benchfs_open('/field.dat', BENCHFS_O_RDONLY, stat=rc)
  if (rc == -BENCHFS_ENOENT) print '(a)', 'the file is gone'
  call benchfs_finalize()
end program array_dump
