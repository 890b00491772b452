/* A shard's worker, from its start to its end. All of it is for the shard's thread. */
#define _GNU_SOURCE
#include "bfs.h"

#include <errno.h>
#include <stdlib.h>

void bfs_event_add(bfs_server *server, uint32_t kind, uint32_t index, ucs_status_t status, uint32_t session)
{
    if (server->event_count == server->event_capacity) {
        uint32_t   capacity = server->event_capacity ? server->event_capacity * 2 : 2 * BFS_BATCH;
        bfs_event *events   = realloc(server->events, capacity * sizeof(*events));
        if (events == NULL) { /* a few KiB that are not there: nothing sensible can go on */
            server->stats.dropped++;
            return;
        }
        server->events         = events;
        server->event_capacity = capacity;
    }
    server->events[server->event_count++] =
        (bfs_event){.kind = kind, .index = index, .status = (int32_t)status, .session = session};
}

/* ---- the loop's calls ---- */

static unsigned bfs_server_progress(bfs_server *server)
{
    unsigned total = 0;
    for (int i = 0; i < BFS_BATCH && server->event_count < BFS_BATCH; i++) {
        unsigned progress = ucx.ucp_worker_progress(server->worker.ucp);
        if (progress == 0)
            break;
        total += progress;
    }
    if (server->condemned > 0)
        bfs_conn_sweep(server);
    return total;
}

int bfs_server_poll(bfs_server *server, uint32_t polls)
{
    unsigned progress = 0;
    for (uint32_t i = 0; i < polls && progress == 0; i++)
        progress = bfs_server_progress(server);
    bfs_event *events      = server->events;
    uint32_t   capacity    = server->event_capacity;
    server->spare_count    = server->event_count;
    server->events         = server->spare;
    server->event_capacity = server->spare_capacity;
    server->event_count    = 0;
    server->spare          = events;
    server->spare_capacity = capacity;
    return progress != 0 || server->spare_count > 0;
}

int bfs_server_arm(bfs_server *server)
{
    return bfs_server_progress(server) == 0 && server->event_count == 0 &&
           ucx.ucp_worker_arm(server->worker.ucp) == UCS_OK;
}

static int bfs_replies_pending(bfs_server *server)
{
    for (uint32_t i = 0; i < server->req_count; i++) {
        if (server->reqs[i]->state == BFS_REQ_REPLYING)
            return 1;
    }
    return 0;
}

/* Sends what has been answered, before the loop ends. */
void bfs_server_drain(bfs_server *server, int64_t budget_ns)
{
    bfs_server_flush(server);
    int64_t end = bfs_now() + budget_ns;
    while (bfs_replies_pending(server) && bfs_now() < end)
        ucx.ucp_worker_progress(server->worker.ucp);
}

/* ---- life ---- */

bfs_server *bfs_server_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes, int *status)
{
    bfs_server *server = calloc(1, sizeof(*server));
    *status            = UCS_ERR_NO_MEMORY;
    if (server == NULL)
        return NULL;
    *status = bfs_worker_open(&server->worker, context, UCS_THREAD_MODE_SERIALIZED);
    if (*status == UCS_OK) {
        *status = bfs_am_serve(server);
        if (*status != UCS_OK)
            bfs_worker_close(&server->worker);
    }
    if (*status != UCS_OK) {
        free(server);
        return NULL;
    }
    server->outbox_end           = &server->outbox;
    server->rendezvous_bytes     = rendezvous_bytes;
    server->rendezvous_tcp_bytes = rendezvous_tcp_bytes;
    return server;
}

int bfs_server_listen(bfs_server *server, const struct sockaddr_storage *address, socklen_t bytes, char *actual,
                      size_t actual_bytes)
{
    struct sockaddr_storage used;
    int                     err = EBUSY;
    if (server->gate != NULL)
        return err;
    const bfs_worker *worker = &server->worker;
    server->gate             = bfs_gate_open(address, bytes, worker->address, worker->address_bytes, &used, &err);
    return server->gate == NULL || bfs_socket_text(&used, actual, actual_bytes) == 0 ? err : EINVAL;
}

void bfs_server_close(bfs_server *server)
{
    if (server->gate != NULL)
        bfs_gate_close(server->gate);
    for (uint32_t i = 0; i < server->req_count; i++) {
        bfs_req *req = server->reqs[i];
        if (req->data_state == BFS_DATA_EAGER || req->data_state == BFS_DATA_WAITS)
            ucx.ucp_am_data_release(server->worker.ucp, req->data);
        req->data_state = BFS_DATA_NONE;
    }
    bfs_conn_close_all(server);
    bfs_worker_close(&server->worker);
    for (uint32_t i = 0; i < server->req_count; i++) {
        free(server->reqs[i]->hello);
        free(server->reqs[i]);
    }
    for (uint32_t i = 1; i < server->peer_count; i++)
        free(server->peers[i]);
    free(server->reqs);
    free(server->peers);
    free(server->events);
    free(server->spare);
    free(server);
}
