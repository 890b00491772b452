/* A shard's loop over its worker, from its start to its end. */
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

/* ---- the loop ---- */

static unsigned bfs_server_progress(bfs_server *server)
{
    unsigned total = 0;
    for (int i = 0; i < BFS_BATCH && server->event_count < BFS_BATCH; i++) {
        unsigned progress = ucp_worker_progress(server->port->worker.ucp);
        if (progress == 0)
            break;
        total += progress;
    }
    for (bfs_port *port = server->old; port != NULL; port = port->next)
        total += ucp_worker_progress(port->worker.ucp);
    if (server->condemned > 0)
        bfs_conn_sweep(server);
    return total;
}

static void bfs_server_sleep(bfs_server *server)
{
    int64_t nap = -1;
    if (server->visible_conns > 0 || server->shared_conns > 0 || server->suspects != 0 || server->old != NULL) {
        nap = server->next_look - bfs_now();
        nap = nap > 0 ? nap : 0;
        if (server->old != NULL && nap > BFS_OLD_NAP_NS)
            nap = BFS_OLD_NAP_NS;
    }
    __atomic_store_n(&server->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&server->wake, __ATOMIC_SEQ_CST) == 0) {
        bfs_worker *worker = &server->port->worker;
        if (ucp_worker_arm(worker->ucp) != UCS_OK) {
            bfs_server_busy(server);
        } else {
            server->busy_since = 0;
            server->waiter.sleeps++;
            if (bfs_poll_fds(worker->event_fd, server->watch_busy ? server->watch_fd : -1, nap))
                server->waiter.idle = 0;
            else if (nap >= 0 && bfs_now() >= server->next_look)
                bfs_server_look(server);
        }
    }
    __atomic_store_n(&server->asleep, 0, __ATOMIC_SEQ_CST);
}

/* Does what is to be done when there is nothing to do. */
static int bfs_server_idle(bfs_server *server)
{
    int step = bfs_waiter_next(&server->waiter);
    if (step == BFS_SPIN)
        bfs_relax();
    else if (step == BFS_YIELD)
        bfs_yield(&server->waiter);
    else
        bfs_server_sleep(server);
    return step;
}

uint32_t bfs_server_poll(bfs_server *server)
{
    if (!server->idle_turn || server->outbox != NULL)
        server->waiter.idle = 0;
    server->idle_turn = 0;
    bfs_server_flush(server);
    for (uint32_t turns = 1;; turns++) {
        unsigned progress = bfs_server_progress(server);
        if (++server->rounds % 4096 == 0 && bfs_now() >= server->next_look)
            bfs_server_look(server);
        if (server->event_count > 0)
            break;
        if (__atomic_load_n(&server->wake, __ATOMIC_RELAXED) != 0) {
            server->idle_turn = 1;
            break;
        }
        int step = BFS_SPIN;
        if (progress != 0) {
            server->waiter.idle = 0;
            server->busy_since  = 0;
        } else {
            step = bfs_server_idle(server);
        }
        if (server->watch_busy && (step != BFS_SPIN || turns % BFS_WATCH_POLLS == 0)) {
            server->idle_turn = 1;
            break;
        }
    }
    bfs_event *events        = server->events;
    uint32_t   capacity      = server->event_capacity;
    uint32_t   count         = server->event_count;
    server->events           = server->spare;
    server->event_capacity   = server->spare_capacity;
    server->event_count      = 0;
    server->spare            = events;
    server->spare_capacity   = capacity;
    server->stats.sleeps     = server->waiter.sleeps;
    server->stats.yields     = server->waiter.yields;
    server->stats.core_moves = server->waiter.moves;
    return count;
}

void bfs_server_wake(bfs_server *server)
{
    __atomic_store_n(&server->wake, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&server->asleep, __ATOMIC_SEQ_CST) != 0)
        ucp_worker_signal(server->port->worker.ucp);
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
        bfs_ports_progress(server);
}

/* ---- life ---- */

bfs_server *bfs_server_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            uint32_t spin_polls, uint32_t yield_polls, int *status)
{
    bfs_server *server = calloc(1, sizeof(*server));
    *status            = UCS_ERR_NO_MEMORY;
    if (server == NULL)
        return NULL;
    ucs_status_t opened;
    server->context = context;
    server->port    = bfs_port_open(server, &opened);
    *status         = opened;
    if (server->port == NULL) {
        free(server);
        return NULL;
    }
    bfs_waiter_init(&server->waiter, spin_polls, yield_polls);
    server->waiter.prompt        = 1;
    server->outbox_end           = &server->outbox;
    server->watch_fd             = -1;
    server->next_look            = bfs_now() + BFS_LOOK_NS;
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
    const bfs_worker *worker = &server->port->worker;
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
            ucp_am_data_release(req->port->worker.ucp, req->data);
        req->data_state = BFS_DATA_NONE;
    }
    bfs_conn_close_all(server);
    bfs_probes_close(&server->probes);
    while (server->old != NULL) {
        bfs_port *port = server->old;
        server->old    = port->next;
        bfs_port_close(port);
    }
    bfs_port_close(server->port);
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
