/*
 * The server's side of active messages. Callbacks run inside ucp_worker_progress on the shard's thread and only note
 * events; Go takes the events of a batch, lets the service answer, and the answers leave with the next poll.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BFS_BATCH     = 64,
    BFS_MAX_PEERS = 1 << 20,
    BFS_MAX_HELLO = 1 << 16
};

static void bfs_event_add(bfs_server *server, uint32_t kind, uint32_t index, ucs_status_t status, uint32_t session)
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

/* ---- requests ---- */

static bfs_req *bfs_req_take(bfs_server *server)
{
    bfs_req *req = server->free_reqs;
    if (req != NULL) {
        server->free_reqs = req->next;
    } else {
        if (server->req_count == server->req_capacity) {
            uint32_t  capacity = server->req_capacity ? server->req_capacity * 2 : 64;
            bfs_req **reqs     = realloc(server->reqs, capacity * sizeof(*reqs));
            if (reqs == NULL)
                return NULL;
            server->reqs         = reqs;
            server->req_capacity = capacity;
        }
        req = calloc(1, sizeof(*req));
        if (req == NULL)
            return NULL;
        req->server                       = server;
        req->index                        = server->req_count;
        server->reqs[server->req_count++] = req;
    }
    req->next       = NULL;
    req->peer       = NULL;
    req->data       = NULL;
    req->data_bytes = 0;
    req->expires    = 0;
    req->hello      = NULL;
    req->data_state = BFS_DATA_NONE;
    req->state      = BFS_REQ_LIVE;
    return req;
}

static void bfs_peer_unused(bfs_peer *peer);

/* Gives a request back, unless UCX still refers to it: then the last callback does. */
void bfs_req_release(bfs_req *req)
{
    bfs_server *server = req->server;
    if (req->data_state == BFS_DATA_EAGER || req->data_state == BFS_DATA_WAITS)
        ucp_am_data_release(server->worker.ucp, req->data);
    else if (req->data_state == BFS_DATA_MOVING)
        req->held++;
    req->data_state = BFS_DATA_NONE;
    bfs_peer *peer  = req->peer;
    req->peer       = NULL;
    if (req->held > 0) {
        req->state = BFS_REQ_ORPHAN;
    } else {
        req->state        = BFS_REQ_FREE;
        req->next         = server->free_reqs;
        server->free_reqs = req;
    }
    if (peer != NULL && --peer->in_flight == 0 && peer->state == BFS_PEER_CLOSED)
        bfs_peer_unused(peer);
}

/* A callback of an operation that was reported as ended before it was. → 1 when there is nothing else to do. */
static int bfs_req_let_go(bfs_req *req)
{
    if (req->held == 0)
        return 0;
    req->held--;
    if (req->held == 0 && req->state == BFS_REQ_ORPHAN) {
        req->state             = BFS_REQ_FREE;
        req->next              = req->server->free_reqs;
        req->server->free_reqs = req;
    }
    return 1;
}

/* ---- connections and sessions ---- */

static bfs_conn *bfs_conn_of(bfs_server *server, ucp_ep_h ep)
{
    for (bfs_conn *conn = server->conns; conn != NULL && ep != NULL; conn = conn->next) {
        if (conn->ep == ep)
            return conn;
    }
    return NULL;
}

/* The connection to one link of one process, made before. */
static bfs_conn *bfs_conn_to(bfs_server *server, const bfs_identity *id)
{
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        const bfs_identity *known = &conn->remote;
        if (!conn->condemned && known->pid != 0 && known->pid == id->pid && known->pid_start == id->pid_start &&
            known->link == id->link && known->pid_namespace == id->pid_namespace &&
            memcmp(known->boot, id->boot, sizeof(id->boot)) == 0)
            return conn;
    }
    return NULL;
}

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

/* The connection is to be closed, once its sessions are. */
static void bfs_condemn(bfs_conn *conn, ucs_status_t status)
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
    bfs_conn *conn = arg;
    (void)ep;
    conn->failed = (int32_t)status;
    bfs_condemn(conn, status);
}

