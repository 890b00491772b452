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
#include <ucp/api/ucp.h>

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
    BFS_AM_DATED = 2, /* frame + u64: the sender's deadline on the clock both share; a rendezvous request on one host */
    BFS_AM_CANCEL = 3, /* bfs_cancel: the sender waits no longer, its memory must not be read any more */
    BFS_AM_REPLY  = 4, /* frame */
    BFS_AM_LEAVE  = 5, /* bfs_identity: the link ends */
    BFS_AM_PROBE  = 6, /* two u64: a server to itself */
    BFS_AM_MOVED  = 7  /* u64, the link's number: the server has another worker address now */
};

enum {
    BFS_GRACE_NS      = 1000000000, /* how long after its deadline a call may still wait for a transfer to end */
    BFS_LIVENESS_NS   = 20000000,   /* a sleeping caller looks this often whether a server on its host still lives */
    BFS_LOOK_NS       = 1000000000, /* a shard looks this often after the clients of its host and its own queue */
    BFS_STUCK_NS      = 500000000,  /* a message to oneself that takes so long will never come */
    BFS_BUSY_NS       = 20000000,   /* a worker that has something to do, and does nothing for so long, is suspect */
    BFS_OLD_NAP_NS    = 2000000,    /* how long a shard sleeps that has an old worker, whose events wake nobody */
    BFS_DRAIN_POLLS   = 1000,       /* more than a queue of UCX's has places */
    BFS_BATCH         = 64,         /* events at once for Go */
    BFS_MAX_PEERS     = 1 << 20,
    BFS_STALE_MOST    = 1024, /* endpoints in a row that a client has left behind */
    BFS_SLOT_BITS     = 16,
    BFS_SPIN_MIN      = 10,  /* polls before a yield where others want the core */
    BFS_SPIN_PROMPT   = 200, /* polls of a shard before it sleeps, where somebody computes */
    BFS_SPIN_WORK     = 400, /* polls of a client there that are not halved any more */
    BFS_CROWD_MOST    = 32,
    BFS_WATCH_POLLS   = 16,   /* empty polls of the network between two looks at the service's own events */
    BFS_WORK_WAITS    = 1000, /* waits until a yield is tried again */
    BFS_WORK_TRY      = 16,   /* one of so many of them polls as long as it may */
    BFS_MOVE_FIRST    = 64,   /* dear yields in a row until a shard tries another core; twice as many each time… */
    BFS_MOVE_LAST     = 4096, /* …up to so many */
    BFS_MOVE_CHECK    = 512,  /* …or so many while no core is idle, which may change */
    BFS_TURN_LOST     = 16,   /* what a yield counts that cost somebody his turn; each that did not takes one off */
    BFS_TURNS_LOST    = 128,  /* so much says that it is no chance: more than one yield in sixteen, again and again */
    BFS_YIELD_WORK_NS = 1000000, /* a sched_yield that takes longer gave the core to somebody who computes */
    BFS_YIELD_DEAR_NS = 1000     /* a sched_yield that takes longer gave the core to somebody who wanted it */
};

/* ---- wait.c ---- */

/* What a poller does when there is nothing to do; the budget of polls shrinks when others want the core. */
typedef struct bfs_waiter {
    uint32_t spin_max, yield_max, spin_now, idle;
    uint32_t
        beside_work;     /* 0, or for how many waits more it is taken for certain that somebody computes on this core */
    uint32_t work_spin;  /* how many polls are worth it then */
    uint32_t in_vain;    /* the polls of the last wait were */
    uint32_t turns_lost; /* whether yields cost turns of somebody else's: 0 … BFS_TURNS_LOST */
    int32_t  prompt;     /* this thread may ask for short turns */
    uint32_t shared;     /* dear yields in a row */
    uint32_t move_at;    /* so many of them send it to another core */
    uint32_t crowd;      /* how many of the last yields were dear, roughly: 0 … BFS_CROWD_MOST */
    uint64_t yields, sleeps, moves; /* moves: to another core */
} bfs_waiter;

enum {
    BFS_SPIN,
    BFS_YIELD,
    BFS_SLEEP
};

void    bfs_waiter_init(bfs_waiter *waiter, uint32_t spin_polls, uint32_t yield_polls);
int     bfs_waiter_next(bfs_waiter *waiter);
int64_t bfs_yield(bfs_waiter *waiter); /* → the time afterwards */
int     bfs_move_on(void);             /* move.c: to another core; → 1 if the calling thread has moved */
int64_t bfs_now(void);                 /* CLOCK_MONOTONIC, ns */
void    bfs_futex_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns);
void    bfs_futex_wake(uint32_t *word);
int     bfs_poll_fd(int fd, int64_t timeout_ns);             /* → 1 readable, 0 not */
int     bfs_poll_fds(int fd, int other, int64_t timeout_ns); /* → 1 one of them is; a negative one is not looked at */

