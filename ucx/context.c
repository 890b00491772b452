/* The UCX context of the process, and how UCX is kept from touching its host. */
#define _GNU_SOURCE
#include "bfs.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucs/debug/debug.h>
#include <ucs/debug/log_def.h>

/* Exported by libucs, but declared in no header that is installed. Weak: another UCX may not have it. */
extern ucs_status_t ucs_global_opts_set_value(const char *name, const char *value) __attribute__((weak));

/*
 * Where an endpoint without error handling fails (a process on this host dies while its memory is read), UCX logs that as
 * fatal, which aborts the process, and then returns an error like any other. The error is what we want.
 */
static ucs_log_func_rc_t bfs_not_fatal(const char *file, unsigned line, const char *function, ucs_log_level_t level,
                                       const ucs_log_component_config_t *component, const char *message, va_list args)
{
    (void)file, (void)line, (void)function, (void)component, (void)message, (void)args;
    return level == UCS_LOG_LEVEL_FATAL ? UCS_LOG_FUNC_RC_STOP : UCS_LOG_FUNC_RC_CONTINUE;
}

/*
 * When libucs is loaded it takes the handlers of the fatal signals and of SIGHUP: in somebody else's process that is not
 * ours to do. Priority 101 runs this right after libucs's own constructor and before the Go runtime looks at the handlers.
 * A handler that is not libucs's (any more) is left alone. UCX's own messages go to standard output, which belongs to the
 * host as well: they are silenced unless the user has asked for a level by UCX_LOG_LEVEL.
 */
__attribute__((constructor(101))) static void bfs_tame_ucx(void)
{
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGHUP};
    Dl_info          ucs, owner;
    if (dladdr((void *)(uintptr_t)ucs_debug_disable_signal, &ucs) == 0)
        return;
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction now;
        if (sigaction(signals[i], NULL, &now) != 0 || now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN)
            continue;
        if (dladdr((void *)(uintptr_t)now.sa_handler, &owner) != 0 && owner.dli_fbase == ucs.dli_fbase)
            ucs_debug_disable_signal(signals[i]);
    }
    ucs_log_push_handler(bfs_not_fatal);
    if (ucs_global_opts_set_value == NULL)
        return;
    if (getenv("UCX_HANDLE_ERRORS") == NULL)
        ucs_global_opts_set_value("HANDLE_ERRORS", "none");
    if (getenv("UCX_LOG_LEVEL") == NULL)
        ucs_global_opts_set_value("LOG_LEVEL", "fatal");
}

/*
 * What is so for every process, whatever its environment says. UCX takes it for granted that both ends of a queue in shared memory have cut it
 * up in the same way: where they have not, messages are lost, and the receiver aborts (1.13).
 */
static const struct {
    const char *name, *value;
} bfs_settings[] = {
    {"MM_ERROR_HANDLING", "y"},   /* else endpoints with error handling leave shared memory out */
    {"MM_FIFO_SIZE", "64"},       /* as UCX 1.13 has it */
    {"MM_SEG_SIZE", "8256"},      /* likewise */
    {"MM_RX_BUFS_GROW", "128"},   /* not 512, 4 MiB for each of two transports: half of what joining took */
    {"MM_FIFO_ELEM_SIZE", "256"}, /* most frames without a payload fit into the queue itself: a create takes 5 % less */
};

ucs_status_t bfs_context_open(bfs_context *context, const char *transports, const char *devices, uint32_t endpoints)
{
    ucp_config_t *config;
    ucs_status_t  status = ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return status;
    if (transports[0] != 0)
        status = ucp_config_modify(config, "TLS", transports);
    if (status == UCS_OK && devices[0] != 0)
        status = ucp_config_modify(config, "NET_DEVICES", devices);
    for (size_t i = 0; i < sizeof(bfs_settings) / sizeof(bfs_settings[0]) && status == UCS_OK; i++)
        status = ucp_config_modify(config, bfs_settings[i].name, bfs_settings[i].value);
    if (status == UCS_OK) {
        ucp_params_t params = {
            .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED |
                          UCP_PARAM_FIELD_ESTIMATED_NUM_EPS | UCP_PARAM_FIELD_NAME,
            .features          = UCP_FEATURE_AM | UCP_FEATURE_RMA | UCP_FEATURE_WAKEUP,
            .mt_workers_shared = 1,
            .estimated_num_eps = endpoints,
            .name              = "benchfs",
        };
        status = ucp_init(&params, config, &context->ucp);
    }
    ucp_config_release(config);
    if (status == UCS_OK)
        pthread_mutex_init(&context->opening, NULL);
    return status;
}

void bfs_context_close(bfs_context *context)
{
    ucp_cleanup(context->ucp);
    pthread_mutex_destroy(&context->opening);
}

const char *bfs_status_text(int status)
{
    return ucs_status_string((ucs_status_t)status);
}
