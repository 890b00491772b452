/* A UCX worker: one progress context, its event descriptor and its address. */
#define _GNU_SOURCE
#include "bfs.h"

#include <stdlib.h>
#include <string.h>

static ucs_status_t bfs_worker_address(bfs_worker *worker)
{
    ucp_address_t *address;
    size_t         bytes;
    ucs_status_t   status = ucx.ucp_worker_get_address(worker->ucp, &address, &bytes);
    if (status != UCS_OK)
        return status;
    bfs_address front     = {.magic = BFS_ADDRESS_MAGIC, .bytes = (uint32_t)bytes};
    worker->address_bytes = (uint32_t)(sizeof(front) + bytes);
    worker->address       = malloc(worker->address_bytes);
    if (worker->address != NULL) {
        memcpy(worker->address, &front, sizeof(front));
        memcpy(worker->address + sizeof(front), address, bytes);
    }
    ucx.ucp_worker_release_address(worker->ucp, address);
    return worker->address != NULL ? UCS_OK : UCS_ERR_NO_MEMORY;
}

ucs_status_t bfs_worker_open(bfs_worker *worker, bfs_context *context, ucs_thread_mode_t mode)
{
    ucp_worker_params_t params = {
        .field_mask  = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
        .thread_mode = mode,
    };
    memset(worker, 0, sizeof(*worker));
    pthread_mutex_lock(&context->opening);
    ucs_status_t status = ucx.ucp_worker_create(context->ucp, &params, &worker->ucp);
    pthread_mutex_unlock(&context->opening);
    if (status != UCS_OK) {
        worker->ucp = NULL;
        return status;
    }
    ucp_worker_attr_t attr = {.field_mask = UCP_WORKER_ATTR_FIELD_MAX_AM_HEADER};
    status                 = ucx.ucp_worker_query(worker->ucp, &attr);
    if (status == UCS_OK && attr.max_am_header < BFS_FRAME_BYTES)
        status = UCS_ERR_UNSUPPORTED;
    if (status == UCS_OK)
        status = ucx.ucp_worker_get_efd(worker->ucp, &worker->event_fd);
    if (status == UCS_OK)
        status = bfs_worker_address(worker);
    if (status != UCS_OK)
        bfs_worker_close(worker);
    return status;
}

ucs_status_t bfs_worker_handle(bfs_worker *worker, unsigned am, ucp_am_recv_callback_t callback, void *arg,
                               unsigned flags)
{
    ucp_am_handler_param_t param = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS | UCP_AM_HANDLER_PARAM_FIELD_CB |
                      UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id    = am,
        .flags = flags,
        .cb    = callback,
        .arg   = arg,
    };
    return ucx.ucp_worker_set_am_recv_handler(worker->ucp, &param);
}

void bfs_worker_close(bfs_worker *worker)
{
    ucx.ucp_worker_destroy(worker->ucp);
    free(worker->address);
    worker->address = NULL;
    worker->ucp     = NULL;
}
