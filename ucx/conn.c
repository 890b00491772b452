/*
 * The server's way back to its clients: a connection is one endpoint to one link of one process, a session is one
 * accepted Hello on it.
 *
 * A connection that is at fault, or whose client has left or died, is condemned: its sessions are told, and its endpoint is
 * closed by force as soon as no callback of UCX is on the stack, which ends every transfer on it. It is freed when the last
 * request of its sessions is.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <stdlib.h>
#include <string.h>

/* ---- sessions ---- */

static void bfs_peer_failed(bfs_peer *peer, ucs_status_t status)
{
    if (peer->failed != UCS_OK)
        return;
    peer->failed = (int32_t)status;
    if (peer->state == BFS_PEER_OPEN) {
        peer->server->stats.peers_gone++;
        bfs_event_add(peer->server, BFS_EVENT_GONE, peer->index, status, peer->session);
    }
}

static bfs_peer *bfs_peer_take(bfs_server *server)
{
    for (uint32_t i = 1; i < server->peer_count; i++) {
        if (server->peers[i]->state == BFS_PEER_FREE)
            return server->peers[i];
    }
    if (server->peer_count >= BFS_MAX_PEERS)
        return NULL;
    if (server->peer_count + 1 >= server->peer_capacity) {
        uint32_t   capacity = server->peer_capacity ? server->peer_capacity * 2 : 64;
        bfs_peer **peers    = realloc(server->peers, capacity * sizeof(*peers));
        if (peers == NULL)
            return NULL;
        server->peers         = peers;
        server->peer_capacity = capacity;
    }
    if (server->peer_count == 0) { /* session 0 is nobody's */
        server->peers[0]   = NULL;
        server->peer_count = 1;
    }
    bfs_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    peer->server                        = server;
    peer->index                         = server->peer_count;
    server->peers[server->peer_count++] = peer;
    return peer;
}

bfs_peer *bfs_peer_open(bfs_server *server, uint64_t client, bfs_conn *conn)
{
    bfs_peer *peer = bfs_peer_take(server);
    if (peer == NULL)
        return NULL;
    conn->peers++;
    peer->conn       = conn;
    peer->failed     = UCS_OK;
    peer->client     = client;
    peer->generation = (peer->generation + 1) & 0x7ff; /* sessions from 1 << 31 on are package shm's */
    peer->session    = peer->generation << 20 | peer->index;
    peer->state      = BFS_PEER_OPEN;
    server->stats.peers++;
    return peer;
}

void bfs_peer_unused(bfs_peer *peer)
{
    peer->conn->peers--;
    peer->conn  = NULL;
    peer->state = BFS_PEER_FREE;
}

void bfs_peer_close(bfs_peer *peer)
{
    if (peer->state != BFS_PEER_OPEN)
        return;
    peer->state = BFS_PEER_CLOSED;
    peer->server->stats.peers--;
    if (peer->in_flight == 0)
        bfs_peer_unused(peer);
}

bfs_peer *bfs_peer_of(bfs_server *server, uint32_t session, uint64_t client)
{
    uint32_t  index = session & (BFS_MAX_PEERS - 1);
    bfs_peer *peer  = index > 0 && index < server->peer_count ? server->peers[index] : NULL;
    return peer != NULL && peer->state == BFS_PEER_OPEN && peer->session == session && peer->client == client ? peer
                                                                                                              : NULL;
}

/* ---- connections ---- */

bfs_conn *bfs_conn_of(bfs_server *server, ucp_ep_h ep)
{
    for (bfs_conn *conn = server->conns; conn != NULL && ep != NULL; conn = conn->next) {
        if (conn->ep == ep)
            return conn;
    }
    return NULL;
}

bfs_conn *bfs_conn_to(bfs_server *server, uint64_t link)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->condemned && conn->link == link)
            return conn;
    }
    return NULL;
}

void bfs_condemn(bfs_conn *conn, ucs_status_t status)
{
    if (conn->condemned)
        return;
    conn->condemned = 1;
    conn->server->condemned++;
    for (uint32_t i = 1; i < conn->server->peer_count; i++) {
        bfs_peer *peer = conn->server->peers[i];
        if (peer->state != BFS_PEER_FREE && peer->conn == conn)
            bfs_peer_failed(peer, status);
    }
}

static void bfs_on_conn_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep;
    bfs_condemn(arg, status);
}

static void bfs_conn_shut(bfs_conn *conn)
{
    if (conn->shut)
        return;
    conn->shut = 1;
    bfs_ep_close(conn->ep, 1);
}

static void bfs_conn_free(bfs_conn *conn)
{
    bfs_server *server = conn->server;
    bfs_conn_shut(conn);
    server->stats.closed_connections++;
    free(conn);
}

/* The endpoints of the condemned are closed before any of them is freed: what that ends belongs to their sessions. */
void bfs_conn_sweep(bfs_server *server)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->condemned)
            bfs_conn_shut(conn);
    }
    for (bfs_conn **p = &server->conns; *p != NULL;) {
        bfs_conn *conn = *p;
        if (!conn->condemned || conn->peers > 0) {
            p = &conn->next;
            continue;
        }
        *p = conn->next;
        server->condemned--;
        bfs_conn_free(conn);
    }
}

/*
 * UCX pairs the endpoints of two workers by counting on both sides. A client that gave up (it dialled while we stood still, say) leaves
 * endpoints behind that we have none for, and from then on the count is out of step: ours would be paired with one that is gone, and UCX
 * would drop what needs more than one fragment. The endpoint that a Hello came by tells which is the right one.
 */
static ucs_status_t bfs_conn_open(bfs_conn *conn, const uint8_t *address, ucp_ep_h from)
{
    for (int tries = 0;; tries++) {
        ucs_status_t status = bfs_ep_by_address(conn->server->worker.ucp, address, bfs_on_conn_failed, conn, &conn->ep);
        if (status != UCS_OK || from == NULL || conn->ep == from || tries == BFS_STALE_MOST)
            return status;
        bfs_ep_close(conn->ep, 1);
    }
}

bfs_conn *bfs_conn_get(bfs_server *server, uint64_t link, const uint8_t *address, ucp_ep_h from)
{
    bfs_conn *conn = bfs_conn_to(server, link);
    if (conn != NULL)
        return conn;
    conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->server = server;
    conn->link   = link;
    if (bfs_conn_open(conn, address, from) != UCS_OK) {
        free(conn);
        return NULL;
    }
    bfs_ep_transport(conn->ep, conn->transport, sizeof(conn->transport));
    conn->rendezvous_bytes = bfs_ep_only_tcp(conn->transport) ? server->rendezvous_tcp_bytes : server->rendezvous_bytes;
    conn->next             = server->conns;
    server->conns          = conn;
    server->stats.connections++;
    return conn;
}

void bfs_conn_close_all(bfs_server *server)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next)
        bfs_conn_shut(conn);
    for (int i = 0; i < BFS_DRAIN_POLLS; i++)
        ucx.ucp_worker_progress(server->worker.ucp);
    while (server->conns != NULL) {
        bfs_conn *conn = server->conns;
        server->conns  = conn->next;
        bfs_conn_free(conn);
    }
}
