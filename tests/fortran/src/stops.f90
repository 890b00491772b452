! stops.f90: an error without stat= ends the program, with a message that names call, path and reason.
program stops
  use benchfs
  implicit none
  integer :: fd
  call benchfs_init()
  fd = benchfs_open('/nothing/here', BENCHFS_O_RDONLY)
  print '(a, i0)', 'went on with ', fd
end program stops
