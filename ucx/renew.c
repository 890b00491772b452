/*
 * How a shard goes over to another worker when its own has gone deaf.
 *
 * Over shared memory all senders of a host write into one queue of the receiving worker (uct/sm/mm: a place is taken by
 * advancing the head, then written, then marked as written). The reader goes place by place. A sender that is killed, or stopped, between
 * taking a place and marking it leaves a place behind which nothing is ever read: every client of the host is cut
 * off, those to come as well, and UCX has no remedy. So the shard looks after its own queue:
 *
 *   1. A worker that says again and again that it has something to do, while there is nothing to be read, is suspect, and so is one that cannot
 *      be armed when a client has died. Then the shard sends a message to itself (probe.c).
 *   2. If that has not come through within BFS_STUCK_NS, though all was read that could be, the queue is stuck. A new worker is opened
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
    bfs_probes_forget(&server->probes);
    server->suspects = server->asked = 0;
    server->busy_since               = 0;
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

static void bfs_bury_dead(bfs_server *server)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->visible && !conn->condemned && bfs_identity_dead(&conn->remote))
            bfs_condemn(conn, UCS_ERR_CONNECTION_RESET);
    }
}

/* How clients write into our queues. */
static uint32_t bfs_writers(const bfs_server *server)
{
    uint32_t kinds = 0;
    for (const bfs_conn *conn = server->conns; conn != NULL; conn = conn->next)
        kinds |= conn->port == server->port && !conn->condemned ? conn->shared : 0;
    return kinds;
}

/*
 * A queue that was all read a moment ago is not stuck, which being armed proves, as long as there are clients: UCX neither arms nor reads
 * what no endpoint uses, and the dead may have taken the wake-up with them that it waits for then. So after a death only a probe
 * will do, and when the last client has died, another worker.
 */
static void bfs_look_at_queue(bfs_server *server, uint32_t writers)
{
    bfs_worker *worker = &server->port->worker;
    bfs_probes *probes = &server->probes;
    if (!bfs_probes_under_way(probes)) {
        server->suspects &= ~server->asked; /* their probes have come through */
        server->asked = 0;
    }
    if (server->suspects == 0 && ucp_worker_arm(worker->ucp) == UCS_OK) {
        bfs_probes_forget(probes);
        return;
    }
    if (!bfs_probes_under_way(probes)) {
        bfs_probes_send(probes, writers | server->suspects, worker);
        server->asked = server->suspects;
        server->stats.probes++;
    } else if (bfs_probes_lost(probes, worker)) {
        bfs_move(server);
        return;
    }
    if (bfs_probes_under_way(probes) || server->suspects != 0)
        server->next_look = probes->sent_at + BFS_STUCK_NS;
}

void bfs_server_look(bfs_server *server)
{
    server->next_look = bfs_now() + BFS_LOOK_NS;
    bfs_bury_dead(server);
    uint32_t writers = bfs_writers(server);
    if (writers != 0)
        bfs_look_at_queue(server, writers);
    else if (server->suspects != 0)
        bfs_move(server);
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
    if (now - server->probes.sent_at >= BFS_STUCK_NS)
        bfs_server_look(server);
    bfs_yield(&server->waiter);
}