static void bfs_conn_close(bfs_conn *conn)
{
    bfs_server *server = conn->server;
    if (conn->mode != BFS_BY_SHM)
        bfs_ep_close(conn->ep, 1);
    else if (conn->orphans == 0)
        bfs_ep_close(conn->ep, 0);
    else
        server->stats.retired_endpoints++; /* could never be flushed; UCX frees it with the worker */
    server->visible_conns -= conn->visible ? 1 : 0;
    server->stats.closed_connections++;
    free(conn);
}

static void bfs_sweep_conns(bfs_server *server)
{
    for (bfs_conn **p = &server->conns; *p != NULL;) {
        bfs_conn *conn = *p;
        if (!conn->condemned || conn->peers > 0) {
            p = &conn->next;
            continue;
        }
        *p = conn->next;
        server->condemned--;
        bfs_conn_close(conn);
    }
}

/* The connection to a client's link: the one that is there, or a new one. */
static bfs_conn *bfs_conn_get(bfs_server *server, const bfs_identity *id, const uint8_t *address)
{
    bfs_conn *conn = bfs_conn_to(server, id);
    if (conn != NULL)
        return conn;
    conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->server = server;
    conn->mode   = (int32_t)id->flags;
    conn->remote = *id;
    if (bfs_ep_by_address(server->worker.ucp, address, conn->mode == BFS_BY_PEER, bfs_on_conn_failed, conn,
                          &conn->ep) != UCS_OK) {
        free(conn);
        return NULL;
    }
    bfs_ep_transport(conn->ep, conn->transport, sizeof(conn->transport));
    conn->rendezvous_bytes = bfs_ep_only_tcp(conn->transport) ? server->rendezvous_tcp_bytes : server->rendezvous_bytes;
    conn->visible          = bfs_identity_visible(id);
    server->visible_conns += conn->visible ? 1 : 0;
    conn->next    = server->conns;
    server->conns = conn;
    server->stats.connections++;
    return conn;
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

static bfs_peer *bfs_peer_open(bfs_server *server, uint64_t client, bfs_conn *conn)
{
    bfs_peer *peer = bfs_peer_take(server);
    if (peer == NULL)
        return NULL;
    conn->peers++;
    peer->conn       = conn;
    peer->failed     = UCS_OK;
    peer->client     = client;
    peer->generation = (peer->generation + 1) & 0xfff;
    peer->session    = peer->generation << 20 | peer->index;
    peer->state      = BFS_PEER_OPEN;
    server->stats.peers++;
    return peer;
}

/* A closed session whose last request is gone. */
static void bfs_peer_unused(bfs_peer *peer)
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

static bfs_peer *bfs_peer_of(bfs_server *server, uint32_t session, uint64_t client)
{
    uint32_t  index = session & (BFS_MAX_PEERS - 1);
    bfs_peer *peer  = index > 0 && index < server->peer_count ? server->peers[index] : NULL;
    return peer != NULL && peer->state == BFS_PEER_OPEN && peer->session == session && peer->client == client ? peer
                                                                                                              : NULL;
}

/* Ends what waits for somebody who is dead, and cannot end by itself. */
static void bfs_orphan(bfs_server *server, bfs_req *req)
{
    if (req->state == BFS_REQ_LIVE && req->data_state == BFS_DATA_MOVING) {
        req->held++;
        req->peer->conn->orphans++;
        req->data_state = BFS_DATA_MOVED;
        bfs_event_add(server, BFS_EVENT_RECEIVED, req->index, UCS_ERR_CONNECTION_RESET, 0);
    } else if (req->state == BFS_REQ_REPLYING) {
        req->held++;
        req->peer->conn->orphans++;
        req->state = BFS_REQ_REPLIED;
        if (req->has_bulk)
            bfs_event_add(server, BFS_EVENT_REPLIED, req->index, UCS_ERR_CONNECTION_RESET, 0);
        else
            bfs_req_release(req);
    }
}

/*
 * A client on this host died: over shared memory UCX does not notice. What is in our receive queue is worked off first, so
 * that nothing of the dead is left that could still write.
 */
static void bfs_conn_dead(bfs_server *server, bfs_conn *conn)
{
    for (int i = 0; i < 1000; i++)
        ucp_worker_progress(server->worker.ucp);
    if (conn->mode == BFS_BY_SHM) { /* else UCX ends the transfers itself */
        for (uint32_t i = 0; i < server->req_count; i++) {
            bfs_req *req = server->reqs[i];
            if (req->peer != NULL && req->peer->conn == conn)
                bfs_orphan(server, req);
        }
    }
    bfs_condemn(conn, UCS_ERR_CONNECTION_RESET);
}

static void bfs_reap(bfs_server *server)
{
    server->next_reap = bfs_now() + BFS_REAP_NS;
    for (bfs_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (conn->visible && !conn->condemned && bfs_identity_dead(&conn->remote))
            bfs_conn_dead(server, conn);
    }
}

/* ---- frames ---- */

static void bfs_garbage(bfs_server *server, ucp_ep_h reply_ep)
{
    server->stats.garbage++;
    bfs_conn *conn = bfs_conn_of(server, reply_ep);
    if (conn != NULL)
        bfs_condemn(conn, UCS_ERR_REJECTED);
}

static void bfs_on_note_sent(void *request, ucs_status_t status, void *user)
{
    (void)status;
    free(user);
    ucp_request_free(request);
}

/* Tells a client at once that its session is not known, where UCX gives us a way to it. */
static void bfs_answer_no_session(bfs_server *server, ucp_ep_h reply_ep, const uint8_t *frame)
{
    server->stats.no_session++;
    uint8_t *note = reply_ep != NULL ? malloc(BFS_HEADER_BYTES) : NULL;
    if (note == NULL)
        return;
    memcpy(note, frame, BFS_HEADER_BYTES);
    note[5] = BFS_KIND_REPLY;
    bfs_put16(note + BFS_AT_STATUS, BFS_NO_SESSION);
    bfs_put32(note + BFS_AT_ERRNO, 0);
    bfs_put32(note + BFS_AT_BODY, 0);
    bfs_put32(note + BFS_AT_TIMEOUT, 0);
    bfs_put64(note + BFS_AT_BULK, 0);
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send      = bfs_on_note_sent,
        .user_data    = note,
        .flags        = UCP_AM_SEND_FLAG_EAGER,
    };
    if (!UCS_PTR_IS_PTR(ucp_am_send_nbx(reply_ep, BFS_AM_REPLY, note, BFS_HEADER_BYTES, NULL, 0, &param)))
        free(note);
}

