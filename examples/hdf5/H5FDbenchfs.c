/* H5FDbenchfs.c: see H5FDbenchfs.h. Where a call of BenchFS fails, its text goes to HDF5's error stack, and the call of HDF5 fails. */
#include "H5FDbenchfs.h"

#include <benchfs.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#if H5_VERSION_GE(1, 13, 0)
#include <H5FDdevelop.h>
#include <H5PLextern.h>
#endif

/* 512 and above are for drivers that are not registered with The HDF Group. */
#define DRIVER_VALUE 600

/* An open file. HDF5 knows it by its first member. */
struct file {
    H5FD_t public_;
    int handle;
    uint64_t ino;
    haddr_t eoa; /* end of what HDF5 has allocated */
    haddr_t eof; /* end of the file */
};

static int sessions; /* that this driver has begun */

static herr_t failed_for(const char *reason, const char *function, hid_t major, hid_t minor)
{
    H5Epush2(H5E_DEFAULT, __FILE__, function, __LINE__, H5E_ERR_CLS, major, minor, "%s", reason);
    return -1;
}

static herr_t failed(const char *function, hid_t major, hid_t minor)
{
    return failed_for(benchfs_last_error(), function, major, minor);
}

static herr_t terminate(void)
{
    while (sessions > 0) {
        sessions--;
        benchfs_finalize();
    }
    return 0;
}

static H5FD_t *open_file(const char *name, unsigned flags, hid_t fapl, haddr_t maxaddr)
{
    struct stat st;
    int how = (flags & H5F_ACC_RDWR) != 0 ? O_RDWR : O_RDONLY;
    (void)fapl;
    if (maxaddr == 0 || maxaddr == HADDR_UNDEF) {
        failed_for("no range of addresses", "open", H5E_ARGS, H5E_BADRANGE);
        return NULL;
    }
    if (sessions == 0) {
        if (benchfs_init(NULL) < 0) {
            failed("open", H5E_VFL, H5E_CANTINIT);
            return NULL;
        }
        sessions++;
    }
    how |= (flags & H5F_ACC_TRUNC) != 0 ? O_TRUNC : 0;
    how |= (flags & H5F_ACC_CREAT) != 0 ? O_CREAT : 0;
    how |= (flags & H5F_ACC_EXCL) != 0 ? O_EXCL : 0;
    int handle = benchfs_open(name, how, 0666);
    if (handle < 0 || benchfs_fstat(handle, &st) < 0) {
        failed("open", H5E_FILE, H5E_CANTOPENFILE);
        if (handle >= 0)
            benchfs_close(handle);
        return NULL;
    }
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL) {
        failed_for("no memory", "open", H5E_RESOURCE, H5E_NOSPACE);
        benchfs_close(handle);
        return NULL;
    }
    f->handle = handle;
    f->ino = st.st_ino;
    f->eof = (haddr_t)st.st_size;
    return (H5FD_t *)f;
}

static herr_t close_file(H5FD_t *file)
{
    struct file *f = (struct file *)file;
    int rc = benchfs_close(f->handle);
    free(f);
    return rc < 0 ? failed("close", H5E_IO, H5E_CANTCLOSEFILE) : 0;
}

static int compare(const H5FD_t *a, const H5FD_t *b)
{
    uint64_t x = ((const struct file *)a)->ino, y = ((const struct file *)b)->ino;
    return (x > y) - (x < y);
}

/* What HDF5 may do by itself to make fewer and larger accesses of many small ones; and the file is as one on disk would be. */
static herr_t query(const H5FD_t *file, unsigned long *flags)
{
    (void)file;
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
    return 0;
}

static haddr_t get_eoa(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct file *)file)->eoa;
}

static herr_t set_eoa(H5FD_t *file, H5FD_mem_t type, haddr_t addr)
{
    (void)type;
    ((struct file *)file)->eoa = addr;
    return 0;
}

static haddr_t get_eof(const H5FD_t *file, H5FD_mem_t type)
{
    (void)type;
    return ((const struct file *)file)->eof;
}

static herr_t get_handle(H5FD_t *file, hid_t fapl, void **handle)
{
    (void)fapl;
    *handle = &((struct file *)file)->handle;
    return 0;
}

