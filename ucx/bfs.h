/*
 * The C half of package ucx: everything that runs between two progress calls of a UCX worker. Go fills and reads the
 * structs below directly; it crosses into C once per Run (client) and once per batch (server).
 *
 * Threads: a bfs_client is guarded by its own lock; a bfs_server belongs to the one thread that runs the shard.
 * Names are hidden: several copies of this code may live in one process.
 */
#ifndef BFS_H
#define BFS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "load.h"

#pragma GCC visibility push(hidden)

/* The frame, as rpc/frame.go defines it. */
enum {
    BFS_HEADER_BYTES = 64,
    BFS_FRAME_BYTES  = 1024, /* header and body */
    BFS_KIND_REQUEST = 1,
    BFS_KIND_REPLY   = 2,
    BFS_TYPE_HELLO   = 1,
    BFS_NO_SESSION   = 4, /* rpc.StatusNoSession */
    BFS_MAGIC        = 0x31534642,
    BFS_VERSION      = 4
};

/* Active-message ids. */
enum {
    BFS_AM_REQUEST = 1, /* frame */
    BFS_AM_CANCEL  = 2, /* bfs_cancel: the sender waits no longer, its memory must not be read any more */
    BFS_AM_REPLY   = 3, /* frame */
    BFS_AM_LEAVE   = 4  /* u64, the link's number: the link ends */
};

enum {
    BFS_GRACE_NS    = 1000000000, /* how long after its deadline a call may still wait for a transfer to end */
    BFS_LOOK_NS     = 1000000000, /* a caller that waits for longer looks around so often */
    BFS_CLOCK_POLLS = 1024,       /* polls from one look at the clock to the next, while there is much to do */
    BFS_DRAIN_POLLS = 1000,       /* more than a queue of UCX's has places */
    BFS_BATCH       = 64,         /* events at once for Go */
    BFS_MAX_PEERS   = 1 << 20,
    BFS_STALE_MOST  = 1024, /* endpoints in a row that a client has left behind */
    BFS_SLOT_BITS   = 16
};

/* ---- wait.c ---- */

int64_t bfs_now(void); /* CLOCK_MONOTONIC, ns */
void    bfs_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns);
void    bfs_futex_wake(uint32_t *word);
void    bfs_poll_fds(int events, int kick, int64_t timeout_ns); /* sleeps until one is readable, and takes the kick */
void    bfs_kick(int kick);

static inline void bfs_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* What stands in front of every worker address of this package. */
typedef struct bfs_address {
    uint32_t magic, bytes; /* bytes: of UCX's own address, which follows */
    uint64_t link;         /* in a Hello: number of the link that it belongs to */
} bfs_address;

enum {
    BFS_ADDRESS_MAGIC = 0x42534642 /* "BFSB" */
};

/* ---- context.c ---- */

typedef struct bfs_context {
    ucp_context_h   ucp;
    pthread_mutex_t opening; /* UCX makes one worker of a context at a time */
} bfs_context;

ucs_status_t bfs_context_open(bfs_context *context, const char *transports, const char *devices, uint32_t endpoints);
void         bfs_context_close(bfs_context *context);
const char  *bfs_status_text(int status);

/* ---- worker.c ---- */

typedef struct bfs_worker {
    ucp_worker_h ucp;
    int          event_fd;
    uint8_t     *address; /* bfs_address, then UCX's own */
    uint32_t     address_bytes;
} bfs_worker;

ucs_status_t bfs_worker_open(bfs_worker *worker, bfs_context *context, ucs_thread_mode_t mode);
ucs_status_t bfs_worker_handle(bfs_worker *worker, unsigned am, ucp_am_recv_callback_t callback, void *arg,
                               unsigned flags);
void         bfs_worker_close(bfs_worker *worker);

/* ---- endpoint.c ---- */

ucs_status_t bfs_ep_by_address(ucp_worker_h worker, const uint8_t *address, ucp_err_handler_cb_t failed, void *arg,
                               ucp_ep_h *ep);
ucs_status_t bfs_ep_send_copy(ucp_ep_h ep, unsigned am, const void *header, size_t bytes, unsigned flags);
void         bfs_ep_close(ucp_ep_h ep, int force);                    /* does not wait */
void         bfs_ep_transport(ucp_ep_h ep, char *text, size_t bytes); /* "tcp", "rc_mlx5", … */
int          bfs_ep_only_tcp(const char *transport);
int bfs_resolve(const char *host, const char *port, int passive, struct sockaddr_storage *address, socklen_t *bytes,
                char *reason, size_t reason_bytes);
int bfs_socket_text(const struct sockaddr_storage *address, char *text, size_t bytes);

/* ---- gate.c ---- */