static inline void bfs_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* ---- identity of a process, put in front of every worker address ---- */

typedef struct bfs_identity {
    uint32_t magic, reserved;
    uint32_t pid, address_bytes;
    uint64_t pid_start, pid_namespace;
    uint64_t link; /* of this process; in a Hello */
    uint8_t  boot[16];
} bfs_identity;

enum {
    BFS_IDENTITY_MAGIC = 0x41534642 /* "BFSA" */
};

void bfs_identity_self(bfs_identity *id);
int  bfs_identity_visible(
     const bfs_identity *id);                  /* same boot and pid namespace as ours: its pid means something here */
int bfs_identity_dead(const bfs_identity *id); /* 1 only when it surely is */

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
    uint8_t     *address; /* bfs_identity, then UCX's own address */
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
void         bfs_ep_transport(ucp_ep_h ep, char *text, size_t bytes); /* "posix+cma", "tcp", … */
int          bfs_ep_only_tcp(const char *transport);
int bfs_resolve(const char *host, const char *port, int passive, struct sockaddr_storage *address, socklen_t *bytes,
                char *reason, size_t reason_bytes);
int bfs_socket_text(const struct sockaddr_storage *address, char *text, size_t bytes);

/* ---- gate.c ---- */

typedef struct bfs_gate bfs_gate;

bfs_gate *bfs_gate_open(const struct sockaddr_storage *address, socklen_t bytes, const uint8_t *worker,
                        uint32_t worker_bytes, struct sockaddr_storage *actual, int *err);
int       bfs_gate_answer(bfs_gate *gate, const uint8_t *worker, uint32_t worker_bytes);
void      bfs_gate_close(bfs_gate *gate);
uint64_t  bfs_gate_answered(bfs_gate *gate);
uint64_t  bfs_gate_refused(bfs_gate *gate);
/* Asks the gate at an address for the worker address behind it (to be freed); → 0 or an errno. */
int bfs_gate_ask(const struct sockaddr_storage *address, socklen_t bytes, int64_t budget_ns, uint8_t **worker,
                 uint32_t *worker_bytes);

/* ---- probe.c ---- */

/* UCX's transports over shared memory, as bits of a set. */
enum {
    BFS_KINDS = 3
};

uint32_t bfs_kinds_of(const char *transport);

/* Messages of a worker's owner to the worker over one of them. */
typedef struct bfs_probe {
    bfs_context  context; /* opened, with the worker, for the first one */
    bfs_worker   worker;
    ucp_ep_h     ep;
    ucp_worker_h target; /* where ep leads */
    uint64_t     sent, seen;
    int32_t      failed;
} bfs_probe;

/* All zero before the first. */
typedef struct bfs_probes {
    bfs_probe of[BFS_KINDS];
    uint64_t  secret; /* so that nobody else's are taken for ours */
    int64_t   sent_at;
} bfs_probes;

ucs_status_t bfs_probes_serve(bfs_probes *probes, bfs_worker *worker); /* the worker takes probes */
void         bfs_probes_send(bfs_probes *probes, uint32_t kinds, const bfs_worker *target);
int          bfs_probes_under_way(const bfs_probes *probes);
void         bfs_probes_forget(bfs_probes *probes);
int  bfs_probes_lost(bfs_probes *probes, const bfs_worker *target); /* one will never come: its queue is stuck */
void bfs_probes_close(bfs_probes *probes);

/* ---- the client: client.c, run.c, am_client.c ---- */

typedef struct bfs_client bfs_client;
typedef struct bfs_group  bfs_group;

typedef struct bfs_link {
    ucp_ep_h         ep;
    int32_t          failed; /* ucs_status_t, atomic: UCS_OK while alive */
    int32_t          closed; /* the endpoint is no longer ours */
    int32_t          moved;  /* atomic: the server has another address; calls under way may end */
    int32_t          visible;
    uint32_t         shared; /* how the server writes into our queues in shared memory: a set of kinds */
    uint64_t         rendezvous_bytes;
    bfs_identity     remote;
    uint8_t         *hello; /* what a Hello on this link carries */
    uint32_t         hello_bytes;
    bfs_client      *client;
    struct bfs_link *next;
    char             transport[128];
} bfs_link;