/* The payload of a Hello is for the transport: who the client is and how it is answered. */
static void bfs_hello_accept(bfs_server *server, bfs_req *req, const uint8_t *payload, size_t bytes, ucp_ep_h reply_ep)
{
    bfs_identity id;
    memcpy(&id, payload, sizeof(id));
    if (id.magic != BFS_IDENTITY_MAGIC || id.pid == 0 || id.address_bytes == 0 ||
        id.address_bytes != bytes - sizeof(id) || (id.flags != BFS_BY_SHM && id.flags != BFS_BY_PEER)) {
        bfs_garbage(server, reply_ep);
        bfs_req_release(req);
        return;
    }
    bfs_conn *conn = bfs_conn_get(server, &id, payload + sizeof(id));
    bfs_peer *peer = conn != NULL ? bfs_peer_open(server, bfs_get64(req->header + BFS_AT_CLIENT), conn) : NULL;
    if (peer == NULL) {
        server->stats.dropped++;
        bfs_req_release(req);
        return;
    }
    server->stats.hellos++;
    server->stats.requests++;
    req->peer = peer;
    peer->in_flight++;
    bfs_put64(req->header + BFS_AT_BULK, 0); /* consumed */
    bfs_event_add(server, BFS_EVENT_HELLO, req->index, UCS_OK, peer->session);
}

