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

static void bfs_req_free(bfs_req *req)
{
    req->state             = BFS_REQ_FREE;
    req->next              = req->server->free_reqs;
    req->server->free_reqs = req;
}

/* Gives a request back, unless UCX still refers to it: then the last callback does. */
void bfs_req_release(bfs_req *req)
{
    if (req->data_state == BFS_DATA_EAGER || req->data_state == BFS_DATA_WAITS)
        ucx.ucp_am_data_release(req->server->worker.ucp, req->data);
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
    bfs_address from;
    memcpy(&from, payload, sizeof(from));
    if (from.magic != BFS_ADDRESS_MAGIC || from.bytes == 0 || from.bytes != bytes - sizeof(from)) {
        bfs_garbage(server, reply_ep);
        bfs_req_release(req);
        return;
    }
    bfs_conn *conn = bfs_conn_get(server, from.link, payload + sizeof(from), reply_ep);
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
    ucx.ucp_request_free(request);
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
    ucs_status_ptr_t request = ucx.ucp_am_recv_data_nbx(req->server->worker.ucp, data, req->hello, bytes, &param);
    if (!UCS_PTR_IS_PTR(request))
        bfs_hello_arrived(req, UCS_PTR_STATUS(request));
}

static ucs_status_t bfs_hello(bfs_server *server, const void *header, size_t header_bytes, void *data, size_t bytes,
                              int rendezvous, ucp_ep_h reply_ep)
{
    bfs_req *req = bytes >= sizeof(bfs_address) && bytes <= BFS_MAX_HELLO ? bfs_req_take(server) : NULL;
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
    bfs_server *server = arg;
    uint64_t    link;
    (void)data;
    if (header_bytes != sizeof(link) || bytes != 0) {
        bfs_garbage(server, param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL);
        return UCS_OK;
    }
    memcpy(&link, header, sizeof(link));
    bfs_conn *conn = bfs_conn_to(server, link);
    if (conn != NULL)
        bfs_condemn(conn, UCS_ERR_CANCELED);
    return UCS_OK;
}

/* When a payload that waits at the sender may be fetched at the latest: afterwards its memory is the sender's again. */
static int64_t bfs_expires(const uint8_t *frame)
{
    uint32_t ms = bfs_get32(frame + BFS_AT_TIMEOUT);
    return ms == 0 ? 0 : bfs_now() + (int64_t)ms * 1000000;
}

static ucs_status_t bfs_on_request(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                   const ucp_am_recv_param_t *param)
{
    bfs_server    *server     = arg;
    const uint8_t *frame      = header;
    int            rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
    ucp_ep_h       reply_ep   = param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP ? param->reply_ep : NULL;
    if (!bfs_frame_ok(frame, header_bytes, bytes, BFS_KIND_REQUEST)) {
        bfs_garbage(server, reply_ep);
        return UCS_OK;
    }
    if (bfs_get16(frame + BFS_AT_TYPE) == BFS_TYPE_HELLO)
        return bfs_hello(server, frame, header_bytes, data, bytes, rendezvous, reply_ep);
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
    memcpy(req->header, frame, header_bytes);
    req->header_bytes = (uint32_t)header_bytes;
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
        req->expires = bfs_expires(frame);
    return UCS_INPROGRESS;
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
        ucx.ucp_am_data_release(req->server->worker.ucp, req->data);
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
    ucx.ucp_request_free(request);
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
        ucx.ucp_am_data_release(req->server->worker.ucp, req->data);
        req->data_state = BFS_DATA_REVOKED;
        server->stats.expired++;
        return UCS_ERR_TIMED_OUT;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am   = bfs_on_payload,
        .user_data    = req,
    };
    req->data_state = BFS_DATA_MOVING;
    ucs_status_ptr_t request =
        ucx.ucp_am_recv_data_nbx(req->server->worker.ucp, req->data, dst, req->data_bytes, &param);
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
    ucx.ucp_request_free(request);
    if (!bfs_req_let_go(req))
        bfs_replied(req, status);
}

static void bfs_reply(bfs_req *req)
{
    bfs_peer *peer = req->peer;
    req->state     = BFS_REQ_REPLYING;
    if (req->data_state == BFS_DATA_WAITS) { /* not wanted: lets the sender end its send */
        ucx.ucp_am_data_release(req->server->worker.ucp, req->data);
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
    ucs_status_ptr_t request = ucx.ucp_am_send_nbx(peer->conn->ep, BFS_AM_REPLY, req->reply, req->reply_bytes,
                                                   req->bulk, req->bulk_bytes, &param);
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

ucs_status_t bfs_am_serve(bfs_server *server)
{
    bfs_worker  *worker = &server->worker;
    unsigned     keep   = UCP_AM_FLAG_WHOLE_MSG | UCP_AM_FLAG_PERSISTENT_DATA;
    ucs_status_t status = bfs_worker_handle(worker, BFS_AM_REQUEST, bfs_on_request, server, keep);
    if (status == UCS_OK)
        status = bfs_worker_handle(worker, BFS_AM_LEAVE, bfs_on_leave, server, UCP_AM_FLAG_WHOLE_MSG);
    if (status == UCS_OK)
        status = bfs_worker_handle(worker, BFS_AM_CANCEL, bfs_on_cancel, server, UCP_AM_FLAG_WHOLE_MSG);
    return status;
}