/* Behind the end of the file there are zeros, as HDF5 wants it of every driver. */
static herr_t read_file(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size, void *buffer)
{
    const struct file *f = (const struct file *)file;
    char *to = buffer;
    (void)type, (void)dxpl;
    while (size > 0) {
        ssize_t n = benchfs_pread(f->handle, to, size, (off_t)addr);
        if (n < 0)
            return failed("read", H5E_IO, H5E_READERROR);
        if (n == 0) {
            memset(to, 0, size);
            break;
        }
        to += n, addr += (haddr_t)n, size -= (size_t)n;
    }
    return 0;
}

static herr_t write_file(H5FD_t *file, H5FD_mem_t type, hid_t dxpl, haddr_t addr, size_t size, const void *buffer)
{
    struct file *f = (struct file *)file;
    const char *from = buffer;
    (void)type, (void)dxpl;
    while (size > 0) {
        ssize_t n = benchfs_pwrite(f->handle, from, size, (off_t)addr);
        if (n < 0)
            return failed("write", H5E_IO, H5E_WRITEERROR);
        from += n, addr += (haddr_t)n, size -= (size_t)n;
        if (addr > f->eof)
            f->eof = addr;
    }
    return 0;
}

static herr_t flush(H5FD_t *file, hid_t dxpl, hbool_t closing)
{
    (void)dxpl;
    if (closing) /* what was written is there for everybody; only an explicit H5Fflush asks for the medium */
        return 0;
    return benchfs_fsync(((struct file *)file)->handle) < 0 ? failed("flush", H5E_IO, H5E_CANTFLUSH) : 0;
}

static herr_t truncate_file(H5FD_t *file, hid_t dxpl, hbool_t closing)
{
    struct file *f = (struct file *)file;
    (void)dxpl, (void)closing;
    if (f->eoa == f->eof)
        return 0;
    if (benchfs_ftruncate(f->handle, (off_t)f->eoa) < 0)
        return failed("truncate", H5E_IO, H5E_SEEKERROR);
    f->eof = f->eoa;
    return 0;
}

static herr_t change_lock(const struct file *f, int type)
{
    struct benchfs_lock lock = BENCHFS_LOCK_INIT;
    lock.type = type;
    lock.kind = BENCHFS_LOCK_FILE;
    return benchfs_lock(f->handle, BENCHFS_LOCK_TRY, &lock) < 0 ? failed("lock", H5E_FILE, H5E_BADFILE) : 0;
}

/* HDF5 keeps writers of the same file apart. */
static herr_t lock_file(H5FD_t *file, hbool_t write)
{
    return change_lock((struct file *)file, write ? F_WRLCK : F_RDLCK);
}

static herr_t unlock_file(H5FD_t *file)
{
    return change_lock((struct file *)file, F_UNLCK);
}

static const H5FD_class_t driver = {
#if H5_VERSION_GE(1, 13, 0)
    .version = H5FD_CLASS_VERSION,
    .value = (H5FD_class_value_t)DRIVER_VALUE,
#endif
    .name = "benchfs",
    .maxaddr = ((haddr_t)1 << 63) - 1,
    .fc_degree = H5F_CLOSE_WEAK,
    .terminate = terminate,
    .open = open_file,
    .close = close_file,
    .cmp = compare,
    .query = query,
    .get_eoa = get_eoa,
    .set_eoa = set_eoa,
    .get_eof = get_eof,
    .get_handle = get_handle,
    .read = read_file,
    .write = write_file,
    .flush = flush,
    .truncate = truncate_file,
    .lock = lock_file,
    .unlock = unlock_file,
    .fl_map = H5FD_FLMAP_DICHOTOMY,
};

herr_t H5Pset_fapl_benchfs(hid_t fapl)
{
    static hid_t registered = H5I_INVALID_HID;
    if (H5Iget_type(registered) != H5I_VFL)
        registered = H5FDregister(&driver);
    return registered < 0 ? -1 : H5Pset_driver(fapl, registered, NULL);
}

#if H5_VERSION_GE(1, 13, 0)
H5PL_type_t H5PLget_plugin_type(void)
{
    return H5PL_TYPE_VFD;
}

const void *H5PLget_plugin_info(void)
{
    return &driver;
}
#endif