enum {
    BFS_CALL_RPC,
    BFS_CALL_FLUSH,
    BFS_CALL_PUT,
    BFS_CALL_GET
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
    uint64_t         remote_address; /* PUT, GET */
    ucp_rkey_h       rkey;
    bfs_group       *group;
    uint64_t         id;
    uint64_t         received;
    uint32_t         slot;
    uint32_t         header_bytes, reply_bytes;
    int32_t          kind, state, parts, outcome, status;
    int32_t          rendezvous; /* the send is one */
    uint8_t          header[BFS_FRAME_BYTES + 8];
    uint8_t          reply[BFS_FRAME_BYTES];
} bfs_call;

typedef struct bfs_cancel {
    uint64_t id, client;
    uint32_t session, reserved;
} bfs_cancel;

typedef struct bfs_client_stats {
    uint64_t calls, late_replies, bad_replies, timeouts, abandoned, driver_sleeps;
} bfs_client_stats;

struct bfs_client {
    bfs_worker       worker;
    pthread_mutex_t  lock;    /* guards everything below, and every use of the worker */
    uint32_t         want;    /* atomic: threads that wait for the lock while somebody drives */
    int32_t          driving; /* a thread makes progress for all */
    int32_t          retired; /* atomic: never progressed again */
    int32_t          doomed;  /* links have failed whose endpoints are to be closed, outside of callbacks */
    bfs_probes       probes;
    uint32_t         writers; /* how servers write, or have written, into our queues */
    uint32_t         runners; /* threads inside bfs_run */
    bfs_group       *waiting; /* groups whose threads wait for the driver or sleep on the event descriptor */
    bfs_waiter       waiter;
    bfs_call       **slots;
    uint32_t         slot_count, slot_capacity;
    uint32_t        *free_slots;
    uint32_t         free_slot_count;
    bfs_link        *links;
    uint64_t         rendezvous_bytes, rendezvous_tcp_bytes;
    bfs_client_stats stats;
};

bfs_client  *bfs_client_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                             uint32_t spin_polls, uint32_t yield_polls, int *status);
void         bfs_client_retire(bfs_client *client); /* calls in flight end with BFS_CLOSED */
void         bfs_client_close(bfs_client *client);  /* retires, waits for the runners, destroys the worker */
void         bfs_client_bury(bfs_client *client);   /* destroys the worker of a retired client that nobody runs on */
void         bfs_client_free(bfs_client *client); /* after close, when nobody knows the client or its links any more */
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

/* A worker of a server: the one in use, or one that it has moved away from. See renew.c. */
typedef struct bfs_port {
    bfs_worker       worker;
    bfs_server      *server;
    struct bfs_port *next;
    uint32_t         conns, reqs; /* that refer to it */
    int32_t          told;        /* its clients know that the server has moved */
} bfs_port;

/*
 * A way back to one link of one client: an endpoint made to the address that a Hello brought. It lives as long as the link, beyond its
 * sessions: UCX drops without a word what arrives for an endpoint that is closed, so that the client could neither be told
 * that its session is gone nor say Hello again.
 */
typedef struct bfs_conn {
    ucp_ep_h         ep;
    bfs_server      *server;
    bfs_port        *port;
    struct bfs_conn *next;
    bfs_identity     remote;
    uint64_t         rendezvous_bytes;
    uint32_t         peers;   /* sessions on it */
    int32_t          visible; /* the process can be looked at */
    uint32_t         shared;  /* how it writes into our queues in shared memory: a set of kinds */
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
    BFS_EVENT_GONE,
    BFS_EVENT_MOVED /* the server has another address */
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
    bfs_port       *port; /* where it came in */
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
    uint64_t connections, closed_connections, sleeps, yields, core_moves, probes, moves, stale_endpoints;
    uint64_t peers;
} bfs_server_stats;