static void bfs_hello_arrived(bfs_req *req, ucs_status_t status)
{
    bfs_server *server = req->server;
    void       *hello  = req->hello;
    req->hello         = NULL;
    req->data_state    = BFS_DATA_MOVED;
    if (status == UCS_OK)
        bfs_hello_accept(server, req, hello, req->data_bytes, NULL);
    else
        bfs_req_release(req);
    free(hello);
}

static void bfs_on_hello_payload(void *request, ucs_status_t status, size_t bytes, void *user)
{
    (void)bytes;
    ucp_request_free(request);
    bfs_hello_arrived(user, status);
}

static void bfs_hello_fetch(bfs_server *server, bfs_req *req, void *data, size_t bytes)
{
    req->hello      = malloc(bytes);
    req->data_bytes = bytes;
    if (req->hello == NULL) {
        bfs_req_release(req);
        return;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am   = bfs_on_hello_payload,
        .user_data    = req,
    };
    req->data_state          = BFS_DATA_MOVING;
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(server->worker.ucp, data, req->hello, bytes, &param);
    if (!UCS_PTR_IS_PTR(request))
        bfs_hello_arrived(req, UCS_PTR_STATUS(request));
}

static ucs_status_t bfs_hello(bfs_server *server, const void *header, size_t header_bytes, void *data, size_t bytes,
                              int rendezvous, ucp_ep_h reply_ep)
{
    bfs_req *req = bytes >= sizeof(bfs_identity) && bytes <= BFS_MAX_HELLO ? bfs_req_take(server) : NULL;
    if (req == NULL) {
        bfs_garbage(server, reply_ep);
        return UCS_OK;
    }
    memcpy(req->header, header, header_bytes);
    req->header_bytes = (uint32_t)header_bytes;
    if (rendezvous)
        bfs_hello_fetch(server, req, data, bytes);
    else
        bfs_hello_accept(server, req, data, bytes, reply_ep);
    return UCS_OK;
}

/* A client ends a link: nothing will come by it any more. */
static ucs_status_t bfs_on_leave(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    bfs_server  *server = arg;
    bfs_identity id;
    (void)data;
    if (header_bytes != sizeof(id) || bytes != 0) {
        bfs_garbage(server, param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL);
        return UCS_OK;
    }
    memcpy(&id, header, sizeof(id));
    bfs_conn *conn = bfs_conn_to(server, &id);
    if (conn != NULL)
        bfs_condemn(conn, UCS_ERR_CONNECTION_RESET);
    return UCS_OK;
}

/* When a payload that waits at the sender may be fetched at the latest: afterwards its memory is the sender's again. */
static int64_t bfs_expires(const bfs_peer *peer, const uint8_t *frame, uint64_t dated)
{
    int64_t  expires = 0;
    uint32_t ms      = bfs_get32(frame + BFS_AT_TIMEOUT);
    if (ms != 0)
        expires = bfs_now() + (int64_t)ms * 1000000;
    if (dated != 0 && peer->conn->visible && (expires == 0 || (int64_t)dated < expires))
        expires = (int64_t)dated;
    return expires;
}

