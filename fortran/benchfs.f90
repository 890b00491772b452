! benchfs.f90: BenchFS from Fortran. include/benchfs.h is the manual of what each call does; this is how they look here.
!
! Fortran 2018 (assumed rank), iso_c_binding, no C code of its own. Compile it with the compiler that the program is compiled with:
!     gfortran -c benchfs.f90             (reads the *.inc files beside it)
!     gfortran program.f90 benchfs.o -lbenchfs
!
! Names and order of arguments are those of the header. What differs:
!
! Errors. Each call has stat= as its last argument: 0, or a negative errno (BENCHFS_ENOENT is the positive number: compare with
! -BENCHFS_ENOENT). Without stat= an error ends the program with a message, like that of an allocate without it.
! benchfs_last_error() says what went wrong in this thread, benchfs_strerror(code) what a code means.
! Calls that give a handle, an offset or a number are functions, with the code as their value after an error; the others are
! subroutines.
!
! Texts. Trailing blanks of a path do not count, as in OPEN; a path that has to end in a blank ends in blank and c_null_char.
!
! Arrays. benchfs_read, _write, _pread, _pwrite, _iread and _iwrite take scalars and arrays of any rank: integers of 8 to 64 bits,
! real and complex of 32 and 64, logical, character; anything else as type(c_ptr) and a count of bytes. They move the whole array,
! also one of more than 2 GiB, in array element order. bytes= tells how many bytes were moved, and permits a read to meet the end of
! the file; without bytes= that is the error BENCHFS_END. What was not read stays as it is. An array section with gaps is
! copied by the compiler; benchfs_iread and _iwrite, which go on after the call, refuse it (BENCHFS_GAPS), and their arrays need the
! attribute asynchronous or target.
!
! The structures and constants are those of Linux on x86-64; a test compares them with the C headers.
module benchfs
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  implicit none
  private

  ! ---- Constants ----
  integer(c_int), parameter, public :: BENCHFS_API_MAJOR = 0, BENCHFS_API_MINOR = 1
  integer(c_int), parameter, public :: BENCHFS_API_VERSION = BENCHFS_API_MAJOR * 65536 + BENCHFS_API_MINOR
  integer(c_int), parameter, public :: BENCHFS_AT_FDCWD = -100, BENCHFS_REQUEST_NULL = -1
  integer(c_int), parameter, public :: BENCHFS_NAME_MAX = 255, BENCHFS_PATH_MAX = 4095, BENCHFS_IOV_MAX = 1024
  integer(c_int), parameter, public :: BENCHFS_MODE_CONFIGURED = 0, BENCHFS_MODE_EMBEDDED = 1, BENCHFS_MODE_DISTRIBUTED = 2
  integer(c_int), parameter, public :: BENCHFS_INIT_NO_ENVIRONMENT = 1
  integer(c_int), parameter, public :: BENCHFS_KIND_DIR = 4, BENCHFS_KIND_FILE = 8, BENCHFS_KIND_SYMLINK = 10
  integer(c_int), parameter, public :: BENCHFS_LAYOUT_DEFAULT = 0, BENCHFS_LAYOUT_ROUND_ROBIN = 1, BENCHFS_LAYOUT_HASH = 2
  integer(c_int), parameter, public :: BENCHFS_LAYOUT_LOCAL = 3
  integer(c_int), parameter, public :: BENCHFS_LOCK_TRY = 1, BENCHFS_LOCK_WAIT = 2, BENCHFS_LOCK_TEST = 3, BENCHFS_LOCK_LEAVE = 4
  integer(c_int), parameter, public :: BENCHFS_LOCK_RANGE = 0, BENCHFS_LOCK_FILE = 1

  ! Those of the system, with BENCHFS_ before them: flags are added up, as in BENCHFS_O_CREAT + BENCHFS_O_RDWR.
  integer(c_int), parameter, public :: BENCHFS_O_RDONLY = 0, BENCHFS_O_WRONLY = 1, BENCHFS_O_RDWR = 2
  integer(c_int), parameter, public :: BENCHFS_O_CREAT = int(o'100'), BENCHFS_O_EXCL = int(o'200'), BENCHFS_O_TRUNC = int(o'1000')
  integer(c_int), parameter, public :: BENCHFS_O_APPEND = int(o'2000'), BENCHFS_O_DSYNC = int(o'10000')
  integer(c_int), parameter, public :: BENCHFS_O_SYNC = int(o'4010000'), BENCHFS_O_DIRECTORY = int(o'200000')
  integer(c_int), parameter, public :: BENCHFS_O_NOFOLLOW = int(o'400000')
  integer(c_int), parameter, public :: BENCHFS_SEEK_SET = 0, BENCHFS_SEEK_CUR = 1, BENCHFS_SEEK_END = 2
  integer(c_int), parameter, public :: BENCHFS_SEEK_DATA = 3, BENCHFS_SEEK_HOLE = 4
  integer(c_int), parameter, public :: BENCHFS_F_OK = 0, BENCHFS_X_OK = 1, BENCHFS_W_OK = 2, BENCHFS_R_OK = 4
  integer(c_int), parameter, public :: BENCHFS_AT_SYMLINK_NOFOLLOW = int(z'100'), BENCHFS_AT_REMOVEDIR = int(z'200')
  integer(c_int), parameter, public :: BENCHFS_AT_EACCESS = int(z'200'), BENCHFS_AT_SYMLINK_FOLLOW = int(z'400')
  integer(c_int), parameter, public :: BENCHFS_AT_EMPTY_PATH = int(z'1000')
  integer(c_int), parameter, public :: BENCHFS_FALLOC_FL_KEEP_SIZE = 1
  integer(c_int), parameter, public :: BENCHFS_F_RDLCK = 0, BENCHFS_F_WRLCK = 1, BENCHFS_F_UNLCK = 2
  integer(c_int), parameter, public :: BENCHFS_S_IFMT = int(o'170000'), BENCHFS_S_IFDIR = int(o'40000')
  integer(c_int), parameter, public :: BENCHFS_S_IFREG = int(o'100000'), BENCHFS_S_IFLNK = int(o'120000')
  integer(c_long), parameter, public :: BENCHFS_UTIME_NOW = 1073741823, BENCHFS_UTIME_OMIT = 1073741822
  integer(c_int), parameter, public :: BENCHFS_EPERM = 1, BENCHFS_ENOENT = 2, BENCHFS_EINTR = 4, BENCHFS_EIO = 5
  integer(c_int), parameter, public :: BENCHFS_ENXIO = 6, BENCHFS_EBADF = 9, BENCHFS_EDEADLK = 35, BENCHFS_ENOLCK = 37
  integer(c_int), parameter, public :: BENCHFS_ECHILD = 10, BENCHFS_EAGAIN = 11, BENCHFS_ENOMEM = 12, BENCHFS_EACCES = 13
  integer(c_int), parameter, public :: BENCHFS_EFAULT = 14, BENCHFS_EBUSY = 16, BENCHFS_EEXIST = 17, BENCHFS_ENOTDIR = 20
  integer(c_int), parameter, public :: BENCHFS_EISDIR = 21, BENCHFS_EINVAL = 22, BENCHFS_EMFILE = 24, BENCHFS_EFBIG = 27
  integer(c_int), parameter, public :: BENCHFS_ENOSPC = 28, BENCHFS_EMLINK = 31, BENCHFS_ENAMETOOLONG = 36
  integer(c_int), parameter, public :: BENCHFS_ENOTEMPTY = 39, BENCHFS_ELOOP = 40, BENCHFS_EPROTO = 71, BENCHFS_EOVERFLOW = 75
  integer(c_int), parameter, public :: BENCHFS_EPROTONOSUPPORT = 93, BENCHFS_EOPNOTSUPP = 95, BENCHFS_ENOTCONN = 107
  integer(c_int), parameter, public :: BENCHFS_ETIMEDOUT = 110, BENCHFS_ECONNREFUSED = 111, BENCHFS_EHOSTUNREACH = 113
  integer(c_int), parameter, public :: BENCHFS_EALREADY = 114, BENCHFS_ESTALE = 116, BENCHFS_ECANCELED = 125

  ! Codes of this module only, as they stand in stat=: a read met the end of the file; an array section is not contiguous.
  integer(c_int), parameter, public :: BENCHFS_END = -10001, BENCHFS_GAPS = -10002

  ! One C call moves at most so many bytes.
  integer(c_size_t), parameter :: most = 2147479552_c_size_t

  ! ---- Structures ----
  type, bind(c), public :: benchfs_timespec
    integer(c_long) :: tv_sec = 0, tv_nsec = 0
  end type

  type, bind(c), public :: benchfs_stat_t ! struct stat
    integer(c_int64_t) :: st_dev = 0, st_ino = 0, st_nlink = 0
    integer(c_int) :: st_mode = 0, st_uid = 0, st_gid = 0, unused_0 = 0
    integer(c_int64_t) :: st_rdev = 0, st_size = 0, st_blksize = 0, st_blocks = 0
    type(benchfs_timespec) :: st_atim, st_mtim, st_ctim
    integer(c_int64_t) :: unused_1(3) = 0
  end type

  type, bind(c), public :: benchfs_statvfs_t ! struct statvfs
    integer(c_int64_t) :: f_bsize = 0, f_frsize = 0, f_blocks = 0, f_bfree = 0, f_bavail = 0, f_files = 0, f_ffree = 0
    integer(c_int64_t) :: f_favail = 0, f_fsid = 0, f_flag = 0, f_namemax = 0
    integer(c_int) :: unused(6) = 0
  end type

  type, bind(c), public :: benchfs_iovec ! struct iovec, e.g. benchfs_iovec(c_loc(a), 8 * size(a, kind=c_size_t))
    type(c_ptr) :: iov_base = c_null_ptr
    integer(c_size_t) :: iov_len = 0
  end type

  type, bind(c), public :: benchfs_layout
    integer(c_size_t) :: size = 32 ! of this structure
    integer(c_int64_t) :: chunk_bytes = 0
    integer(c_int32_t) :: strategy = 0, first_shard = 0, shards = 0, epoch = 0
  end type

  type, bind(c), public :: benchfs_lock_t ! struct benchfs_lock
    integer(c_size_t) :: size = 56 ! of this structure
    integer(c_int64_t) :: owner = 0, holder = 0, start = 0, length = 0
    integer(c_int) :: type = BENCHFS_F_WRLCK, kind = BENCHFS_LOCK_RANGE, pid = 0, unused = 0
  end type

  type, bind(c), public :: benchfs_extent
    integer(c_int64_t) :: offset = 0, length = 0
    integer(c_int32_t) :: node = 0, shard = 0
  end type

  type, public :: benchfs_dirent
    integer(c_int64_t) :: ino = 0, cookie = 0
    integer(c_int32_t) :: kind = 0
    character(len=:), allocatable :: name
  end type

  type, public :: benchfs_direntplus
    type(benchfs_dirent) :: entry
    type(benchfs_stat_t) :: st
  end type

  ! As C has them.
  type, bind(c) :: c_dirent
    integer(c_int64_t) :: ino = 0, cookie = 0
    integer(c_int32_t) :: kind = 0, name_size = 0
    character(kind=c_char) :: name(256) = c_null_char
  end type

  type, bind(c) :: c_direntplus
    type(c_dirent) :: entry
    type(benchfs_stat_t) :: st
  end type

  type, bind(c) :: c_options
    integer(c_size_t) :: size = 32
    type(c_ptr) :: config_file = c_null_ptr, config_text = c_null_ptr
    integer(c_int32_t) :: mode = 0, flags = 0
  end type

  ! ---- Procedures ----
  public :: benchfs_init, benchfs_init_version, benchfs_finalize, benchfs_version, benchfs_is_distributed, benchfs_strerror
  public :: benchfs_last_error, benchfs_stats
  public :: benchfs_open, benchfs_openat, benchfs_open_inode, benchfs_creat, benchfs_close, benchfs_dup, benchfs_lseek
  public :: benchfs_read, benchfs_write, benchfs_pread, benchfs_pwrite
  public :: benchfs_readv, benchfs_writev, benchfs_preadv, benchfs_pwritev
  public :: benchfs_iread, benchfs_iwrite, benchfs_test, benchfs_wait, benchfs_waitall, benchfs_cancel
  public :: benchfs_mem_alloc, benchfs_mem_free, benchfs_fsync, benchfs_fdatasync, benchfs_sync
  public :: benchfs_stat, benchfs_lstat, benchfs_fstat, benchfs_fstatat, benchfs_statfs, benchfs_fstatfs
  public :: benchfs_access, benchfs_faccessat, benchfs_chmod, benchfs_fchmod, benchfs_fchmodat
  public :: benchfs_chown, benchfs_lchown, benchfs_fchown, benchfs_fchownat
  public :: benchfs_utimens, benchfs_lutimens, benchfs_futimens, benchfs_utimensat
  public :: benchfs_truncate, benchfs_ftruncate, benchfs_fallocate
  public :: benchfs_mkdir, benchfs_mkdirat, benchfs_rmdir, benchfs_unlink, benchfs_unlinkat, benchfs_rename, benchfs_renameat
  public :: benchfs_link, benchfs_linkat, benchfs_symlink, benchfs_symlinkat, benchfs_readlink, benchfs_readlinkat
  public :: benchfs_opendir, benchfs_fdopendir, benchfs_readdir, benchfs_readdir_many, benchfs_telldir, benchfs_seekdir
  public :: benchfs_rewinddir, benchfs_closedir
  public :: benchfs_lock, benchfs_session
  public :: benchfs_get_layout, benchfs_fget_layout, benchfs_set_layout, benchfs_fset_layout, benchfs_locate

  include 'c.inc'
  include 'arrays_generic.inc'

contains

  include 'session.inc'
  include 'files.inc'
  include 'transfer.inc'
  include 'arrays.inc'
  include 'attributes.inc'
  include 'names.inc'
  include 'directories.inc'

end module benchfs