typedef struct bfs_gate bfs_gate;

bfs_gate *bfs_gate_open(const struct sockaddr_storage *address, socklen_t bytes, const uint8_t *worker,
                        uint32_t worker_bytes, struct sockaddr_storage *actual, int *err);
void      bfs_gate_close(bfs_gate *gate);
uint64_t  bfs_gate_answered(bfs_gate *gate);
uint64_t  bfs_gate_refused(bfs_gate *gate);
/* Asks the gate at an address for the worker address behind it (to be freed); → 0 or an errno. */
int bfs_gate_ask(const struct sockaddr_storage *address, socklen_t bytes, int64_t budget_ns, uint8_t **worker,
                 uint32_t *worker_bytes);

/* ---- the client: client.c, run.c, am_client.c ---- */

typedef struct bfs_client bfs_client;
typedef struct bfs_group  bfs_group;

typedef struct bfs_link {
    ucp_ep_h         ep;
    int32_t          failed;   /* ucs_status_t, atomic: UCS_OK while alive */
    int32_t          closed;   /* the endpoint is no longer ours */
    int32_t          answered; /* a reply has come by it */
    uint64_t         number;   /* tells it from all others of all clients */
    uint64_t         rendezvous_bytes;
    uint8_t         *hello; /* what a Hello on this link carries: bfs_address, UCX's own */
    uint32_t         hello_bytes;
    bfs_client      *client;
    struct bfs_link *next;
    char             transport[128];
} bfs_link;

enum {
    BFS_CALL_RPC,
    BFS_CALL_FLUSH
};
enum {
    BFS_IDLE,
    BFS_ACTIVE,
    BFS_ZOMBIE
};
enum {
    BFS_DONE,      /* a reply came (or the operation is complete) */
    BFS_TIMEOUT,   /* no reply by the deadline */
    BFS_LOST,      /* the link failed: status says how */
    BFS_FAILED,    /* the transfer failed: status says how */
    BFS_TOO_LONG,  /* the reply's payload does not fit into in */
    BFS_BAD_REPLY, /* the reply does not parse */
    BFS_CLOSED     /* the transport was closed or its worker given up */
};
enum {
    BFS_PART_REPLY = 1,
    BFS_PART_SEND  = 2,
    BFS_PART_RECV  = 4
};

/* One call. Between Run's only Go touches it, during a Run only the thread that holds the client's lock. */
typedef struct bfs_call {
    struct bfs_call *next; /* the calls of one Run */
    bfs_link        *link;
    void            *out;
    void            *in;
    uint64_t         out_bytes, in_bytes;
    bfs_group       *group;
    uint64_t         id;
    uint64_t         received;
    uint32_t         slot;
    uint32_t         header_bytes, reply_bytes;
    int32_t          kind, state, parts, outcome, status;
    int32_t          rendezvous; /* the send is one */
    uint8_t          header[BFS_FRAME_BYTES];
    uint8_t          reply[BFS_FRAME_BYTES];
} bfs_call;

typedef struct bfs_cancel {
    uint64_t id, client;
    uint32_t session, reserved;
} bfs_cancel;

typedef struct bfs_client_stats {
    uint64_t calls, late_replies, bad_replies, timeouts, abandoned, sleeps;
} bfs_client_stats;

struct bfs_client {
    bfs_worker       worker;
    pthread_mutex_t  lock;    /* guards everything below, and every use of the worker */
    uint32_t         want;    /* atomic: threads that wait for the lock while somebody drives */
    int32_t          driving; /* a thread makes progress for all */
    int32_t          retired; /* atomic: never progressed again */
    int32_t          stale;   /* atomic: no new links any more, see bfs_link_close */
    int32_t          doomed;  /* links have failed whose endpoints are to be closed, outside of callbacks */
    uint32_t         runners; /* threads inside bfs_run */
    bfs_group       *waiting; /* groups whose threads sleep */
    bfs_group       *sleeper; /* the one of them that sleeps on the event descriptor, or NULL */
    int              kick_fd; /* eventfd that wakes it, and that nobody else reads */
    uint32_t         spin;    /* polls in vain before a thread sleeps */
    bfs_call       **slots;
    uint32_t         slot_count, slot_capacity;
    uint32_t        *free_slots;
    uint32_t         free_slot_count;
    bfs_link        *links;
    uint64_t         rendezvous_bytes, rendezvous_tcp_bytes;
    bfs_client_stats stats;
};

bfs_client *bfs_client_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            uint32_t spin, int *status);
void        bfs_client_retire(bfs_client *client); /* calls in flight end with BFS_CLOSED */
void        bfs_client_close(bfs_client *client);  /* retires, waits for the runners, destroys the worker */
void        bfs_client_bury(
           bfs_client        *
        client); /* destroys the worker of a client that is retired, or stale and without links, and that nobody runs on */
