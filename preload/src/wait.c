/* wait.c: waiting for descriptors. A file is always ready, as regular files are. */
#include "preload.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

static int any_file(const struct pollfd *fds, nfds_t n)
{
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].fd >= 0 && bp_file(fds[i].fd) != NULL)
            return 1;
    return 0;
}

/* Looks at the others without waiting, since files are ready. */
static int poll_files(struct pollfd *fds, nfds_t n)
{
    struct pollfd *others = malloc(n * sizeof *others);
    int ready = 0;
    if (others == NULL) {
        errno = ENOMEM;
        return -1;
    }
    for (nfds_t i = 0; i < n; i++) {
        others[i] = fds[i];
        if (fds[i].fd >= 0 && bp_file(fds[i].fd) != NULL)
            others[i].fd = -1;
    }
    int rc = REAL(poll)(others, n, 0);
    for (nfds_t i = 0; i < n && rc >= 0; i++) {
        if (others[i].fd < 0 && fds[i].fd >= 0)
            fds[i].revents = fds[i].events & (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
        else
            fds[i].revents = others[i].revents;
        ready += fds[i].revents != 0;
    }
    free(others);
    return rc < 0 ? rc : ready;
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    return LIKELY(!any_file(fds, n)) ? REAL(poll)(fds, n, timeout) : poll_files(fds, n);
}

ALIAS(poll, __poll);

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    return LIKELY(!any_file(fds, n)) ? REAL(ppoll)(fds, n, timeout, mask) : poll_files(fds, n);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t room)
{
    return room / sizeof *fds < n ? abort(), -1 : poll(fds, n, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t room)
{
    return room / sizeof *fds < n ? abort(), -1 : ppoll(fds, n, timeout, mask);
}

/* Takes our descriptors out of a set, and returns how many there were. */
static int take_out(int n, fd_set *set, fd_set *ours)
{
    int found = 0;
    FD_ZERO(ours);
    for (int fd = 0; set != NULL && fd < n && fd <= atomic_load(&bp_fd_high); fd++) {
        if (FD_ISSET(fd, set) && bp_file(fd) != NULL) {
            FD_CLR(fd, set);
            FD_SET(fd, ours);
            found++;
        }
    }
    return found;
}

static void put_back(int n, fd_set *set, const fd_set *ours)
{
    for (int fd = 0; set != NULL && fd < n; fd++)
        if (FD_ISSET(fd, ours))
            FD_SET(fd, set);
}

/* Reads and writes are ready, exceptions are not. The number of ours that are, or -1: there are none. */
static int select_files(int n, fd_set *in, fd_set *out, fd_set *except, int *rc)
{
    fd_set in_ours, out_ours, except_ours;
    struct timeval none = {0, 0};
    if (n > FD_SETSIZE)
        return 0;
    int ready = take_out(n, in, &in_ours) + take_out(n, out, &out_ours);
    int quiet = take_out(n, except, &except_ours);
    if (ready + quiet == 0)
        return 0;
    if (ready == 0)
        return 0; /* only exceptions were asked for: they never come */
    *rc = REAL(select)(n, in, out, except, &none);
    if (*rc >= 0) {
        put_back(n, in, &in_ours);
        put_back(n, out, &out_ours);
        *rc += ready;
    }
    return 1;
}

EXPORT int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
    int rc;
    return atomic_load_explicit(&bp_fd_high, memory_order_relaxed) >= 0 && select_files(n, in, out, except, &rc)
               ? rc
               : REAL(select)(n, in, out, except, timeout);
}

ALIAS(select, __select);

EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout, const sigset_t *mask)
{
    int rc;
    return atomic_load_explicit(&bp_fd_high, memory_order_relaxed) >= 0 && select_files(n, in, out, except, &rc)
               ? rc
               : REAL(pselect)(n, in, out, except, timeout, mask);
}

/* As with regular files. */
EXPORT int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    if (LIKELY(bp_file(fd) == NULL))
        return REAL(epoll_ctl)(epoll, op, fd, event);
    errno = EPERM;
    return -1;
}