static ucs_status_t bfs_take(bfs_server *server, const uint8_t *frame, size_t frame_bytes, void *data, size_t bytes,
                             uint64_t dated, const ucp_am_recv_param_t *param)
{
    int      rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    ucp_ep_h reply_ep   = param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL;
    if (!bfs_frame_ok(frame, frame_bytes, bytes, BFS_KIND_REQUEST)) {
        bfs_garbage(server, reply_ep);
        return UCS_OK;
    }
    if (bfs_get16(frame + BFS_AT_TYPE) == BFS_TYPE_HELLO)
        return bfs_hello(server, frame, frame_bytes, data, bytes, rendezvous, reply_ep);
    bfs_peer *peer = bfs_peer_of(server, bfs_get32(frame + BFS_AT_SESSION), bfs_get64(frame + BFS_AT_CLIENT));
    if (peer == NULL) {
        bfs_answer_no_session(server, reply_ep, frame);
        return UCS_OK;
    }
    int      keep = rendezvous || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA);
    bfs_req *req  = bytes == 0 || keep ? bfs_req_take(server) : NULL;
    if (req == NULL) {
        server->stats.dropped++;
        return UCS_OK;
    }
    memcpy(req->header, frame, frame_bytes);
    req->header_bytes = (uint32_t)frame_bytes;
    req->peer         = peer;
    peer->in_flight++;
    server->stats.requests++;
    server->stats.bytes_in += bytes;
    bfs_event_add(server, BFS_EVENT_REQUEST, req->index, UCS_OK, peer->session);
    if (bytes == 0)
        return UCS_OK;
    req->data       = data;
    req->data_bytes = bytes;
    req->data_state = rendezvous ? BFS_DATA_WAITS : BFS_DATA_EAGER;
    if (rendezvous)
        req->expires = bfs_expires(peer, frame, dated);
    return UCS_INPROGRESS;
}

static ucs_status_t bfs_on_request(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                   const ucp_am_recv_param_t *param)
{
    return bfs_take(arg, header, header_bytes, data, bytes, 0, param);
}

static ucs_status_t bfs_on_dated(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    if (header_bytes < sizeof(uint64_t))
        return bfs_take(arg, header, 0, data, bytes, 0, param);
    header_bytes -= sizeof(uint64_t);
    uint64_t dated = bfs_get64((const uint8_t *)header + header_bytes);
    return bfs_take(arg, header, header_bytes, data, bytes, dated, param);
}

static ucs_status_t bfs_on_cancel(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                  const ucp_am_recv_param_t *param)
{
    bfs_server *server = arg;
    bfs_cancel  cancel;
    (void)data;
    if (header_bytes != sizeof(cancel) || bytes != 0) {
        bfs_garbage(server, param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL);
        return UCS_OK;
    }
    memcpy(&cancel, header, sizeof(cancel));
    bfs_peer *peer = bfs_peer_of(server, cancel.session, cancel.client);
    for (uint32_t i = 0; i < server->req_count && peer != NULL; i++) {
        bfs_req *req = server->reqs[i];
        if (req->state != BFS_REQ_LIVE || req->peer != peer || req->data_state != BFS_DATA_WAITS ||
            bfs_get64(req->header + BFS_AT_ID) != cancel.id)
            continue;
        ucp_am_data_release(server->worker.ucp, req->data);
        req->data_state = BFS_DATA_REVOKED;
        server->stats.cancels++;
    }
    return UCS_OK;
}

/* ---- what Go asks for ---- */

static void bfs_on_payload(void *request, ucs_status_t status, size_t bytes, void *user)
{
    bfs_req *req = user;
    (void)bytes;
    ucp_request_free(request);
    if (bfs_req_let_go(req))
        return;
    req->data_state = BFS_DATA_MOVED;
    if (status == UCS_OK && req->expires != 0 && bfs_now() > req->expires + BFS_GRACE_NS) {
        req->server->stats.expired++;
        status = UCS_ERR_TIMED_OUT; /* the sender may have reused its memory while we read it */
    }
    bfs_event_add(req->server, BFS_EVENT_RECEIVED, req->index, status, 0);
}

int bfs_req_recv(bfs_req *req, void *dst)
{
    bfs_server *server = req->server;
    if (req->data_state == BFS_DATA_REVOKED || (req->peer != NULL && req->peer->failed != UCS_OK))
        return UCS_ERR_CANCELED;
    if (req->data_state != BFS_DATA_WAITS)
        return UCS_ERR_INVALID_PARAM;
    if (req->expires != 0 && bfs_now() >= req->expires) {
        ucp_am_data_release(server->worker.ucp, req->data);
        req->data_state = BFS_DATA_REVOKED;
        server->stats.expired++;
        return UCS_ERR_TIMED_OUT;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am   = bfs_on_payload,
        .user_data    = req,
    };
    req->data_state          = BFS_DATA_MOVING;
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(server->worker.ucp, req->data, dst, req->data_bytes, &param);
    if (UCS_PTR_IS_PTR(request))
        return 0;
    req->data_state = BFS_DATA_MOVED;
    return UCS_PTR_IS_ERR(request) ? UCS_PTR_STATUS(request) : 1;
}

