/* The client's side of the door, and lanes from their beginning to their end: PROTOCOL.md, section 1.1. */
#define _GNU_SOURCE
#include "near.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A path may be longer than a socket's address takes: then the directory is opened, and the address goes by its descriptor. */
static int near_connect(int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) < sizeof(address.sun_path)) {
        strcpy(address.sun_path, path);
        return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    }
    const char *name = strrchr(path, '/');
    char dir[4096];
    if (name == NULL || (size_t)(name - path) >= sizeof(dir) || strlen(name) > 64)
        return ENAMETOOLONG;
    memcpy(dir, path, (size_t)(name - path));
    dir[name - path] = 0;
    int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d%s", at, name);
    int err = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : errno;
    close(at);
    return err;
}

static void near_lock(uint32_t *lock)
{
    uint32_t free_now = 0;
    if (__atomic_compare_exchange_n(lock, &free_now, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE) != 0)
        syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static void near_unlock(uint32_t *lock)
{
    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) == 2)
        syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Waits until the door has something to read; → 0 or an errno. */
static int near_readable(int fd, int64_t budget)
{
    int64_t deadline = near_now() + (budget < NEAR_DOOR_MOST_NS ? budget : NEAR_DOOR_MOST_NS);
    for (;;) {
        int64_t left = deadline - near_now();
        if (left <= 0)
            return ETIMEDOUT;
        struct timespec t = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = ppoll(&p, 1, &t, NULL);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return errno;
    }
}

static int near_receive(int fd, near_answer *answer, int *fds)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(NEAR_ANSWER_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = answer, .iov_len = sizeof(*answer)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;
    do
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno;
    uint32_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    }
    int whole = got == sizeof(*answer) && answer->magic == NEAR_DOOR_MAGIC;
    if (whole && answer->fds == count)
        return (int)answer->error;
    for (uint32_t i = 0; i < count; i++)
        close(fds[i]);
    if (got == 0)
        return ECONNRESET;
    return whole && count < answer->fds ? EMFILE : EPROTO; /* no numbers left for the rest of them */
}

/* One question and its answer, with as many descriptors as are wanted. A door that did not answer in time is shut: the answer to this question
 * would be taken for one to the next. */
static int near_question(near_door *door, near_ask *ask, near_answer *answer, int *fds, uint32_t wanted, int64_t budget)
{
    ask->magic = NEAR_DOOR_MAGIC;
    ask->version = NEAR_DOOR_VERSION;
    near_lock(&door->lock);
    int err = 0;
    ssize_t sent;
    do
        sent = send(door->fd, ask, sizeof(*ask), MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent != sizeof(*ask))
        err = sent < 0 ? errno : EPROTO;
    if (err == 0)
        err = near_readable(door->fd, budget);
    if (err == 0)
        err = near_receive(door->fd, answer, fds);
    else
        shutdown(door->fd, SHUT_RDWR);
    near_unlock(&door->lock);
    if (err == 0 && answer->fds != wanted) {
        for (uint32_t i = 0; i < answer->fds; i++)
            close(fds[i]);
        err = EPROTO;
    }
    return err;
}

int near_door_open(near_door *door, const char *path, uint64_t incarnation, int64_t budget)
{
    int fds[NEAR_ANSWER_FDS];
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int err = near_connect(fd, path);
    if (err != 0) {
        close(fd);
        return err;
    }
    door->fd = fd;
    door->lock = 0;
    near_ask ask = {.what = NEAR_ASK_JOIN, .incarnation = incarnation};
    near_answer answer;
    err = near_question(door, &ask, &answer, fds, 0, budget);
    if (err != 0)
        close(fd);
    return err;
}

