/* spawn.c: posix_spawn and the actions of its children. */
#include "exec.h"

#include <spawn.h>

static int spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    struct bp_environment e;
    struct bp_program p;
    bp_share_all();
    if (bp_prepare(&p, path, arguments, 1) != 0)
        return errno;
    char *const *list = bp_settle(&e, environment, p.libraries);
    int rc = p.arguments != NULL ? spawn(pid, p.path, actions, attributes, p.arguments, list)
                                 : REAL(posix_spawn)(pid, p.path, actions, attributes, arguments, list);
    bp_discard(&e);
    bp_finish_program(&p);
    return rc;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    if (bp_settings.prefix_len == 0)
        return REAL(posix_spawn)(pid, path, actions, attributes, arguments, environment);
    return spawn(pid, path, actions, attributes, arguments, environment);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[])
{
    struct bp_environment e;
    const char *path = getenv("PATH");
    if (bp_settings.prefix_len == 0)
        return REAL(posix_spawnp)(pid, file, actions, attributes, arguments, environment);
    if (strchr(file, '/') != NULL)
        return spawn(pid, file, actions, attributes, arguments, environment);
    for (const char *end; path != NULL; path = *end != '\0' ? end + 1 : NULL) {
        char candidate[PATH_MAX];
        struct stat st;
        end = strchrnul(path, ':');
        int n = (int)(end - path);
        if (snprintf(candidate, sizeof candidate, "%.*s%s%s", n, path, n > 0 ? "/" : "", file) >= (int)sizeof candidate)
            continue;
        if (access(candidate, X_OK) == 0 && stat(candidate, &st) == 0 && S_ISREG(st.st_mode))
            return spawn(pid, candidate, actions, attributes, arguments, environment);
    }
    bp_share_all();
    int rc = REAL(posix_spawnp)(pid, file, actions, attributes, arguments, bp_settle(&e, environment, ""));
    bp_discard(&e);
    return rc;
}

/*
 * The actions run in a child inside libc, out of our reach: a file of ours is opened now, and the action becomes a duplicate. Which
 * descriptors were opened for which list of actions, to be closed with it:
 */
struct opened {
    const posix_spawn_file_actions_t *actions;
    int fd;
};
static struct opened opened[256];
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
                                            mode_t mode)
{
    struct bp_where w;
    if (LIKELY(bp_locate(AT_FDCWD, path, &w) == BP_OUTSIDE))
        return REAL(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
    int low = open(path, flags | O_CLOEXEC, mode);
    if (low < 0)
        return errno;
    int high = -1;
    for (int from = 256; high < 0 && from > 0; from /= 2) /* through the interposer: the file goes along */
        high = fcntl(low, F_DUPFD_CLOEXEC, from);
    close(low);
    if (high < 0)
        return errno;
    int rc = ENOMEM;
    pthread_mutex_lock(&opening);
    for (size_t i = 0; i < sizeof opened / sizeof opened[0]; i++) {
        if (opened[i].actions == NULL) {
            opened[i] = (struct opened){actions, high};
            rc = posix_spawn_file_actions_adddup2(actions, high, fd);
            break;
        }
    }
    pthread_mutex_unlock(&opening);
    if (rc != 0)
        close(high);
    return rc;
}

EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
{
    pthread_mutex_lock(&opening);
    for (size_t i = 0; i < sizeof opened / sizeof opened[0]; i++) {
        if (opened[i].actions == actions) {
            close(opened[i].fd);
            opened[i].actions = NULL;
        }
    }
    pthread_mutex_unlock(&opening);
    return REAL(posix_spawn_file_actions_destroy)(actions);
}

EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path)
{
    struct bp_where w;
    if (LIKELY(bp_locate(AT_FDCWD, path, &w) == BP_OUTSIDE))
        return REAL(posix_spawn_file_actions_addchdir_np)(actions, path);
    bp_refuse(F_posix_spawn_file_actions_addchdir_np, EOPNOTSUPP, "a working directory for a spawned program");
    return EOPNOTSUPP;
}