void         bfs_client_free(bfs_client *client); /* after close, when nobody knows the client or its links any more */
void        *bfs_alloc(size_t bytes);             /* zeroed, on a page boundary; freed with free */
bfs_call    *bfs_call_new(void);
void         bfs_call_free(bfs_call *call);
int          bfs_call_attach(bfs_client *client, bfs_call *call); /* → 0, or −1 when there is no slot left */
void         bfs_call_detach(bfs_client *client, bfs_call *call);
void         bfs_run(bfs_client *client, bfs_call *first, int64_t budget_ns);
bfs_link    *bfs_link_by_address(bfs_client *client, const uint8_t *address, size_t bytes, int *status);
void         bfs_link_describe(bfs_link *link);
void         bfs_link_abort(bfs_link *link); /* ends what waits for the link; from any thread */
void         bfs_link_close(bfs_link *link);
ucs_status_t bfs_link_send_raw(bfs_link *link, unsigned am, const void *header, size_t header_bytes);
void         bfs_client_progress(bfs_client *client);
void         bfs_client_read_stats(bfs_client *client, bfs_client_stats *stats);

/* ---- the server ---- */

typedef struct bfs_server bfs_server;

enum {
    BFS_PEER_FREE,
    BFS_PEER_OPEN,
    BFS_PEER_CLOSED
};

/*
 * A way back to one link of one client: an endpoint made to the address that a Hello brought. It lives as long as the link, beyond its
 * sessions: UCX drops without a word what arrives for an endpoint that is closed, so that the client could neither be told
 * that its session is gone nor say Hello again.
 */
typedef struct bfs_conn {
    ucp_ep_h         ep;
    bfs_server      *server;
    struct bfs_conn *next;
    uint64_t         link; /* its number */
    uint64_t         rendezvous_bytes;
    uint32_t         peers; /* sessions on it */
    int32_t          condemned, shut;
    char             transport[128];
} bfs_conn;

/* A session. */
typedef struct bfs_peer {
    bfs_conn   *conn;
    bfs_server *server;
    uint64_t    client;
    uint32_t    session, index, generation, in_flight;
    int32_t     state, failed;
} bfs_peer;

enum {
    BFS_EVENT_REQUEST,
    BFS_EVENT_HELLO,
    BFS_EVENT_RECEIVED,
    BFS_EVENT_REPLIED,
    BFS_EVENT_GONE
};

typedef struct bfs_event {
    uint32_t kind, index; /* of the request; GONE: of the peer */
    int32_t  status;
    uint32_t session; /* GONE: tells a slot's occupants apart */
} bfs_event;

/* ORPHAN: Go is through with it, UCX still refers to it. */
enum {
    BFS_REQ_FREE,
    BFS_REQ_LIVE,
    BFS_REQ_REPLYING,
    BFS_REQ_REPLIED,
    BFS_REQ_ORPHAN
};
enum {
    BFS_DATA_NONE,
    BFS_DATA_EAGER,
    BFS_DATA_WAITS,
    BFS_DATA_MOVING,
    BFS_DATA_MOVED,
    BFS_DATA_REVOKED
};

/* One request. Go writes the reply into it and chains it into the outbox. */
typedef struct bfs_req {
    struct bfs_req *next;
    bfs_server     *server;
    bfs_peer       *peer;
    void           *data; /* UCX's descriptor: the payload itself when eager */
    uint64_t        data_bytes;
    int64_t         expires; /* a payload that waits at the sender must not be fetched after this; 0 = may */
    void           *bulk;
    uint64_t        bulk_bytes;
    uint32_t        index, header_bytes, reply_bytes;
    int32_t         state, data_state, has_bulk;
    int32_t         held; /* operations of UCX that still refer to this request although they were reported as ended */
    ucp_ep_h        hello_ep; /* where a Hello came by; may be gone since */
    void           *hello;    /* buffer for a Hello's payload that came by rendezvous */
    uint8_t         header[BFS_FRAME_BYTES];
    uint8_t         reply[BFS_FRAME_BYTES];
} bfs_req;

typedef struct bfs_server_stats {
    uint64_t requests, replies, bytes_in, bytes_out, garbage, no_session, hellos, cancels, expired, peers_gone, dropped;
    uint64_t connections, closed_connections, peers;
} bfs_server_stats;