struct bfs_server {
    bfs_context *context;
    bfs_port    *port; /* in use */
    bfs_port    *old;
    bfs_gate    *gate;
    bfs_waiter   waiter;
    bfs_event   *events, *spare; /* spare: the batch that Go reads now */
    uint32_t     event_count, event_capacity, spare_count, spare_capacity;
    bfs_req    **reqs;
    uint32_t     req_count, req_capacity;
    bfs_req     *free_reqs;
    bfs_req     *outbox, **outbox_end;
    bfs_req     *done; /* answered, and Go knows it: to be released */
    bfs_peer   **peers;
    uint32_t     peer_count, peer_capacity;
    bfs_conn    *conns;
    uint32_t     condemned; /* connections to be closed as soon as no callback is on the stack */
    uint32_t     rounds;
    uint32_t     visible_conns, shared_conns;
    uint32_t     wake;       /* atomic: Submit or Stop wants the loop to return */
    uint32_t     asleep;     /* atomic */
    int32_t      watch_fd;   /* the service's own events, or −1 */
    int32_t      watch_busy; /* it waits for some: Go wants to look for them now and then, and a sleep ends with them */
    int32_t      idle_turn;  /* the last poll ended for that, or for a wake-up: it says nothing about the network */
    int64_t      next_look;
    int64_t      busy_since; /* 0: the worker is not suspect */
    uint32_t     suspects;   /* queues that somebody who died may have left stuck: a set of kinds */
    uint32_t     asked;      /* those of them that a probe was sent to */
    bfs_probes   probes;
    uint64_t     rendezvous_bytes, rendezvous_tcp_bytes;
    bfs_server_stats stats;
};

/* ---- am_server.c ---- */

ucs_status_t bfs_am_serve(bfs_port *port); /* a worker takes messages */
void         bfs_server_flush(bfs_server *server);
int          bfs_req_recv(bfs_req *req, void *dst); /* → 1 done, 0 later, < 0 ucs_status_t */
void         bfs_req_release(bfs_req *req);

/* ---- conn.c ---- */

bfs_peer *bfs_peer_open(bfs_server *server, uint64_t client, bfs_conn *conn);
bfs_peer *bfs_peer_of(bfs_server *server, uint32_t session, uint64_t client);
void      bfs_peer_close(bfs_peer *peer);
void      bfs_peer_unused(bfs_peer *peer);                         /* closed, and its last request is gone */
bfs_conn *bfs_conn_of(bfs_server *server, ucp_ep_h ep);            /* NULL: none */
bfs_conn *bfs_conn_to(bfs_server *server, const bfs_identity *id); /* to one link of one process; NULL: none */
bfs_conn *bfs_conn_get(bfs_port *port, const bfs_identity *id, const uint8_t *address,
                       ucp_ep_h from); /* likewise, or a new one */
void      bfs_condemn(bfs_conn    *conn,
                      ucs_status_t status);   /* it is to be closed; its sessions have failed. CANCELED: in order */
void      bfs_conn_sweep(bfs_server *server); /* closes the condemned; in no callback */
void      bfs_conn_close_all(bfs_server *server);

/* ---- slice.c ---- */

void bfs_short_turns(int wanted); /* of the calling thread */

/* ---- renew.c ---- */

bfs_port *bfs_port_open(bfs_server *server, ucs_status_t *status);
void      bfs_port_close(bfs_port *port);
unsigned  bfs_ports_progress(bfs_server *server);
void      bfs_ports_sweep(bfs_server *server); /* closes the old ones that nothing refers to */
void      bfs_server_look(bfs_server *server);
void      bfs_server_busy(bfs_server *server);
void      bfs_server_tell_moved(bfs_server *server); /* after BFS_EVENT_MOVED, when the new address is published */

/* ---- server.c ---- */

bfs_server *bfs_server_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            int *status);
void        bfs_server_close(bfs_server *server);
int         bfs_server_listen(bfs_server *server, const struct sockaddr_storage *address, socklen_t bytes, char *actual,
                              size_t actual_bytes);
/* Looks up to polls times for messages; → whether anything has happened. The events are in spare then. */
int      bfs_server_poll(bfs_server *server, uint32_t polls);
int      bfs_server_arm(bfs_server *server); /* → 1: what comes makes the event descriptor readable; 0: poll first */
void     bfs_server_drain(bfs_server *server, int64_t budget_ns);
void     bfs_event_add(bfs_server *server, uint32_t kind, uint32_t index, ucs_status_t status, uint32_t session);

/* ---- memory.c ---- */

typedef struct bfs_memory {
    ucp_mem_h handle;
    void     *address;
    uint64_t  bytes;
    void     *key;
    uint64_t  key_bytes;
} bfs_memory;

void        *bfs_alloc(size_t bytes);
ucs_status_t bfs_memory_open(bfs_context *context, void *address, size_t bytes, bfs_memory *memory);
void         bfs_memory_close(bfs_context *context, bfs_memory *memory);
ucs_status_t bfs_rkey_open(bfs_link *link, const void *key, ucp_rkey_h *rkey);
void         bfs_rkey_close(bfs_client *client, ucp_rkey_h rkey);

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
