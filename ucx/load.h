/*
 * UCX is loaded when it is needed first (bfs_ucx_load), and never linked: programs that talk to no other machine do without it.
 * Its functions are called as ucx.ucp_worker_progress(…).
 */
#ifndef BFS_LOAD_H
#define BFS_LOAD_H

#include <stddef.h>
#include <ucp/api/ucp.h>
#include <ucs/debug/debug.h>
#include <ucs/debug/log_def.h>

#pragma GCC visibility push(hidden)

/* clang-format off */
#define BFS_UCX_FUNCTIONS(X) \
    X(ucp_am_data_release) \
    X(ucp_am_recv_data_nbx) \
    X(ucp_am_send_nbx) \
    X(ucp_cleanup) \
    X(ucp_config_modify) \
    X(ucp_config_read) \
    X(ucp_config_release) \
    X(ucp_ep_close_nbx) \
    X(ucp_ep_create) \
    X(ucp_ep_flush_nbx) \
    X(ucp_ep_print_info) \
    X(ucp_init_version) \
    X(ucp_request_free) \
    X(ucp_worker_arm) \
    X(ucp_worker_create) \
    X(ucp_worker_destroy) \
    X(ucp_worker_get_address) \
    X(ucp_worker_get_efd) \
    X(ucp_worker_progress) \
    X(ucp_worker_query) \
    X(ucp_worker_release_address) \
    X(ucp_worker_set_am_recv_handler) \
    X(ucs_debug_disable_signal) \
    X(ucs_log_push_handler) \
    X(ucs_status_string)
/* clang-format on */

#define BFS_UCX_FIELD(name) __typeof__ (&(name))(name);
typedef struct bfs_ucx {
    BFS_UCX_FUNCTIONS(BFS_UCX_FIELD)
} bfs_ucx;
#undef BFS_UCX_FIELD

/* Filled by bfs_ucx_load, and the same from then on. */
extern bfs_ucx ucx;

/* Loads UCX; → 0, or −1 with the reason. Called once a process, before everything else of this package. */
int bfs_ucx_load(char *reason, size_t reason_bytes);

#pragma GCC visibility pop

#endif