static void bfs_replied(bfs_req *req, ucs_status_t status)
{
    bfs_server *server = req->server;
    req->state         = BFS_REQ_REPLIED;
    if (status == UCS_OK) {
        server->stats.replies++;
        server->stats.bytes_out += req->bulk_bytes;
    }
    if (req->has_bulk)
        bfs_event_add(server, BFS_EVENT_REPLIED, req->index, status, 0);
    else
        bfs_req_release(req);
}

static void bfs_on_reply_sent(void *request, ucs_status_t status, void *user)
{
    bfs_req *req = user;
    ucp_request_free(request);
    if (!bfs_req_let_go(req))
        bfs_replied(req, status);
}

static void bfs_reply(bfs_server *server, bfs_req *req)
{
    bfs_peer *peer = req->peer;
    req->state     = BFS_REQ_REPLYING;
    if (req->data_state == BFS_DATA_WAITS) { /* not wanted: lets the sender end its send */
        ucp_am_data_release(server->worker.ucp, req->data);
        req->data_state = BFS_DATA_REVOKED;
    }
    if (peer->failed != UCS_OK) {
        bfs_replied(req, (ucs_status_t)peer->failed);
        return;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send      = bfs_on_reply_sent,
        .user_data    = req,
        .flags        = req->bulk_bytes > 0 && req->bulk_bytes >= peer->conn->rendezvous_bytes ? UCP_AM_SEND_FLAG_RNDV
                                                                                               : UCP_AM_SEND_FLAG_EAGER,
    };
    ucs_status_ptr_t request =
        ucp_am_send_nbx(peer->conn->ep, BFS_AM_REPLY, req->reply, req->reply_bytes, req->bulk, req->bulk_bytes, &param);
    if (!UCS_PTR_IS_PTR(request))
        bfs_replied(req, UCS_PTR_STATUS(request));
}

void bfs_server_flush(bfs_server *server)
{
    bfs_req *req = server->done;
    server->done = NULL;
    while (req != NULL) {
        bfs_req *next = req->next;
        bfs_req_release(req);
        req = next;
    }
    req                = server->outbox;
    server->outbox     = NULL;
    server->outbox_end = &server->outbox;
    while (req != NULL) {
        bfs_req *next = req->next;
        bfs_reply(server, req);
        req = next;
    }
}

/* ---- the loop ---- */

static unsigned bfs_server_progress(bfs_server *server)
{
    unsigned total = 0;
    for (int i = 0; i < BFS_BATCH && server->event_count < BFS_BATCH; i++) {
        unsigned progress = ucp_worker_progress(server->worker.ucp);
        if (progress == 0)
            break;
        total += progress;
    }
    if (server->condemned > 0)
        bfs_sweep_conns(server);
    return total;
}

