/*
 * How UCX is loaded, and kept from touching its host.
 *
 * When libucs is loaded it takes the handlers of the fatal signals and of SIGHUP: in somebody else's process that is not ours to do, so they are
 * given back at once. UCX's own messages go to standard output, which belongs to the host as well: they are silenced unless the user has asked
 * for a level by UCX_LOG_LEVEL. UCX is never unloaded: it leaves threads and hooks behind.
 */
#define _GNU_SOURCE
#include "load.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

bfs_ucx ucx;

/*
 * Some failures UCX logs as fatal, which aborts the process, and then returns as an error like any other. The error is what
 * we want.
 */
static ucs_log_func_rc_t bfs_not_fatal(const char *file, unsigned line, const char *function, ucs_log_level_t level,
                                       const ucs_log_component_config_t *component, const char *message, va_list args)
{
    (void)file, (void)line, (void)function, (void)component, (void)message, (void)args;
    return level == UCS_LOG_LEVEL_FATAL ? UCS_LOG_FUNC_RC_STOP : UCS_LOG_FUNC_RC_CONTINUE;
}

/* Gives the signal handlers back that libucs has taken while it was loaded. A handler that is not libucs's is left alone. */
static void bfs_give_signals_back(void *ucs)
{
    static const int                      signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGHUP};
    __typeof__(&ucs_debug_disable_signal) give_back = dlsym(ucs, "ucs_debug_disable_signal");
    Dl_info                               library, owner;
    if (give_back == NULL || dladdr((void *)(uintptr_t)give_back, &library) == 0)
        return;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction now;
        if (sigaction(signals[i], NULL, &now) != 0 || now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)
            continue;
        if (dladdr((void *)(uintptr_t)now.sa_handler, &owner) != 0 && owner.dli_fbase == library.dli_fbase)
            give_back(signals[i]);
    }
}

/* ucs_global_opts_set_value is exported by libucs, and declared in no header that is installed. Another UCX may not have it. */
static void bfs_quieten(void *ucs)
{
    ucs_status_t (*set)(const char *name, const char *value) =
        (ucs_status_t(*)(const char *, const char *))dlsym(ucs, "ucs_global_opts_set_value");
    ucx.ucs_log_push_handler(bfs_not_fatal);
    if (set == NULL)
        return;
    if (getenv("UCX_HANDLE_ERRORS") == NULL)
        set("HANDLE_ERRORS", "none");
    if (getenv("UCX_LOG_LEVEL") == NULL)
        set("LOG_LEVEL", "fatal");
}

/* libucp brings libucs, in which its own functions are found too. */
static const char *bfs_find_functions(void *ucp)
{
#define BFS_UCX_FIND(name)                                 \
    if ((*(void **)&ucx.name = dlsym(ucp, #name)) == NULL) \
        return #name;
    BFS_UCX_FUNCTIONS(BFS_UCX_FIND)
#undef BFS_UCX_FIND
    return NULL;
}

int bfs_ucx_load(char *reason, size_t reason_bytes)
{
    static const char advice[] = "Talking to other machines needs UCX 1.13 or later (Debian, Ubuntu: package libucx0)";
    const int         how      = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
    void             *ucs      = dlopen("libucs.so.0", how); /* first, because it takes the signals */
    if (ucs != NULL)
        bfs_give_signals_back(ucs);
    void *ucp = ucs != NULL ? dlopen("libucp.so.0", how) : NULL;
    if (ucp == NULL) {
        snprintf(reason, reason_bytes, "%s. %s", dlerror(), advice);
        return -1;
    }
    const char *missing = bfs_find_functions(ucp);
    if (missing != NULL) {
        snprintf(reason, reason_bytes, "libucp.so.0 has no %s. %s", missing, advice);
        return -1;
    }
    bfs_quieten(ucs);
    return 0;
}
