/*
 * The server's side of active messages. Callbacks run inside ucp_worker_progress on the shard's thread and only note
 * events; Go takes the events of a batch, lets the service answer, and the answers leave with the next poll.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <stdlib.h>
#include <string.h>

enum {
    BFS_MAX_HELLO = 1 << 16
};

/* ---- requests ---- */

static bfs_req *bfs_req_take(bfs_port *port)
{
    bfs_server *server = port->server;
    bfs_req    *req    = server->free_reqs;
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
    port->reqs++;
    req->port       = port;
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

static void bfs_req_free(bfs_req *req)
{
    req->port->reqs--;
    req->state             = BFS_REQ_FREE;
    req->next              = req->server->free_reqs;
    req->server->free_reqs = req;
}

/* Gives a request back, unless UCX still refers to it: then the last callback does. */
void bfs_req_release(bfs_req *req)
{
    if (req->data_state == BFS_DATA_EAGER || req->data_state == BFS_DATA_WAITS)
        ucp_am_data_release(req->port->worker.ucp, req->data);
    else if (req->data_state == BFS_DATA_MOVING)
        req->held++;
    req->data_state = BFS_DATA_NONE;
    bfs_peer *peer  = req->peer;
    req->peer       = NULL;
    if (req->held > 0)
        req->state = BFS_REQ_ORPHAN;
    else
        bfs_req_free(req);
    if (peer != NULL && --peer->in_flight == 0 && peer->state == BFS_PEER_CLOSED)
        bfs_peer_unused(peer);
}

/* A callback of an operation that was reported as ended before it was. → 1 when there is nothing else to do. */
static int bfs_req_let_go(bfs_req *req)
{
    if (req->held == 0)
        return 0;
    req->held--;
    if (req->held == 0 && req->state == BFS_REQ_ORPHAN)
        bfs_req_free(req);
    return 1;
}

/* ---- frames ---- */

static void bfs_garbage(bfs_server *server, ucp_ep_h reply_ep)
{
    server->stats.garbage++;
    bfs_conn *conn = bfs_conn_of(server, reply_ep);
    if (conn != NULL)
        bfs_condemn(conn, UCS_ERR_REJECTED);
}

/* Tells a client at once that its session is not known, where UCX gives us a way to it. */
static void bfs_answer_no_session(bfs_server *server, ucp_ep_h reply_ep, const uint8_t *frame)
{
    server->stats.no_session++;
    if (reply_ep == NULL)
        return;
    uint8_t note[BFS_HEADER_BYTES];
    memcpy(note, frame, BFS_HEADER_BYTES);
    note[5] = BFS_KIND_REPLY;
    bfs_put16(note + BFS_AT_STATUS, BFS_NO_SESSION);
    bfs_put32(note + BFS_AT_ERRNO, 0);
    bfs_put32(note + BFS_AT_BODY, 0);
    bfs_put32(note + BFS_AT_TIMEOUT, 0);
    bfs_put64(note + BFS_AT_BULK, 0);
    bfs_ep_send_copy(reply_ep, BFS_AM_REPLY, note, sizeof(note), 0);
}

/* The payload of a Hello is for the transport: who the client is and how it is answered. */
static void bfs_hello_accept(bfs_server *server, bfs_req *req, const uint8_t *payload, size_t bytes, ucp_ep_h reply_ep)
{
    bfs_identity id;
    memcpy(&id, payload, sizeof(id));
    if (id.magic != BFS_IDENTITY_MAGIC || id.pid == 0 || id.address_bytes == 0 ||
        id.address_bytes != bytes - sizeof(id)) {
        bfs_garbage(server, reply_ep);
        bfs_req_release(req);
        return;
    }
    bfs_conn *conn = bfs_conn_get(req->port, &id, payload + sizeof(id), reply_ep);
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
        bfs_hello_accept(server, req, hello, req->data_bytes, req->hello_ep);
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

static void bfs_hello_fetch(bfs_req *req, void *data, size_t bytes, ucp_ep_h reply_ep)
{
    req->hello_ep   = reply_ep;
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
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(req->port->worker.ucp, data, req->hello, bytes, &param);
    if (!UCS_PTR_IS_PTR(request))
        bfs_hello_arrived(req, UCS_PTR_STATUS(request));
}

static ucs_status_t bfs_hello(bfs_port *port, const void *header, size_t header_bytes, void *data, size_t bytes,
                              int rendezvous, ucp_ep_h reply_ep)
{
    bfs_server *server = port->server;
    bfs_req    *req    = bytes >= sizeof(bfs_identity) && bytes <= BFS_MAX_HELLO ? bfs_req_take(port) : NULL;
    if (req == NULL) {
        bfs_garbage(server, reply_ep);
        return UCS_OK;
    }
    memcpy(req->header, header, header_bytes);
    req->header_bytes = (uint32_t)header_bytes;
    if (rendezvous)
        bfs_hello_fetch(req, data, bytes, reply_ep);
    else
        bfs_hello_accept(server, req, data, bytes, reply_ep);
    return UCS_OK;
}

/* A client ends a link: nothing will come by it any more. */
static ucs_status_t bfs_on_leave(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    bfs_server  *server = ((bfs_port *)arg)->server;
    bfs_identity id;
    (void)data;
    if (header_bytes != sizeof(id) || bytes != 0) {
        bfs_garbage(server, param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL);
        return UCS_OK;
    }
    memcpy(&id, header, sizeof(id));
    bfs_conn *conn = bfs_conn_to(server, &id);
    if (conn != NULL)
        bfs_condemn(conn, UCS_ERR_CANCELED);
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

static ucs_status_t bfs_take(bfs_port *port, const uint8_t *frame, size_t frame_bytes, void *data, size_t bytes,
                             uint64_t dated, const ucp_am_recv_param_t *param)
{
    bfs_server *server     = port->server;
    int         rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    ucp_ep_h    reply_ep   = param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL;
    if (!bfs_frame_ok(frame, frame_bytes, bytes, BFS_KIND_REQUEST)) {
        bfs_garbage(server, reply_ep);
        return UCS_OK;
    }
    if (bfs_get16(frame + BFS_AT_TYPE) == BFS_TYPE_HELLO)
        return bfs_hello(port, frame, frame_bytes, data, bytes, rendezvous, reply_ep);
    bfs_peer *peer = bfs_peer_of(server, bfs_get32(frame + BFS_AT_SESSION), bfs_get64(frame + BFS_AT_CLIENT));
    if (peer == NULL) {
        bfs_answer_no_session(server, reply_ep, frame);
        return UCS_OK;
    }
    int      keep = rendezvous || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA);
    bfs_req *req  = bytes == 0 || keep ? bfs_req_take(port) : NULL;
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
    bfs_server *server = ((bfs_port *)arg)->server;
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
        ucp_am_data_release(req->port->worker.ucp, req->data);
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
        ucp_am_data_release(req->port->worker.ucp, req->data);
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
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(req->port->worker.ucp, req->data, dst, req->data_bytes, &param);
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

static void bfs_reply(bfs_req *req)
{
    bfs_peer *peer = req->peer;
    req->state     = BFS_REQ_REPLYING;
    if (req->data_state == BFS_DATA_WAITS) { /* not wanted: lets the sender end its send */
        ucp_am_data_release(req->port->worker.ucp, req->data);
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
        bfs_reply(req);
        req = next;
    }
}

ucs_status_t bfs_am_serve(bfs_port *port)
{
    bfs_worker  *worker = &port->worker;
    unsigned     keep   = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
    ucs_status_t status = bfs_worker_handle(worker, BFS_AM_REQUEST, bfs_on_request, port, keep);
    if (status == UCS_OK)
        status = bfs_worker_handle(worker, BFS_AM_DATED, bfs_on_dated, port, keep);
    if (status == UCS_OK)
        status = bfs_worker_handle(worker, BFS_AM_LEAVE, bfs_on_leave, port, UCP_AM_FLAG_WHOLE_MSG);
    if (status == UCS_OK)
        status = bfs_worker_handle(worker, BFS_AM_CANCEL, bfs_on_cancel, port, UCP_AM_FLAG_WHOLE_MSG);
    return status == UCS_OK ? bfs_probes_serve(&port->server->probes, worker) : status;
}