int near_door_alive(const near_door *door)
{
    struct pollfd p = {.fd = door->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 0;
}

void near_door_shut(near_door *door)
{
    shutdown(door->fd, SHUT_RDWR); /* a child of fork may hold a copy of the descriptor */
}

int near_door_memory(near_door *door, uint32_t shard, uint64_t client, int fds[3], uint64_t *segment_bytes,
                     uint32_t *flags, int64_t budget)
{
    near_ask ask = {.what = NEAR_ASK_MEMORY, .shard = shard, .client = client};
    near_answer answer;
    int err = near_question(door, &ask, &answer, fds, 3, budget);
    if (err == 0) {
        *segment_bytes = answer.bytes;
        *flags = answer.flags;
    }
    return err;
}

int near_door_segment(near_door *door, uint32_t shard, uint32_t number, uint32_t flags, int *fd, int64_t budget)
{
    near_ask ask = {.what = NEAR_ASK_SEGMENT, .shard = shard, .number = number, .flags = flags};
    near_answer answer;
    int fds[NEAR_ANSWER_FDS];
    int err = near_question(door, &ask, &answer, fds, 1, budget);
    if (err == 0)
        *fd = fds[0];
    return err;
}

/* ---- lanes ---- */

static int near_map(int fd, size_t bytes, void **memory)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errno;
    if (st.st_size < (off_t)bytes)
        return EPROTO;
    *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return *memory == MAP_FAILED ? errno : 0;
}

int near_lane_open(near_lane *lane, near_door *door, uint32_t shard, int wake, int64_t budget)
{
    near_ask ask = {.what = NEAR_ASK_LANE, .shard = shard};
    near_answer answer;
    int fds[NEAR_ANSWER_FDS];
    void *memory = NULL, *bell = NULL;
    int err = near_question(door, &ask, &answer, fds, 3, budget);
    if (err != 0)
        return err;
    err = answer.number < NEAR_LANES ? near_map(fds[0], sizeof(near_lane_memory), &memory) : EPROTO;
    if (err == 0 && (err = near_map(fds[1], sizeof(near_bell_memory), &bell)) != 0)
        munmap(memory, sizeof(near_lane_memory));
    close(fds[0]);
    close(fds[1]);
    if (err != 0 || wake >= 0)
        close(fds[2]);
    else
        wake = fds[2];
    if (err != 0)
        return err;
    *lane = (near_lane){.memory = memory,
                        .bell = bell,
                        .door = door,
                        .shard = shard,
                        .number = answer.number,
                        .wake = wake,
                        .crowd_ns = NEAR_CROWD_NS};
    return 0;
}

int near_lane_buffer(near_lane *lane, uint64_t bytes, int64_t budget)
{
    near_ask ask = {.what = NEAR_ASK_BUFFER, .shard = lane->shard, .number = lane->number, .bytes = bytes};
    near_answer answer;
    int fds[NEAR_ANSWER_FDS];
    void *memory = NULL;
    int err = near_question(lane->door, &ask, &answer, fds, 1, budget);
    if (err != 0)
        return err;
    err = answer.bytes >= bytes && answer.bytes <= NEAR_BUFFER_MOST ? near_map(fds[0], answer.bytes, &memory) : EPROTO;
    close(fds[0]);
    if (err != 0)
        return err;
    if (lane->buffer != NULL)
        munmap(lane->buffer, lane->buffer_bytes);
    lane->buffer = memory;
    lane->buffer_bytes = answer.bytes;
    return 0;
}

void near_lane_leave(near_lane *lane)
{
    near_ask ask = {.magic = NEAR_DOOR_MAGIC,
                    .version = NEAR_DOOR_VERSION,
                    .what = NEAR_ASK_LEAVE,
                    .shard = lane->shard,
                    .number = lane->number};
    near_lock(&lane->door->lock);
    send(lane->door->fd, &ask, sizeof(ask), MSG_NOSIGNAL | MSG_DONTWAIT); /* else the lane goes with the connection */
    near_unlock(&lane->door->lock);
    near_lane_close(lane);
}

void near_lane_close(near_lane *lane)
{
    munmap(lane->memory, sizeof(near_lane_memory));
    munmap(lane->bell, sizeof(near_bell_memory));
    if (lane->buffer != NULL)
        munmap(lane->buffer, lane->buffer_bytes);
    lane->memory = NULL;
    lane->bell = NULL;
    lane->buffer = NULL;
}