struct bfs_server {
    bfs_worker       worker;
    bfs_gate        *gate;
    bfs_event       *events, *spare; /* spare: the batch that Go reads now */
    uint32_t         event_count, event_capacity, spare_count, spare_capacity;
    bfs_req        **reqs;
    uint32_t         req_count, req_capacity;
    bfs_req         *free_reqs;
    bfs_req         *outbox, **outbox_end;
    bfs_req         *done; /* answered, and Go knows it: to be released */
    bfs_peer       **peers;
    uint32_t         peer_count, peer_capacity;
    bfs_conn        *conns;
    uint32_t         condemned; /* connections to be closed as soon as no callback is on the stack */
    uint64_t         rendezvous_bytes, rendezvous_tcp_bytes;
    bfs_server_stats stats;
};

/* ---- am_server.c ---- */

ucs_status_t bfs_am_serve(bfs_server *server); /* its worker takes messages */
void         bfs_server_flush(bfs_server *server);
int          bfs_req_recv(bfs_req *req, void *dst); /* → 1 done, 0 later, < 0 ucs_status_t */
void         bfs_req_release(bfs_req *req);

/* ---- conn.c ---- */

bfs_peer *bfs_peer_open(bfs_server *server, uint64_t client, bfs_conn *conn);
bfs_peer *bfs_peer_of(bfs_server *server, uint32_t session, uint64_t client);
void      bfs_peer_close(bfs_peer *peer);
void      bfs_peer_unused(bfs_peer *peer);                /* closed, and its last request is gone */
bfs_conn *bfs_conn_of(bfs_server *server, ucp_ep_h ep);   /* NULL: none */
bfs_conn *bfs_conn_to(bfs_server *server, uint64_t link); /* NULL: none */
bfs_conn *bfs_conn_get(bfs_server *server, uint64_t link, const uint8_t *address,
                       ucp_ep_h from); /* likewise, or a new one */
void      bfs_condemn(bfs_conn    *conn,
                      ucs_status_t status);   /* it is to be closed; its sessions have failed. CANCELED: in order */
void      bfs_conn_sweep(bfs_server *server); /* closes the condemned; in no callback */
void      bfs_conn_close_all(bfs_server *server);

/* ---- server.c ---- */

bfs_server *bfs_server_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            int *status);
void        bfs_server_close(bfs_server *server);
int         bfs_server_listen(bfs_server *server, const struct sockaddr_storage *address, socklen_t bytes, char *actual,
                              size_t actual_bytes);
/* Looks up to polls times for messages; → whether anything has happened. The events are in spare then. */
int  bfs_server_poll(bfs_server *server, uint32_t polls);
int  bfs_server_arm(bfs_server *server); /* → 1: what comes makes the event descriptor readable; 0: poll first */
void bfs_server_drain(bfs_server *server, int64_t budget_ns);
void bfs_event_add(bfs_server *server, uint32_t kind, uint32_t index, ucs_status_t status, uint32_t session);

/* ---- little-endian fields of a frame ---- */

static inline uint16_t bfs_get16(const uint8_t *b)
{
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t bfs_get32(const uint8_t *b)
{
    return bfs_get16(b) | (uint32_t)bfs_get16(b + 2) << 16;
}
static inline uint64_t bfs_get64(const uint8_t *b)
{
    return bfs_get32(b) | (uint64_t)bfs_get32(b + 4) << 32;
}
static inline void bfs_put16(uint8_t *b, uint16_t v)
{
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}
static inline void bfs_put32(uint8_t *b, uint32_t v)
{
    bfs_put16(b, (uint16_t)v);
    bfs_put16(b + 2, (uint16_t)(v >> 16));
}
static inline void bfs_put64(uint8_t *b, uint64_t v)
{
    bfs_put32(b, (uint32_t)v);
    bfs_put32(b + 4, (uint32_t)(v >> 32));
}

enum {
    BFS_AT_TYPE    = 6,
    BFS_AT_ID      = 8,
    BFS_AT_CLIENT  = 24,
    BFS_AT_SESSION = 32,
    BFS_AT_STATUS  = 40
};
enum {
    BFS_AT_ERRNO   = 44,
    BFS_AT_BODY    = 48,
    BFS_AT_TIMEOUT = 52,
    BFS_AT_BULK    = 56
};

/* Whether a frame is whole and well-formed, as rpc.Header.Parse and the bulk payload's length say. */
static inline int bfs_frame_ok(const uint8_t *frame, size_t bytes, size_t bulk, int kind)
{
    return bytes >= BFS_HEADER_BYTES && bytes <= BFS_FRAME_BYTES && bfs_get32(frame) == BFS_MAGIC &&
           frame[4] == BFS_VERSION && frame[5] == kind && bfs_get32(frame + BFS_AT_BODY) == bytes - BFS_HEADER_BYTES &&
           bfs_get64(frame + BFS_AT_BULK) == bulk;
}

#pragma GCC visibility pop

#endif
