/*
 * How a shard goes over to another worker when its own has gone deaf.
 *
 * Over shared memory all senders of a host write into one queue of the receiving worker (uct/sm/mm: a place is taken by
 * advancing the head, then written, then marked as written). The reader goes place by place. A sender that is killed, or stopped, between
 * taking a place and marking it leaves a place behind which nothing is ever read: every client of the host is cut
 * off, those to come as well, and UCX has no remedy. So the shard looks after its own queue:
 *
 *   1. When nothing came over shared memory for a while although there are clients that could, when one of them has died, or when the
 *      worker says that there is something to read and reading finds nothing, it sends a probe to itself, from a worker that is
 *      there for nothing else and that UCX treats like any other process's.
 *   2. A probe that has not come through within BFS_STUCK_NS, though all was read that could be, means a stuck queue. A new worker is opened
 *      and takes over what is to come; the service is told, so that it can publish the new address.
 *   3. Then the clients are told (BFS_AM_MOVED, into their own queues). Connections over shared memory are closed, which ends
 *      the transfers on them, before their clients can repeat anything; what sits in the stuck queue is never read. Connections
 *      over other transports go on by the old worker until their clients leave them.
 *   4. The old worker is closed when nothing refers to it any more.
 *
 * Whoever was slow and not stuck (a shard that stood still, a sender that was not scheduled for half a second) loses a
 * millisecond by this, and nothing else.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- ports: the workers of a server ---- */

bfs_port *bfs_port_open(bfs_server *server, ucs_status_t *status)
{
    bfs_port *port = calloc(1, sizeof(*port));
    *status        = UCS_ERR_NO_MEMORY;
    if (port == NULL)
        return NULL;
    port->server = server;
    *status      = bfs_worker_open(&port->worker, server->context, UCS_THREAD_MODE_SERIALIZED);
    if (*status == UCS_OK) {
        *status = bfs_am_serve(port);
        if (*status == UCS_OK)
            return port;
        bfs_worker_close(&port->worker);
    }
    free(port);
    return NULL;
}

void bfs_port_close(bfs_port *port)
{
    bfs_worker_close(&port->worker);
    free(port);
}

unsigned bfs_ports_progress(bfs_server *server)
{
    unsigned total = ucp_worker_progress(server->port->worker.ucp);
    for (bfs_port *port = server->old; port != NULL; port = port->next)
        total += ucp_worker_progress(port->worker.ucp);
    return total;
}

void bfs_ports_sweep(bfs_server *server)
{
    for (bfs_port **p = &server->old; *p != NULL;) {
        bfs_port *port = *p;
        if (!port->told || port->conns > 0 || port->reqs > 0) {
            p = &port->next;
            continue;
        }
        *p = port->next;
        bfs_port_close(port);
    }
}

/* ---- the move ---- */

static void bfs_move(bfs_server *server)
{
    ucs_status_t status;
    bfs_port    *port = bfs_port_open(server, &status);
    if (port == NULL) { /* as good as no memory: the next look tries again */
        server->stats.dropped++;
        return;
    }
    server->port->next = server->old;
    server->old        = server->port;
    server->port       = port;
    server->probe.seen = server->probe.sent;
    server->busy_since = 0;
    server->stats.moves++;
    if (server->gate != NULL)
        bfs_gate_answer(server->gate, port->worker.address, port->worker.address_bytes);
    bfs_event_add(server, BFS_EVENT_MOVED, 0, UCS_OK, 0);
}

void bfs_server_tell_moved(bfs_server *server)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->port == server->port || conn->condemned)
            continue;
        bfs_ep_send_copy(conn->ep, BFS_AM_MOVED, &conn->remote.link, sizeof(conn->remote.link), 0);
        if (conn->shared)
            bfs_condemn(conn, UCS_ERR_CONNECTION_RESET);
    }
    for (bfs_port *port = server->old; port != NULL; port = port->next)
        port->told = 1;
}

/* ---- the look ---- */

static int bfs_bury_dead(bfs_server *server)
{
    int suspect = 0;
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->visible || conn->condemned || !bfs_identity_dead(&conn->remote))
            continue;
        bfs_condemn(conn, UCS_ERR_CONNECTION_RESET);
        suspect |= conn->shared;
    }
    return suspect;
}

void bfs_server_look(bfs_server *server, int suspect)
{
    int64_t now       = bfs_now();
    server->next_look = now + BFS_LOOK_NS;
    suspect |= bfs_bury_dead(server);
    bfs_probe *probe = &server->probe;
    if (bfs_probe_under_way(probe)) {
        if (bfs_probe_lost(probe, &server->port->worker))
            bfs_move(server);
        else if (bfs_probe_under_way(probe))
            server->next_look = probe->sent_at + BFS_STUCK_NS;
    } else if (suspect || (server->shared_conns > 0 && server->heard == server->heard_before)) {
        bfs_probe_send(probe, server->context, &server->port->worker);
        server->stats.probes++;
        server->next_look = now + BFS_STUCK_NS;
    }
    server->heard_before = server->heard;
    if (server->old != NULL)
        bfs_ports_sweep(server);
}

/* The worker cannot be armed, because it has something to read or to send. If it has had for long, something is wrong. */
void bfs_server_busy(bfs_server *server)
{
    int64_t now = bfs_now();
    if (server->busy_since == 0)
        server->busy_since = now;
    if (now - server->busy_since < BFS_BUSY_NS)
        return;
    if (now - server->probe.sent_at >= BFS_STUCK_NS)
        bfs_server_look(server, 1);
    bfs_yield(&server->waiter);
}
