/*
 * The door for clients that know only host:port. UCX's own listener is not fit to stand in the open: bytes that are no UCX
 * make it abort the process (tcp_sockcm_ep.c, 1.13). So the port is ours: who greets in the right way is told the worker
 * address of the shard, and dials that. Everybody else is hung up on, and counted.
 *
 * The door is a thread of its own that touches neither UCX nor the shard: no caller, however slow, can hold up the daemon.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BFS_GATE_CALLERS = 64,
    BFS_GATE_WORDS   = 16,
    BFS_GATE_MOST    = 1 << 16
};
#define BFS_GATE_PATIENCE_NS 2000000000LL

/* What a caller says, and what every answer begins with; in an answer u32 at 8 is the length of the address behind it. */
static const uint8_t bfs_gate_words[BFS_GATE_WORDS] = "BFSGATE\1\0\0\0\0\0\0\0";

typedef struct bfs_caller {
    int      fd; /* −1: free */
    int64_t  since;
    uint32_t got, sent;
    uint8_t  words[BFS_GATE_WORDS];
} bfs_caller;

struct bfs_gate {
    int        listen_fd, stop_fd;
    pthread_t  thread;
    uint8_t   *answer; /* bfs_gate_words, then the worker address */
    uint32_t   answer_bytes;
    uint64_t   answered, refused; /* atomic */
    bfs_caller callers[BFS_GATE_CALLERS];
};

static void bfs_hang_up(bfs_gate *gate, bfs_caller *caller, int served)
{
    close(caller->fd);
    caller->fd = -1;
    __atomic_add_fetch(served ? &gate->answered : &gate->refused, 1, __ATOMIC_RELAXED);
}

