/* other.c: sockets, terminals, and what is refused. */
#include "preload.h"

#include <aio.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

static int is_inside(const char *path)
{
    struct bp_where w;
    return path != NULL && bp_locate_following(AT_FDCWD, path, 1, &w) != BP_OUTSIDE;
}

/* ==== Watching ==== */

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (LIKELY(!is_inside(path)))
        return REAL(inotify_add_watch)(fd, path, mask);
    return bp_refuse(F_inotify_add_watch, EOPNOTSUPP, "changes are not announced");
}

EXPORT int fanotify_mark(int fd, unsigned flags, uint64_t mask, int dirfd, const char *path)
{
    if (LIKELY(!is_inside(path) && bp_file(dirfd) == NULL))
        return REAL(fanotify_mark)(fd, flags, mask, dirfd, path);
    return bp_refuse(F_fanotify_mark, EOPNOTSUPP, "changes are not announced");
}

/* ==== Names for descriptors of the kernel ==== */

EXPORT int name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mount, int flags)
{
    struct bp_where w;
    if (LIKELY(bp_locate(dirfd, path, &w) == BP_OUTSIDE && bp_file(dirfd) == NULL))
        return REAL(name_to_handle_at)(dirfd, path, handle, mount, flags);
    return bp_refuse(F_name_to_handle_at, EOPNOTSUPP, "the kernel has no handle for it");
}

EXPORT key_t ftok(const char *path, int id)
{
    struct stat st;
    if (LIKELY(!is_inside(path)))
        return REAL(ftok)(path, id);
    if (stat(path, &st) != 0)
        return -1;
    return (key_t)((st.st_ino & 0xffff) | (st.st_dev & 0xff) << 16 | ((unsigned)id & 0xff) << 24);
}

/* ==== Asynchronous I/O of libc: its threads would use the kernel's calls ==== */

#define AIO(name, parameters, descriptor, arguments)                                                          \
    EXPORT int name parameters                                                                                \
    {                                                                                                         \
        return LIKELY(bp_file(descriptor) == NULL) ? REAL(name) arguments                                     \
                                                   : bp_refuse(F_##name, ENOSYS, "asynchronous I/O of libc"); \
    }

AIO(aio_read, (struct aiocb * a), a->aio_fildes, (a))
AIO(aio_write, (struct aiocb * a), a->aio_fildes, (a))
AIO(aio_fsync, (int op, struct aiocb *a), a->aio_fildes, (op, a))
#pragma GCC diagnostic ignored "-Wattribute-alias"
extern int aio_read64(struct aiocb64 *) EXPORT __attribute__((alias("aio_read")));
extern int aio_write64(struct aiocb64 *) EXPORT __attribute__((alias("aio_write")));
extern int aio_fsync64(int, struct aiocb64 *) EXPORT __attribute__((alias("aio_fsync")));

EXPORT int lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *event)
{
    for (int i = 0; i < n; i++)
        if (list[i] != NULL && bp_file(list[i]->aio_fildes) != NULL)
            return bp_refuse(F_lio_listio, ENOSYS, "asynchronous I/O of libc");
    return REAL(lio_listio)(mode, list, n, event);
}
extern int lio_listio64(int, struct aiocb64 *const[], int, struct sigevent *) EXPORT
    __attribute__((alias("lio_listio")));

/* ==== Sockets ==== */

static int names_ours(const struct sockaddr *address, socklen_t n)
{
    const struct sockaddr_un *u = (const struct sockaddr_un *)address;
    char path[sizeof u->sun_path + 1];
    if (address == NULL || n <= offsetof(struct sockaddr_un, sun_path) || u->sun_family != AF_UNIX ||
        u->sun_path[0] == '\0')
        return 0;
    size_t length = n - offsetof(struct sockaddr_un, sun_path);
    if (length > sizeof u->sun_path)
        length = sizeof u->sun_path;
    memcpy(path, u->sun_path, length);
    path[length] = '\0';
    return is_inside(path);
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t n)
{
    if (LIKELY(!names_ours(address, n)))
        return REAL(bind)(fd, address, n);
    return bp_refuse(F_bind, EOPNOTSUPP, "sockets do not exist");
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t n)
{
    if (LIKELY(!names_ours(address, n)))
        return REAL(connect)(fd, address, n);
    return bp_refuse(F_connect, ECONNREFUSED, "sockets do not exist");
}

ALIAS(connect, __connect);

/* Descriptors of ours may come through a socket. */
static void adopt_received(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            bp_detach(fd); /* a number that something closed behind our back */
            (void)bp_adopt(fd);
        }
    }
}

/* Those that go through one must be found on the other side. */
static void share_sent(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR((struct msghdr *)m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
            if (bp_file(fd) != NULL)
                bp_share(bp_file(fd));
        }
    }
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (m != NULL && m->msg_controllen > 0 && bp_settings.prefix_len != 0)
        share_sent(m);
    return REAL(sendmsg)(fd, m, flags);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *list, unsigned n, int flags)
{
    for (unsigned i = 0; i < n && bp_settings.prefix_len != 0; i++)
        if (list[i].msg_hdr.msg_controllen > 0)
            share_sent(&list[i].msg_hdr);
    return REAL(sendmmsg)(fd, list, n, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    ssize_t n = REAL(recvmsg)(fd, m, flags);
    if (n >= 0 && m->msg_controllen > 0 && bp_settings.prefix_len != 0)
        adopt_received(m);
    return n;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *list, unsigned n, int flags, struct timespec *timeout)
{
    int got = REAL(recvmmsg)(fd, list, n, flags, timeout);
    for (int i = 0; i < got && bp_settings.prefix_len != 0; i++)
        if (list[i].msg_hdr.msg_controllen > 0)
            adopt_received(&list[i].msg_hdr);
    return got;
}

/* ==== Terminals ==== */

EXPORT int tcgetattr(int fd, struct termios *t)
{
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(tcgetattr)(fd, t);
    errno = ENOTTY;
    return -1;
}
