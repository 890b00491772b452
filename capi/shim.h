/* shim.h: what the C files of libbenchfs share with each other and with the Go exports. Nothing in it is public. */
#ifndef BENCHFS_SHIM_H
#define BENCHFS_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <benchfs.h>

/* Version of the library: benchfs_version. Its first two numbers are BENCHFS_API_MAJOR and BENCHFS_API_MINOR. */
#define BFS_VERSION "0.1.0"

/* What bfsgo_init gets: the options, and what only C sees of the process. Nothing is kept after the call. */
struct bfs_init {
    const char *config_file; /* NULL: none */
    const char *config_text; /* NULL: none */
    int32_t mode;            /* enum benchfs_mode */
    int32_t plain;           /* the application gave no options */
    int32_t no_environment;
    const char *environment; /* NAME=VALUE texts, each with its NUL */
    size_t environment_size; /* bytes of all */
    uint32_t uid, gid, umask;
    const gid_t *groups;
    int32_t group_count;
};

/* Error text of the calling thread (thread_error.c). */

/* Copies a text of n bytes. It may be called from Go, on the application's thread. */
void bfs_set_error(char *text, size_t n);
/* Points to a text that lives for ever: no memory is needed. */
void bfs_set_static_error(const char *text);
/* The text set last, or "". */
const char *bfs_error(void);

/* The host's signals (threads.c). */

extern __thread int bfs_thread_is_ready __attribute__((tls_model("initial-exec")));
void bfs_ready_thread(void);

/* Before the calling thread calls into Go: its first call would change its signal mask. */
static inline void bfs_enter(void)
{
    if (__builtin_expect(!bfs_thread_is_ready, 0))
        bfs_ready_thread();
}

/* Sleeping until another thread says so (wait.c). */

/* Waits until *over is not 0. 0 if a signal handler ran first that was installed without SA_RESTART. */
int bfs_sleep(uint32_t *over);
/* Sets *over, and wakes who sleeps on it. It may be called from Go, on any thread. */
void bfs_wake(uint32_t *over);

/* What bfsgo_init is to know of the process (process.c). */

/* Copies the BENCHFS_* variables of the environment as bfs_init.environment wants them. Free with free(); NULL: no memory. */
char *bfs_environment(size_t *size);
/* The umask, read without changing it; 022 where the system does not tell. */
uint32_t bfs_umask(void);
/* The supplementary groups. Free with free(); NULL with *count > 0: no memory. */
gid_t *bfs_groups(int32_t *count);

/* 1 if the interposer watches which descriptors the library has. */
int bfs_descriptors_are_watched(void);
/* Moves a descriptor to where it is out of the program's way, and returns the new one. */
int bfs_keep_descriptor(int fd);
/* 0 or an errno. */
int bfs_close_descriptor(int fd);

static inline char *bfs_version_text(void)
{
    return (char *)BFS_VERSION;
}

#endif /* BENCHFS_SHIM_H */