static void bfs_gate_accept(bfs_gate *gate)
{
    int fd = accept4(gate->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    bfs_caller *seat = &gate->callers[0]; /* free, or taken by whoever has been here longest */
    for (int i = 0; i < BFS_GATE_CALLERS; i++) {
        bfs_caller *caller = &gate->callers[i];
        if (caller->fd < 0) {
            seat = caller;
            break;
        }
        if (caller->since < seat->since)
            seat = caller;
    }
    if (seat->fd >= 0)
        bfs_hang_up(gate, seat, 0);
    *seat = (bfs_caller){.fd = fd, .since = bfs_now()};
}

/* The caller's socket is ready, one way or the other. */
static void bfs_gate_serve(bfs_gate *gate, bfs_caller *caller)
{
    if (caller->got < BFS_GATE_WORDS) {
        ssize_t n = recv(caller->fd, caller->words + caller->got, BFS_GATE_WORDS - caller->got, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n > 0)
            caller->got += (uint32_t)n;
        if (n <= 0 || memcmp(caller->words, bfs_gate_words, caller->got) != 0) {
            bfs_hang_up(gate, caller, 0);
            return;
        }
        if (caller->got < BFS_GATE_WORDS)
            return;
    }
    ssize_t n = send(caller->fd, gate->answer + caller->sent, gate->answer_bytes - caller->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        caller->sent += (uint32_t)n;
    if (n <= 0 || caller->sent == gate->answer_bytes)
        bfs_hang_up(gate, caller, n > 0);
}

static void *bfs_gate_main(void *arg)
{
    bfs_gate     *gate = arg;
    struct pollfd fds[2 + BFS_GATE_CALLERS];
    for (;;) {
        int timeout = -1;
        fds[0]      = (struct pollfd){.fd = gate->stop_fd, .events = POLLIN};
        fds[1]      = (struct pollfd){.fd = gate->listen_fd, .events = POLLIN};
        for (int i = 0; i < BFS_GATE_CALLERS; i++) {
            bfs_caller *caller = &gate->callers[i];
            fds[2 + i] = (struct pollfd){.fd = caller->fd, .events = caller->got < BFS_GATE_WORDS ? POLLIN : POLLOUT};
            if (caller->fd >= 0)
                timeout = 500;
        }
        int ready = poll(fds, 2 + BFS_GATE_CALLERS, timeout);
        if (ready < 0 && errno != EINTR)
            return NULL;
        if (ready > 0 && fds[0].revents != 0)
            return NULL;
        int64_t now = bfs_now();
        for (int i = 0; i < BFS_GATE_CALLERS; i++) {
            bfs_caller *caller = &gate->callers[i];
            if (caller->fd < 0)
                continue;
            if (ready > 0 && fds[2 + i].revents != 0)
                bfs_gate_serve(gate, caller);
            else if (now - caller->since > BFS_GATE_PATIENCE_NS)
                bfs_hang_up(gate, caller, 0);
        }
        if (ready > 0 && fds[1].revents != 0)
            bfs_gate_accept(gate);
    }
}

static int bfs_gate_bind(bfs_gate *gate, const struct sockaddr_storage *address, socklen_t bytes)
{
    int on          = 1;
    gate->listen_fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (gate->listen_fd < 0)
        return errno;
    /* A restarted daemon takes the port of its predecessor, whose connections are still in TIME_WAIT. */
    setsockopt(gate->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(gate->listen_fd, (const struct sockaddr *)address, bytes) != 0 || listen(gate->listen_fd, 512) != 0)
        return errno;
    gate->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return gate->stop_fd < 0 ? errno : 0;
}

/* The thread takes no signals: they are the host's. */
static int bfs_gate_start(bfs_gate *gate)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&gate->thread, NULL, bfs_gate_main, gate);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void bfs_gate_free(bfs_gate *gate)
{
    for (int i = 0; i < BFS_GATE_CALLERS; i++) {
        if (gate->callers[i].fd >= 0)
            close(gate->callers[i].fd);
    }
    if (gate->listen_fd >= 0)
        close(gate->listen_fd);
    if (gate->stop_fd >= 0)
        close(gate->stop_fd);
    free(gate->answer);
    free(gate);
}

/* What callers are told. → 0, or −1 without memory. */
static int bfs_gate_answer(bfs_gate *gate, const uint8_t *worker, uint32_t worker_bytes)
{
    gate->answer_bytes = BFS_GATE_WORDS + worker_bytes;
    gate->answer       = malloc(gate->answer_bytes);
    if (gate->answer == NULL)
        return -1;
    memcpy(gate->answer, bfs_gate_words, BFS_GATE_WORDS);
    bfs_put32(gate->answer + 8, worker_bytes);
    memcpy(gate->answer + BFS_GATE_WORDS, worker, worker_bytes);
    return 0;
}

bfs_gate *bfs_gate_open(const struct sockaddr_storage *address, socklen_t bytes, const uint8_t *worker,
                        uint32_t worker_bytes, struct sockaddr_storage *actual, int *err)
{
    bfs_gate *gate = calloc(1, sizeof(*gate));
    *err           = ENOMEM;
    if (gate == NULL)
        return NULL;
    gate->listen_fd = gate->stop_fd = -1;
    for (int i = 0; i < BFS_GATE_CALLERS; i++)
        gate->callers[i].fd = -1;
    if (bfs_gate_answer(gate, worker, worker_bytes) == 0)
        *err = bfs_gate_bind(gate, address, bytes);
    socklen_t room = sizeof(*actual);
    if (*err == 0 && getsockname(gate->listen_fd, (struct sockaddr *)actual, &room) != 0)
        *err = errno;
    if (*err == 0)
        *err = bfs_gate_start(gate);
    if (*err == 0)
        return gate;
    bfs_gate_free(gate);
    return NULL;
}

void bfs_gate_close(bfs_gate *gate)
{
    uint64_t one = 1;
    while (write(gate->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    pthread_join(gate->thread, NULL);
    bfs_gate_free(gate);
}

uint64_t bfs_gate_answered(bfs_gate *gate)
{
    return __atomic_load_n(&gate->answered, __ATOMIC_RELAXED);
}
uint64_t bfs_gate_refused(bfs_gate *gate)
{
    return __atomic_load_n(&gate->refused, __ATOMIC_RELAXED);
}

/* ---- the caller's side ---- */

/* Waits until the socket is ready; → 0 or an errno. */
static int bfs_ready(int fd, short events, int64_t deadline)
{
    for (;;) {
        struct pollfd p    = {.fd = fd, .events = events};
        int64_t       left = (deadline - bfs_now() + 999999) / 1000000;
        if (left <= 0)
            return ETIMEDOUT;
        int n = poll(&p, 1, left > 1000 ? 1000 : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
    }
}

static int bfs_receive(int fd, uint8_t *buffer, size_t bytes, int64_t deadline)
{
    while (bytes > 0) {
        int err = bfs_ready(fd, POLLIN, deadline);
        if (err != 0)
            return err;
        ssize_t n = recv(fd, buffer, bytes, 0);
        if (n == 0)
            return ECONNRESET;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return errno;
        if (n > 0) {
            buffer += n;
            bytes -= (size_t)n;
        }
    }
    return 0;
}

static int bfs_connect(int fd, const struct sockaddr_storage *address, socklen_t bytes, int64_t deadline)
{
    int       err  = 0;
    socklen_t size = sizeof(err);
    if (connect(fd, (const struct sockaddr *)address, bytes) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return errno;
    err = bfs_ready(fd, POLLOUT, deadline);
    if (err == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0)
        err = errno;
    return err;
}

static int bfs_gate_converse(int fd, int64_t deadline, uint8_t **worker, uint32_t *worker_bytes)
{
    uint8_t words[BFS_GATE_WORDS];
    if (send(fd, bfs_gate_words, BFS_GATE_WORDS, MSG_NOSIGNAL) != BFS_GATE_WORDS)
        return EIO;
    int err = bfs_receive(fd, words, sizeof(words), deadline);
    if (err != 0)
        return err;
    *worker_bytes = bfs_get32(words + 8);
    if (memcmp(words, bfs_gate_words, 8) != 0 || *worker_bytes > BFS_GATE_MOST)
        return EPROTO;
    *worker = malloc(*worker_bytes + 1);
    return *worker == NULL ? ENOMEM : bfs_receive(fd, *worker, *worker_bytes, deadline);
}

int bfs_gate_ask(const struct sockaddr_storage *address, socklen_t bytes, int64_t budget_ns, uint8_t **worker,
                 uint32_t *worker_bytes)
{
    int64_t deadline = bfs_now() + budget_ns;
    *worker          = NULL;
    int fd           = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int err = bfs_connect(fd, address, bytes, deadline);
    if (err == 0)
        err = bfs_gate_converse(fd, deadline, worker, worker_bytes);
    close(fd);
    if (err != 0) {
        free(*worker);
        *worker = NULL;
    }
    return err;
}
