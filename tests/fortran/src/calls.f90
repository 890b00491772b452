! calls.f90: every call of the module, and how errors are told. Works in a directory of its own, embedded and on daemons.
program calls
  use, intrinsic :: iso_c_binding
  use, intrinsic :: iso_fortran_env, only: int64, int32
  use benchfs
  use check
  implicit none
  integer(int64), parameter :: zero = 0
  integer :: rc

  call before_init
  call benchfs_init()
  call benchfs_mkdir('/calls')
  call files
  call offsets
  call vectors
  call requests
  call attributes
  call names
  call streams
  call locks
  call placement
  call memory
  call benchfs_rmdir('/calls')
  call sessions

contains

  subroutine before_init
    call benchfs_sync(stat=rc)
    call equal('before benchfs_init', rc, -BENCHFS_ENOTCONN)
    call that('benchfs_version', index(benchfs_version(), '.') > 0)
    call that('benchfs_last_error', index(benchfs_last_error(), 'not initialised') > 0)
    call equal('benchfs_strerror', benchfs_strerror(0), 'success')
    call that('benchfs_strerror of the module', index(benchfs_strerror(BENCHFS_END), 'ends') > 0)
    call benchfs_init(config_text='no TOML', stat=rc)
    call equal('bad configuration', rc, -BENCHFS_EINVAL)
    call benchfs_init(config_file='/does/not/exist', stat=rc)
    call equal('no configuration', rc, -BENCHFS_ENOENT)
    call benchfs_init_version(65536 * 99, stat=rc)
    call equal('version', rc, -BENCHFS_EPROTONOSUPPORT)
    call benchfs_init_version(BENCHFS_API_VERSION)
    call benchfs_finalize()
  end subroutine

  subroutine sessions
    integer :: fd, left_open
    fd = benchfs_creat('/left')
    call benchfs_init()
    call benchfs_unlink('/left')
    call benchfs_finalize(left_open)
    call equal('nested finalize', left_open, 0)
    call benchfs_finalize(left_open, rc)
    call equal('left open', left_open, 1)
    call equal('finalize', rc, 0)
    call benchfs_finalize(stat=rc)
    call equal('finalize again', rc, -BENCHFS_ENOTCONN)
    call benchfs_init(mode=BENCHFS_MODE_EMBEDDED, flags=BENCHFS_INIT_NO_ENVIRONMENT)
    call that('embedded', .not. benchfs_is_distributed(rc))
    call equal('is_distributed', rc, 0)
    call benchfs_finalize()
  end subroutine

  subroutine files
    integer :: fd, other
    integer(int64) :: n
    character(len=5) :: text
    character(len=40) :: padded
    call that('stats', index(benchfs_stats(rc), '"open_handles":') > 0)
    call equal('stats', rc, 0)
    padded = '/calls/file'
    fd = benchfs_open(padded, BENCHFS_O_CREAT + BENCHFS_O_EXCL + BENCHFS_O_RDWR, int(o'640'))
    other = benchfs_open('/calls/file', BENCHFS_O_CREAT + BENCHFS_O_EXCL + BENCHFS_O_RDWR, stat=rc)
    call equal('O_EXCL', rc, -BENCHFS_EEXIST)
    call equal('its value', other, -BENCHFS_EEXIST)
    call that('its text', index(benchfs_last_error(), '/calls/file') > 0)
    call benchfs_write(fd, 'hello')
    other = benchfs_dup(fd)
    call equal('the shared offset', benchfs_lseek(other, zero, BENCHFS_SEEK_CUR), 5_int64)
    call equal('lseek', benchfs_lseek(fd, zero, BENCHFS_SEEK_SET), zero)
    call benchfs_read(fd, text, n)
    call equal('read', n, 5_int64)
    call equal('read', text, 'hello')
    call benchfs_read(fd, text, n)
    call equal('read at the end', n, zero)
    call benchfs_fsync(fd)
    call benchfs_fdatasync(other)
    call benchfs_sync()
    call benchfs_close(other)
    call benchfs_close(fd)
    call benchfs_close(fd, rc)
    call equal('closed', rc, -BENCHFS_EBADF)
    call benchfs_read(fd, text, n, rc)
    call equal('read of what is closed', rc, -BENCHFS_EBADF)
    call equal('its bytes', n, zero)
    fd = benchfs_open('/calls/file'//c_null_char//'ignored', BENCHFS_O_RDONLY)
    call benchfs_write(fd, 'x', stat=rc)
    call equal('write to O_RDONLY', rc, -BENCHFS_EBADF)
    call benchfs_close(fd)
    fd = benchfs_creat('/calls/blank '//c_null_char, int(o'600'))
    call benchfs_close(fd)
    fd = benchfs_open('/calls/blank', BENCHFS_O_RDONLY, stat=rc)
    call equal('blanks before NUL count', rc, -BENCHFS_ENOENT)
    call benchfs_unlink('/calls/blank '//c_null_char)
  end subroutine

  ! More than 32 bits.
  subroutine offsets
    integer(int64), parameter :: far = 5000000000_int64
    integer :: fd
    integer(int64) :: n
    integer(int32) :: three(3)
    type(benchfs_stat_t) :: st
    fd = benchfs_open('/calls/file', BENCHFS_O_RDWR)
    call benchfs_pwrite(fd, [1, 2], far, n)
    call equal('pwrite', n, 8_int64)
    call benchfs_fstat(fd, st)
    call equal('st_size', st%st_size, far + 8)
    call equal('SEEK_END', benchfs_lseek(fd, -8_int64, BENCHFS_SEEK_END), far)
    three = 9
    call benchfs_pread(fd, three, far, n)
    call equal('pread', n, 8_int64)
    call that('what was read, and what was not', all(three == [1, 2, 9]))
    call benchfs_pread(fd, three, far, stat=rc)
    call equal('pread without bytes=', rc, BENCHFS_END)
    call benchfs_pread(fd, three, -1_int64, stat=rc)
    call equal('pread before the start', rc, -BENCHFS_EINVAL)
    call benchfs_truncate('/calls/file', 5_int64)
    call benchfs_ftruncate(fd, 4_int64)
    call benchfs_fallocate(fd, BENCHFS_FALLOC_FL_KEEP_SIZE, zero, 100_int64)
    call benchfs_stat('/calls/file', st)
    call equal('size', st%st_size, 4_int64)
    call benchfs_close(fd)
  end subroutine

  subroutine vectors
    integer :: fd
    integer(int64) :: n
    character(kind=c_char, len=1), target :: a(3), b(2)
    fd = benchfs_open('/calls/file', BENCHFS_O_RDWR + BENCHFS_O_TRUNC)
    a = ['a', 'b', 'c']
    b = ['d', 'e']
    call benchfs_writev(fd, [benchfs_iovec(c_loc(a), 3_c_size_t), benchfs_iovec(c_loc(b), 2_c_size_t)], n)
    call equal('writev', n, 5_int64)
    call benchfs_pwritev(fd, [benchfs_iovec(c_loc(b), 2_c_size_t), benchfs_iovec(c_loc(a), 3_c_size_t)], 5_int64, n)
    call equal('pwritev', n, 5_int64)
    a = '?'
    b = '?'
    call benchfs_preadv(fd, [benchfs_iovec(c_loc(a), 3_c_size_t), benchfs_iovec(c_loc(b), 2_c_size_t)], 5_int64, n)
    call equal('preadv', n, 5_int64)
    call that('preadv', all(a == ['d', 'e', 'a']) .and. all(b == ['b', 'c']))
    rc = int(benchfs_lseek(fd, zero, BENCHFS_SEEK_SET))
    call benchfs_readv(fd, [benchfs_iovec(c_loc(a), 3_c_size_t), benchfs_iovec(c_loc(b), 2_c_size_t)], n)
    call that('readv', n == 5 .and. all(a == ['a', 'b', 'c']) .and. all(b == ['d', 'e']))
    call benchfs_readv(-1, [benchfs_iovec(c_loc(a), 3_c_size_t)], n, rc)
    call equal('readv of nothing', rc, -BENCHFS_EBADF)
    call equal('its bytes', n, zero)
    call benchfs_close(fd)
  end subroutine

  subroutine requests
    integer :: fd, i
    integer, asynchronous :: wrote(1000, 4), back(1000, 4)
    integer :: many(5)
    integer(int64) :: n, results(5)
    logical :: ended
    wrote = reshape([(i, i=1, 4000)], [1000, 4])
    fd = benchfs_creat('/calls/requests')
    call benchfs_close(fd)
    fd = benchfs_open('/calls/requests', BENCHFS_O_RDWR)
    many(5) = BENCHFS_REQUEST_NULL
    do i = 1, 4
      many(i) = benchfs_iwrite(fd, wrote(:, i), 4000_int64 * (i - 1))
    end do
    call benchfs_waitall(many, results)
    call that('waitall', all(results == [4000, 4000, 4000, 4000, 0]) .and. all(many == BENCHFS_REQUEST_NULL))
    call benchfs_wait(benchfs_iread(fd, back(:, 3:4), 8000_int64), n)
    call equal('wait', n, 8000_int64)
    rc = benchfs_iread(fd, back(:, 1:2), zero)
    ended = .false.
    n = -1
    do while (.not. ended)
      call benchfs_test(rc, ended, n)
    end do
    call equal('test', n, 8000_int64)
    call that('what was read', all(back == wrote))
    call benchfs_wait(rc, stat=i)
    call equal('a request that is gone', i, -BENCHFS_EBADF)
    call benchfs_cancel(rc, i)
    call equal('cancel', i, -BENCHFS_EBADF)
    call equal('gaps', benchfs_iread(fd, back(::2, 1), zero, i), BENCHFS_GAPS)
    call equal('gaps', i, BENCHFS_GAPS)
    many(1) = benchfs_iread(fd, back(:, 1), zero)
    call benchfs_cancel(many(1))
    call benchfs_wait(many(1), stat=rc)
    call that('cancelled or done', rc == 0 .or. rc == -BENCHFS_ECANCELED)
    many = BENCHFS_REQUEST_NULL
    many(1) = benchfs_iread(fd, back(:, 1), zero)
    many(2) = 1000000
    call benchfs_waitall(many, stat=rc)
    call equal('waitall with one that is none', rc, -BENCHFS_EBADF)
    call benchfs_close(fd)
    call benchfs_unlink('/calls/requests')
  end subroutine

  subroutine attributes
    integer :: fd, dir
    type(benchfs_stat_t) :: st, other
    type(benchfs_statvfs_t) :: sv
    type(benchfs_timespec) :: times(2)
    call benchfs_symlink('file', '/calls/link')
    call benchfs_stat('/calls/link', st)
    call equal('stat', iand(st%st_mode, BENCHFS_S_IFMT), BENCHFS_S_IFREG)
    call benchfs_lstat('/calls/link', other)
    call equal('lstat', iand(other%st_mode, BENCHFS_S_IFMT), BENCHFS_S_IFLNK)
    dir = benchfs_open('/calls', BENCHFS_O_DIRECTORY)
    call benchfs_fstatat(dir, 'link', other, BENCHFS_AT_SYMLINK_NOFOLLOW)
    call equal('fstatat', iand(other%st_mode, BENCHFS_S_IFMT), BENCHFS_S_IFLNK)
    call benchfs_fstatat(dir, 'link', other)
    call equal('st_ino', other%st_ino, st%st_ino)
    fd = benchfs_openat(dir, 'file', BENCHFS_O_RDWR)
    call benchfs_close(benchfs_open_inode(st%st_ino, BENCHFS_O_RDONLY))
    call benchfs_statfs('/', sv)
    call that('statfs', sv%f_frsize > 0 .and. sv%f_blocks >= sv%f_bfree .and. sv%f_namemax == BENCHFS_NAME_MAX)
    call benchfs_fstatfs(fd, sv)
    call equal('fstatfs', sv%f_namemax, int(BENCHFS_NAME_MAX, int64))
    call benchfs_access('/calls/file', BENCHFS_R_OK + BENCHFS_W_OK)
    call benchfs_faccessat(dir, 'nothing', BENCHFS_F_OK, stat=rc)
    call equal('faccessat', rc, -BENCHFS_ENOENT)
    call benchfs_chmod('/calls/file', int(o'600'))
    call benchfs_fchmod(fd, int(o'604'))
    call benchfs_fstat(fd, st)
    call equal('fchmod', st%st_mode, BENCHFS_S_IFREG + int(o'604'))
    call benchfs_fchmodat(dir, 'file', int(o'644'))
    call benchfs_chown('/calls/file', -1, -1)
    call benchfs_lchown('/calls/link', -1, -1)
    call benchfs_fchown(fd, -1, st%st_gid)
    call benchfs_fchownat(dir, 'file', st%st_uid, -1)
    times = [benchfs_timespec(1000, 1), benchfs_timespec(2000, 2)]
    call benchfs_utimens('/calls/file', times)
    call benchfs_fstat(fd, st)
    call that('utimens', st%st_atim%tv_sec == 1000 .and. st%st_mtim%tv_sec == 2000 .and. st%st_mtim%tv_nsec == 2)
    call benchfs_lutimens('/calls/link', times)
    times(1)%tv_nsec = BENCHFS_UTIME_OMIT
    times(2)%tv_nsec = 5
    call benchfs_futimens(fd, times)
    call benchfs_fstat(fd, st)
    call that('futimens', st%st_atim%tv_nsec == 1 .and. st%st_mtim%tv_nsec == 5)
    call benchfs_utimensat(dir, 'file')
    call benchfs_fstat(fd, st)
    call that('utimensat, now', st%st_mtim%tv_sec > 1000000)
    call benchfs_close(fd)
    call benchfs_close(dir)
    call benchfs_unlink('/calls/link')
  end subroutine

  subroutine names
    integer :: dir
    type(benchfs_stat_t) :: st
    dir = benchfs_open('/calls', BENCHFS_O_DIRECTORY)
    call benchfs_mkdirat(dir, 'sub', int(o'700'))
    call benchfs_rename('/calls/file', '/calls/sub/file')
    call benchfs_renameat(dir, 'sub/file', dir, 'file')
    call benchfs_link('/calls/file', '/calls/second')
    call benchfs_linkat(dir, 'file', dir, 'third')
    call benchfs_stat('/calls/file', st)
    call equal('st_nlink', st%st_nlink, 3_int64)
    call benchfs_symlinkat('some where', dir, 'link')
    call equal('readlink', benchfs_readlink('/calls/link'), 'some where')
    call equal('readlinkat', benchfs_readlinkat(dir, 'link'), 'some where')
    call equal('readlink of a file', benchfs_readlink('/calls/file', rc), '')
    call equal('readlink of a file', rc, -BENCHFS_EINVAL)
    call benchfs_unlinkat(dir, 'link')
    call benchfs_unlinkat(dir, 'third')
    call benchfs_unlinkat(dir, 'sub', BENCHFS_AT_REMOVEDIR)
    call benchfs_unlink('/calls/second')
    call benchfs_rmdir('/calls', rc)
    call equal('rmdir', rc, -BENCHFS_ENOTEMPTY)
    call benchfs_close(dir)
  end subroutine

  subroutine streams
    integer :: dir, fd, count
    logical :: found
    integer(int64) :: cookie
    type(benchfs_dirent) :: entry
    type(benchfs_direntplus) :: entries(10)
    dir = benchfs_opendir('/calls')
    call equal('telldir', benchfs_telldir(dir), zero)
    count = 0
    cookie = -1
    do
      call benchfs_readdir(dir, entry, found)
      if (.not. found) exit
      count = count + 1
      if (entry%name == 'file') call equal('kind', entry%kind, BENCHFS_KIND_FILE)
      if (count == 2) cookie = benchfs_telldir(dir)
    end do
    call equal('entries', count, 3)
    call benchfs_seekdir(dir, cookie)
    call benchfs_readdir(dir, entry, found)
    call that('seekdir', found)
    call benchfs_rewinddir(dir)
    call benchfs_readdir_many(dir, entries, count)
    call equal('readdir_many', count, 3)
    call equal('their names', entries(1)%entry%name//entries(2)%entry%name//entries(3)%entry%name, '...file')
    call equal('their attributes', entries(1)%st%st_ino, entries(1)%entry%ino)
    call benchfs_readdir_many(dir, entries, count)
    call equal('after the last', count, 0)
    call benchfs_closedir(dir)
    fd = benchfs_open('/calls', BENCHFS_O_DIRECTORY)
    dir = benchfs_fdopendir(fd)
    call benchfs_closedir(dir)
    call benchfs_readdir(dir, entry, found, rc)
    call that('closed', rc == -BENCHFS_EBADF .and. .not. found)
    call benchfs_close(fd)
    call benchfs_unlink('/calls/file')
  end subroutine

  subroutine locks
    type(benchfs_lock_t) :: lock
    integer :: fd, rc
    fd = benchfs_open('/calls/locked', BENCHFS_O_CREAT + BENCHFS_O_RDWR)
    lock%start = 10
    lock%length = 5
    lock%pid = 77
    call benchfs_lock(fd, BENCHFS_LOCK_WAIT, lock)
    call that('session', benchfs_session() /= 0)
    lock = benchfs_lock_t(owner=9, type=BENCHFS_F_RDLCK)
    call benchfs_lock(fd, BENCHFS_LOCK_TRY, lock, rc)
    call equal('lock', rc, -BENCHFS_EAGAIN)
    call benchfs_lock(fd, BENCHFS_LOCK_TEST, lock)
    call equal('in the way', lock%start * 100 + lock%length, 1005_int64)
    call equal('whose', lock%pid, 77)
    lock = benchfs_lock_t(type=BENCHFS_F_UNLCK)
    call benchfs_lock(fd, BENCHFS_LOCK_TRY, lock)
    lock = benchfs_lock_t(owner=9)
    call benchfs_lock(fd, BENCHFS_LOCK_TEST, lock)
    call equal('nothing', lock%type, BENCHFS_F_UNLCK)
    call benchfs_close(fd)
    call benchfs_unlink('/calls/locked')
  end subroutine

  subroutine placement
    type(benchfs_layout) :: layout
    type(benchfs_extent) :: extents(8)
    integer :: fd
    call benchfs_get_layout('/calls', layout)
    layout%chunk_bytes = 65536
    layout%strategy = BENCHFS_LAYOUT_ROUND_ROBIN
    call benchfs_set_layout('/calls', layout)
    fd = benchfs_creat('/calls/spread')
    layout%chunk_bytes = 131072
    call benchfs_fset_layout(fd, layout)
    layout = benchfs_layout()
    call benchfs_fget_layout(fd, layout)
    call equal('chunk_bytes', layout%chunk_bytes, 131072_int64)
    call benchfs_pwrite(fd, [1, 2, 3], 131072_int64)
    call that('locate', benchfs_locate(fd, zero, 1000000_int64) >= 1)
    call that('locate', benchfs_locate(fd, zero, 1000000_int64, extents) >= 1)
    call equal('the first extent', extents(1)%offset, zero)
    call benchfs_close(fd)
    call benchfs_unlink('/calls/spread')
  end subroutine

  subroutine memory
    type(c_ptr) :: address
    integer(int64), pointer :: array(:)
    integer :: fd
    address = benchfs_mem_alloc(80_c_size_t)
    call c_f_pointer(address, array, [10])
    call that('zeroed', all(array == 0))
    fd = benchfs_creat('/calls/memory')
    call benchfs_write(fd, address, 80_c_size_t)
    call equal('bytes', benchfs_lseek(fd, zero, BENCHFS_SEEK_END), 80_int64)
    call benchfs_close(fd)
    call benchfs_unlink('/calls/memory')
    call benchfs_mem_free(address)
    address = benchfs_mem_alloc(0_c_size_t, rc)
    call equal('no memory', rc, -BENCHFS_ENOMEM)
  end subroutine
end program calls