static void bfs_server_sleep(bfs_server *server)
{
    int64_t nap = -1;
    if (server->visible_conns > 0) {
        nap = server->next_reap - bfs_now();
        nap = nap > 0 ? nap : 0;
    }
    __atomic_store_n(&server->asleep, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&server->wake, __ATOMIC_SEQ_CST) == 0 && ucp_worker_arm(server->worker.ucp) == UCS_OK) {
        server->waiter.sleeps++;
        if (bfs_poll_fds(server->worker.event_fd, server->watch_busy ? server->watch_fd : -1, nap))
            server->waiter.idle = 0;
        else if (nap >= 0 && bfs_now() >= server->next_reap)
            bfs_reap(server);
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
    if (!server->watch_turn || server->outbox != NULL)
        server->waiter.idle = 0;
    server->watch_turn = 0;
    bfs_server_flush(server);
    for (uint32_t turns = 1;; turns++) {
        unsigned progress = bfs_server_progress(server);
        if (++server->rounds % 4096 == 0 && server->visible_conns > 0 && bfs_now() >= server->next_reap)
            bfs_reap(server);
        if (server->event_count > 0 || __atomic_load_n(&server->wake, __ATOMIC_RELAXED) != 0)
            break;
        int step = BFS_SPIN;
        if (progress != 0)
            server->waiter.idle = 0;
        else
            step = bfs_server_idle(server);
        if (server->watch_busy && (step != BFS_SPIN || turns % BFS_WATCH_POLLS == 0)) {
            server->watch_turn = 1;
            break;
        }
    }
    bfs_event *events      = server->events;
    uint32_t   capacity    = server->event_capacity;
    uint32_t   count       = server->event_count;
    server->events         = server->spare;
    server->event_capacity = server->spare_capacity;
    server->event_count    = 0;
    server->spare          = events;
    server->spare_capacity = capacity;
    server->stats.sleeps   = server->waiter.sleeps;
    server->stats.yields   = server->waiter.yields;
    return count;
}

void bfs_server_wake(bfs_server *server)
{
    __atomic_store_n(&server->wake, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&server->asleep, __ATOMIC_SEQ_CST) != 0)
        ucp_worker_signal(server->worker.ucp);
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
        ucp_worker_progress(server->worker.ucp);
}

/* ---- life ---- */

bfs_server *bfs_server_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            uint32_t spin_polls, uint32_t yield_polls, int *status)
{
    bfs_server *server = calloc(1, sizeof(*server));
    *status            = UCS_ERR_NO_MEMORY;
    if (server == NULL)
        return NULL;
    *status = bfs_worker_open(&server->worker, context->ucp, UCS_THREAD_MODE_SERIALIZED);
    if (*status != UCS_OK) {
        free(server);
        return NULL;
    }
    bfs_worker *worker = &server->worker;
    unsigned    keep   = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
    *status            = bfs_worker_handle(worker, BFS_AM_REQUEST, bfs_on_request, server, keep);
    if (*status == UCS_OK)
        *status = bfs_worker_handle(worker, BFS_AM_DATED, bfs_on_dated, server, keep);
    if (*status == UCS_OK)
        *status = bfs_worker_handle(worker, BFS_AM_LEAVE, bfs_on_leave, server, UCP_AM_FLAG_WHOLE_MSG);
    if (*status == UCS_OK)
        *status = bfs_worker_handle(worker, BFS_AM_CANCEL, bfs_on_cancel, server, UCP_AM_FLAG_WHOLE_MSG);
    if (*status != UCS_OK) {
        bfs_worker_close(worker);
        free(server);
        return NULL;
    }
    bfs_waiter_init(&server->waiter, spin_polls, yield_polls);
    server->outbox_end           = &server->outbox;
    server->watch_fd             = -1;
    server->next_reap            = bfs_now() + BFS_REAP_NS;
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
    server->gate = bfs_gate_open(address, bytes, server->worker.address, server->worker.address_bytes, &used, &err);
    return server->gate == NULL || bfs_socket_text(&used, actual, actual_bytes) == 0 ? err : EINVAL;
}

static void bfs_server_close_conns(bfs_server *server)
{
    while (server->conns != NULL) {
        bfs_conn *next = server->conns->next;
        bfs_conn_close(server->conns);
        server->conns = next;
    }
    for (int i = 0; i < 1000; i++)
        ucp_worker_progress(server->worker.ucp);
}

void bfs_server_close(bfs_server *server)
{
    if (server->gate != NULL)
        bfs_gate_close(server->gate);
    for (uint32_t i = 0; i < server->req_count; i++) {
        bfs_req *req = server->reqs[i];
        if (req->data_state == BFS_DATA_EAGER || req->data_state == BFS_DATA_WAITS)
            ucp_am_data_release(server->worker.ucp, req->data);
        req->data_state = BFS_DATA_NONE;
    }
    bfs_server_close_conns(server);
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
