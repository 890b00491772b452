/* strerror.c: what the codes mean here. docs/errors.md has the same list with what to do about each, by test. */
#include "shim.h"

#include <errno.h>

static const struct {
    int code;
    const char *text;
} meanings[] = {
    {0, "success"},
    {EACCES, "permission denied"},
    {EAGAIN, "not possible at this moment"},
    {EALREADY, "BenchFS runs already with other options"},
    {EBADF, "not an open handle, or not open for this"},
    {EBUSY, "in use"},
    {ECANCELED, "cancelled"},
    {ECHILD, "BenchFS does not work in the child of a fork"},
    {ECONNREFUSED, "a node refused the connection"},
    {EDEADLK, "the processes would wait for each other for ever"},
    {EEXIST, "the name exists"},
    {EFAULT, "NULL or an impossible address"},
    {EFBIG, "beyond the largest file"},
    {EHOSTUNREACH, "a node cannot be reached"},
    {ENOPKG, "UCX, which reaches other machines, is not installed"},
    {EINTR, "interrupted by a signal"},
    {EINVAL, "invalid argument"},
    {EIO, "input/output error"},
    {EISDIR, "is a directory"},
    {ELOOP, "too many symbolic links"},
    {EMFILE, "too many open handles"},
    {EMLINK, "too many names of one file"},
    {ENAMETOOLONG, "name or path too long"},
    {ENOENT, "no such file or directory"},
    {ENOLCK, "the locks were lost"},
    {ENOMEM, "out of memory"},
    {ENOSPC, "no space left"},
    {ENOTCONN, "BenchFS is not initialised"},
    {ENOTDIR, "not a directory"},
    {ENOTEMPTY, "directory not empty"},
    {ENXIO, "no data or hole there"},
    {EOPNOTSUPP, "not supported"},
    {EOVERFLOW, "value too large"},
    {EPERM, "operation not permitted"},
    {EPROTO, "an answer made no sense"},
    {EPROTONOSUPPORT, "header and library do not match"},
    {ESHUTDOWN, "the session or its node is ending"},
    {ESTALE, "the file or the cluster that this belonged to is gone"},
    {ETIMEDOUT, "no answer by the deadline"},
};

const char *benchfs_strerror(int code)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
        if (meanings[i].code == code || code == -meanings[i].code)
            return meanings[i].text;
    return "unknown error";
}
