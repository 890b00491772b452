/*
 * The client's side of active messages: calls are posted, progressed and matched here, within one bfs_run.
 *
 * Any number of threads may be in bfs_run. One at a time drives: it holds the lock, makes progress for all, and lets
 * others in between two polls. The rest wait on a futex; the driver that leaves wakes the next. A driver that sleeps on
 * the worker's event descriptor holds neither the lock nor the driver's seat: who comes then drives, and wakes the sleeper
 * when it leaves, because it may have taken the event that the sleeper was armed for.
 *
 * A call has up to three parts: the reply, the send (it ends when UCX no longer reads out), the fetch of a rendezvous
 * payload (until it ends UCX writes into in). The call is over when all parts are. UCX 1.13 cannot cancel an active
 * message, so a call past its deadline is led out in steps: see bfs_expire.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* The calls of one bfs_run; lives on the stack of its thread. */
struct bfs_group {
    bfs_call  *first;
    uint32_t   pending; /* calls that are not over */
    uint32_t   word;    /* futex: 1 = look again */
    int        queued;  /* in client->waiting */
    int        polling; /* asleep on the event descriptor, not on the futex */
    int        phase;   /* of bfs_expire */
    int64_t    budget, deadline;
    int64_t    look; /* when to look next whether the servers live; 0: not waiting for long yet */
    bfs_group *next;
};

static uint64_t bfs_sequence; /* atomic: of the process; never reused, so neither is a call's id */

/*
 * What tells this link from all others of the process, by which a server knows the process: also from those of the program that it was before
 * an exec, and of another copy of this library.
 */
static uint64_t bfs_link_number(void)
{
    static uint64_t count; /* atomic */
    uint64_t        number;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) == sizeof(number))
        return number;
    return ((uint64_t)bfs_now() << 16) + __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
}

static void bfs_lock(bfs_client *client)
{
    if (pthread_mutex_trylock(&client->lock) == 0)
        return;
    __atomic_add_fetch(&client->want, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&client->lock);
    __atomic_sub_fetch(&client->want, 1, __ATOMIC_RELAXED);
}

static void bfs_unlock(bfs_client *client)
{
    pthread_mutex_unlock(&client->lock);
}

/* The driver steps aside for threads that want to post. */
static void bfs_let_in(bfs_client *client)
{
    bfs_unlock(client);
    for (int i = 0; i < 200 && __atomic_load_n(&client->want, __ATOMIC_RELAXED) != 0; i++)
        bfs_relax();
    if (__atomic_load_n(&client->want, __ATOMIC_RELAXED) != 0)
        sched_yield();
    pthread_mutex_lock(&client->lock);
}

static void bfs_enqueue(bfs_client *client, bfs_group *group)
{
    bfs_group **end = &client->waiting;
    while (*end != NULL)
        end = &(*end)->next;
    *end          = group;
    group->next   = NULL;
    group->queued = 1;
}

static void bfs_dequeue(bfs_client *client, bfs_group *group)
{
    for (bfs_group **p = &client->waiting; *p != NULL; p = &(*p)->next) {
        if (*p == group) {
            *p = group->next;
            break;
        }
    }
    group->queued = 0;
}

static void bfs_wake(bfs_client *client, bfs_group *group)
{
    if (!group->queued)
        return;
    if (group->polling) {
        ucp_worker_signal(client->worker.ucp);
        return;
    }
    __atomic_store_n(&group->word, 1, __ATOMIC_RELEASE);
    bfs_futex_wake(&group->word);
}

static int64_t bfs_deadline(bfs_group *group)
{
    if (group->deadline == 0) {
        int64_t now     = bfs_now();
        group->deadline = group->budget > INT64_MAX - now ? INT64_MAX : now + group->budget;
    }
    return group->deadline;
}

/* ---- the parts of a call ---- */

static void bfs_over(bfs_client *client, bfs_call *call, int state)
{
    bfs_group *group = call->group;
    call->state      = state;
    call->group      = NULL;
    if (--group->pending == 0)
        bfs_wake(client, group);
}

static void bfs_part_over(bfs_client *client, bfs_call *call, int part)
{
    call->parts &= ~part;
    if (call->parts == 0 && call->state == BFS_ACTIVE)
        bfs_over(client, call, BFS_IDLE);
}

/* The first thing that goes wrong is what the caller is told. */
static void bfs_blame(bfs_call *call, int outcome, ucs_status_t status)
{
    if (call->outcome == BFS_DONE) {
        call->outcome = outcome;
        call->status  = status;
    }
}

/* UCX may still refer to the call's buffers by name, but never touches them again: the memory of the call is set aside. */
static void bfs_give_up(bfs_client *client, bfs_call *call)
{
    if (call->parts & (BFS_PART_SEND | BFS_PART_RECV)) {
        client->stats.abandoned++;
        bfs_over(client, call, BFS_ZOMBIE);
    } else {
        bfs_over(client, call, BFS_IDLE);
    }
}

static void bfs_link_failed(bfs_client *client, bfs_link *link, ucs_status_t status)
{
    if (link->failed == UCS_OK)
        __atomic_store_n(&link->failed, (int32_t)status, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < client->slot_count; i++) {
        bfs_call *call = client->slots[i];
        if (call == NULL || call->state != BFS_ACTIVE || call->link != link)
            continue;
        bfs_blame(call, BFS_LOST, status);
        bfs_part_over(client, call, BFS_PART_REPLY);
    }
}

static void bfs_on_link_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    bfs_link *link = arg;
    (void)ep;
    bfs_link_failed(link->client, link, status);
}

/*
 * A transfer of the call has failed. Statuses that speak of the peer condemn the link: without UCX's error handling (on one
 * host) nothing else tells that the endpoint is of no more use before somebody looks at the process.
 */
static void bfs_lost(bfs_call *call, ucs_status_t status)
{
    bfs_link *link = call->link;
    bfs_blame(call, BFS_LOST, status);
    switch (status) {
    case UCS_ERR_ENDPOINT_TIMEOUT:
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_NOT_CONNECTED:
        if (link->failed == UCS_OK)
            __atomic_store_n(&link->failed, (int32_t)status, __ATOMIC_RELEASE);
        break;
    default:
        break;
    }
}

static void bfs_on_sent(void *request, ucs_status_t status, void *user)
{
    bfs_call *call = user;
    ucp_request_free(request);
    if (call->state != BFS_ACTIVE) {
        call->parts &= ~BFS_PART_SEND;
        return;
    }
    bfs_client *client = call->link->client;
    if (status != UCS_OK) {
        bfs_lost(call, status);
        call->parts &= ~BFS_PART_REPLY;
    }
    bfs_part_over(client, call, BFS_PART_SEND);
}

static void bfs_on_fetched(void *request, ucs_status_t status, size_t bytes, void *user)
{
    bfs_call *call = user;
    (void)bytes;
    ucp_request_free(request);
    if (call->state != BFS_ACTIVE) {
        call->parts &= ~BFS_PART_RECV;
        return;
    }
    if (status != UCS_OK)
        bfs_lost(call, status);
    bfs_part_over(call->link->client, call, BFS_PART_RECV);
}

/* A reply's payload that waits at the server is fetched straight into in. */
static void bfs_fetch(bfs_client *client, bfs_call *call, void *data, size_t bytes)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am   = bfs_on_fetched,
        .user_data    = call,
    };
    call->parts |= BFS_PART_RECV;
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(client->worker.ucp, data, call->in, bytes, &param);
    if (UCS_PTR_IS_PTR(request))
        return;
    if (UCS_PTR_IS_ERR(request))
        bfs_blame(call, BFS_FAILED, UCS_PTR_STATUS(request));
    call->parts &= ~BFS_PART_RECV; /* the reply's own part keeps the call alive */
}

static ucs_status_t bfs_on_reply(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    bfs_client *client = arg;
    if (!bfs_frame_ok(header, header_bytes, bytes, BFS_KIND_REPLY)) {
        client->stats.bad_replies++;
        return UCS_OK;
    }
    uint64_t  id   = bfs_get64((const uint8_t *)header + BFS_AT_ID);
    uint64_t  slot = id & ((1U << BFS_SLOT_BITS) - 1);
    bfs_call *call = slot < client->slot_count ? client->slots[slot] : NULL;
    if (call == NULL || call->state != BFS_ACTIVE || call->id != id || !(call->parts & BFS_PART_REPLY)) {
        client->stats.late_replies++;
        return UCS_OK;
    }
    memcpy(call->reply, header, header_bytes);
    call->reply_bytes = (uint32_t)header_bytes;
    if (bytes > call->in_bytes) {
        bfs_blame(call, BFS_TOO_LONG, UCS_ERR_MESSAGE_TRUNCATED);
    } else if (bytes > 0) {
        call->received = bytes;
        if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)
            bfs_fetch(client, call, data, bytes);
        else
            memcpy(call->in, data, bytes);
    }
    bfs_part_over(client, call, BFS_PART_REPLY);
    return UCS_OK;
}

/* ---- posting ---- */

static ucs_status_ptr_t bfs_send(bfs_call *call, bfs_group *group, const ucp_request_param_t *base)
{
    bfs_link           *link  = call->link;
    ucp_request_param_t param = *base;
    uint32_t            bytes = call->header_bytes;
    unsigned            am    = BFS_AM_REQUEST;
    call->id                  = __atomic_add_fetch(&bfs_sequence, 1, __ATOMIC_RELAXED) << BFS_SLOT_BITS | call->slot;
    bfs_put64(call->header + BFS_AT_ID, call->id);
    call->parts      = BFS_PART_REPLY | BFS_PART_SEND;
    call->rendezvous = call->out_bytes > 0 && call->out_bytes >= link->rendezvous_bytes;
    if (call->rendezvous && link->visible && link->mode == BFS_BY_SHM) {
        bfs_put64(call->header + bytes, (uint64_t)bfs_deadline(group));
        bytes += sizeof(uint64_t);
        am = BFS_AM_DATED;
    }
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_AM_SEND_FLAG_REPLY | (call->rendezvous ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER);
    return ucp_am_send_nbx(link->ep, am, call->header, bytes, call->out, call->out_bytes, &param);
}

static void bfs_post(bfs_client *client, bfs_group *group, bfs_call *call)
{
    bfs_link *link    = call->link;
    call->group       = group;
    call->outcome     = BFS_DONE;
    call->status      = UCS_OK;
    call->received    = 0;
    call->state       = BFS_ACTIVE;
    call->parts       = BFS_PART_SEND;
    call->rendezvous  = 0;
    call->reply_bytes = 0;
    if (client->retired || link->closed || link->failed != UCS_OK) {
        bfs_blame(call, link->failed != UCS_OK ? BFS_LOST : BFS_CLOSED, (ucs_status_t)link->failed);
        bfs_part_over(client, call, BFS_PART_SEND);
        return;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.send      = bfs_on_sent,
        .user_data    = call,
    };
    ucs_status_ptr_t request = NULL;
    switch (call->kind) {
    case BFS_CALL_RPC:
        request = bfs_send(call, group, &param);
        break;
    case BFS_CALL_FLUSH:
        request = ucp_ep_flush_nbx(link->ep, &param);
        break;
    case BFS_CALL_PUT:
        request = ucp_put_nbx(link->ep, call->out, call->out_bytes, call->remote_address, call->rkey, &param);
        break;
    case BFS_CALL_GET:
        request = ucp_get_nbx(link->ep, call->in, call->in_bytes, call->remote_address, call->rkey, &param);
        break;
    }
    if (UCS_PTR_IS_PTR(request))
        return;
    if (UCS_PTR_IS_ERR(request)) {
        bfs_lost(call, UCS_PTR_STATUS(request));
        call->parts &= ~BFS_PART_REPLY;
    }
    bfs_part_over(client, call, BFS_PART_SEND);
}

/* ---- the end of calls that do not end by themselves ---- */

static void bfs_retire_locked(bfs_client *client)
{
    if (client->retired)
        return;
    __atomic_store_n(&client->retired, 1, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < client->slot_count; i++) {
        bfs_call *call = client->slots[i];
        if (call == NULL || call->state != BFS_ACTIVE)
            continue;
        bfs_blame(call, BFS_CLOSED, UCS_ERR_CANCELED);
        bfs_give_up(client, call);
    }
}

/*
 * Fails the links of the group whose server, on this host, is dead. What is in our own receive queue is worked off first:
 * afterwards nobody is left who could read out or write in.
 */
static void bfs_bury_dead(bfs_client *client, bfs_group *group)
{
    for (bfs_call *call = group->first; call != NULL; call = call->next) {
        bfs_link *link = call->link;
        if (call->state != BFS_ACTIVE || !link->visible || !bfs_identity_dead(&link->remote))
            continue;
        for (int i = 0; i < 1000; i++)
            ucp_worker_progress(client->worker.ucp);
        bfs_link_failed(client, link, UCS_ERR_CONNECTION_RESET);
        if (link->mode != BFS_BY_SHM)
            continue; /* UCX ends these transfers itself */
        for (uint32_t i = 0; i < client->slot_count; i++) {
            bfs_call *other = client->slots[i];
            if (other != NULL && other->state == BFS_ACTIVE && other->link == link)
                bfs_give_up(client, other);
        }
    }
}

static void bfs_on_copy_sent(void *request, ucs_status_t status, void *user)
{
    (void)status;
    free(user);
    ucp_request_free(request);
}

/* Sends a copy of a small header, and forgets about it. */
static ucs_status_t bfs_send_copy(bfs_link *link, unsigned am, const void *header, size_t bytes, unsigned flags)
{
    void *copy = malloc(bytes + 1);
    if (copy == NULL)
        return UCS_ERR_NO_MEMORY;
    memcpy(copy, header, bytes);
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send      = bfs_on_copy_sent,
        .user_data    = copy,
        .flags        = UCP_AM_SEND_FLAG_EAGER | flags,
    };
    ucs_status_ptr_t request = ucp_am_send_nbx(link->ep, am, copy, bytes, NULL, 0, &param);
    if (UCS_PTR_IS_PTR(request))
        return UCS_OK;
    free(copy);
    return UCS_PTR_STATUS(request);
}

/* Tells the server that a payload it has not fetched yet must not be fetched any more; it answers by ending our send. */
static void bfs_send_cancel(bfs_call *call)
{
    bfs_cancel cancel = {
        .id      = call->id,
        .client  = bfs_get64(call->header + BFS_AT_CLIENT),
        .session = bfs_get32(call->header + BFS_AT_SESSION),
    };
    bfs_send_copy(call->link, BFS_AM_CANCEL, &cancel, sizeof(cancel), 0);
}

static void bfs_time_out(bfs_client *client, bfs_call *call)
{
    if (call->outcome == BFS_DONE) {
        client->stats.timeouts++;
        bfs_blame(call, BFS_TIMEOUT, UCS_ERR_TIMED_OUT);
    }
    if (call->kind == BFS_CALL_FLUSH) { /* no memory of the caller's in it */
        bfs_give_up(client, call);
        return;
    }
    if ((call->parts & BFS_PART_SEND) && call->rendezvous && call->link->failed == UCS_OK && !call->link->closed)
        bfs_send_cancel(call);
    bfs_part_over(client, call, BFS_PART_REPLY);
}

/* Ends every transfer of a link that its endpoint is able to end. */
static void bfs_cut(bfs_client *client, bfs_call *call)
{
    bfs_link *link = call->link;
    if (link->mode == BFS_BY_SHM) {
        bfs_retire_locked(client); /* such an endpoint cannot be closed by force */
        return;
    }
    if (!link->closed) {
        link->closed = 1;
        bfs_ep_close(link->ep, 1);
    }
    bfs_link_failed(client, link, UCS_ERR_CANCELED);
}

/*
 * The deadline of the group has passed. First the calls stop waiting for replies, and those without a transfer under way
 * are over. The others get BFS_GRACE_NS for it to end: a live server ends it at once. Then the link is cut, and if that
 * does not help either, the worker is given up: it is never progressed again, so that it touches no memory any more.
 */
static void bfs_expire(bfs_client *client, bfs_group *group)
{
    bfs_bury_dead(client, group);
    for (bfs_call *call = group->first; call != NULL; call = call->next) {
        if (call->state != BFS_ACTIVE)
            continue;
        if (group->phase == 0)
            bfs_time_out(client, call);
        else if (group->phase == 1)
            bfs_cut(client, call);
        else
            bfs_retire_locked(client);
    }
    group->phase++;
    group->deadline = bfs_now() + BFS_GRACE_NS;
}

/* ---- waiting ---- */

/* How long a sleeper sleeps before it looks around. Links whose server can be seen to die are looked at often. */
static int64_t bfs_nap(bfs_group *group)
{
    int64_t left = bfs_deadline(group) - bfs_now();
    return left < BFS_LIVENESS_NS ? (left > 0 ? left : 0) : BFS_LIVENESS_NS;
}

static void bfs_follow(bfs_client *client, bfs_group *group)
{
    group->word = 0;
    bfs_enqueue(client, group);
    int64_t nap = bfs_nap(group);
    bfs_unlock(client);
    for (int i = 0; i < 100 && __atomic_load_n(&group->word, __ATOMIC_ACQUIRE) == 0; i++)
        bfs_relax();
    if (__atomic_load_n(&group->word, __ATOMIC_ACQUIRE) == 0)
        bfs_futex_wait(&group->word, 0, nap);
    bfs_lock(client);
    bfs_dequeue(client, group);
    if (group->word == 0)
        bfs_bury_dead(client, group);
}

static void bfs_sleep(bfs_client *client, bfs_group *group)
{
    ucs_status_t status = ucp_worker_arm(client->worker.ucp);
    if (status != UCS_OK) /* something has happened meanwhile (or cannot be waited for): poll on */
        return;
    client->stats.driver_sleeps++;
    group->polling = 1;
    bfs_enqueue(client, group);
    int64_t nap = bfs_nap(group);
    bfs_unlock(client);
    int event = bfs_poll_fd(client->worker.event_fd, nap);
    bfs_lock(client);
    bfs_dequeue(client, group);
    group->polling = 0;
    if (!event)
        bfs_bury_dead(client, group);
}

/*
 * Looks after the servers now and then, for a driver that never comes to sleep: what a dead process has left in a worker's queues can keep it busy, or
 * from being armed, for ever. → whether the deadline has passed.
 */
static int bfs_look(bfs_client *client, bfs_group *group, int64_t now)
{
    if (group->look != 0 && now >= group->look)
        bfs_bury_dead(client, group);
    if (group->look == 0 || now >= group->look)
        group->look = now + BFS_LIVENESS_NS;
    return now >= bfs_deadline(group);
}

static void bfs_drive(bfs_client *client, bfs_group *group)
{
    bfs_waiter *waiter = &client->waiter;
    client->driving    = 1;
    waiter->idle       = 0;
    for (uint32_t polls = 1; group->pending > 0 && !client->retired; polls++) {
        unsigned progress = ucp_worker_progress(client->worker.ucp);
        if (group->pending == 0)
            break;
        if (__atomic_load_n(&client->want, __ATOMIC_RELAXED) != 0)
            bfs_let_in(client);
        if (polls % 1024 == 0 && bfs_look(client, group, bfs_now()))
            break;
        if (progress != 0) {
            waiter->idle = 0;
            continue;
        }
        int step = bfs_waiter_next(waiter);
        if (step == BFS_SPIN) {
            bfs_relax();
        } else if (step == BFS_YIELD) {
            bfs_unlock(client);
            int64_t now = bfs_yield(waiter);
            bfs_lock(client);
            if (bfs_look(client, group, now))
                break;
        } else {
            client->driving = 0;
            bfs_sleep(client, group);
            return;
        }
    }
    client->driving = 0;
}

void bfs_run(bfs_client *client, bfs_call *first, int64_t budget_ns)
{
    bfs_group group = {.first = first, .budget = budget_ns > 0 ? budget_ns : 1};
    bfs_lock(client);
    client->runners++;
    for (bfs_call *call = first; call != NULL; call = call->next)
        group.pending++;
    for (bfs_call *call = first; call != NULL; call = call->next) {
        client->stats.calls++;
        bfs_post(client, &group, call);
    }
    for (int round = 0; group.pending > 0; round++) {
        if (round > 0 && bfs_now() >= bfs_deadline(&group))
            bfs_expire(client, &group);
        else if (client->driving)
            bfs_follow(client, &group);
        else
            bfs_drive(client, &group);
    }
    client->runners--;
    if (!client->driving && client->waiting != NULL)
        bfs_wake(client, client->waiting);
    bfs_unlock(client);
}

/* Says good-bye and gives the endpoint up. */
static void bfs_leave(bfs_link *link)
{
    int sound    = link->failed == UCS_OK;
    link->closed = 1;
    if (sound)
        bfs_send_copy(link, BFS_AM_LEAVE, link->hello, sizeof(bfs_identity), 0);
    /* A dead process's endpoint with messages for it could never be flushed: it is left to the worker's end. */
    if (link->mode != BFS_BY_SHM || sound)
        bfs_ep_close(link->ep, !sound);
}

/* ---- calls and the client itself ---- */

bfs_call *bfs_call_new(void)
{
    bfs_call *call = aligned_alloc(64, (sizeof(bfs_call) + 63) / 64 * 64);
    if (call != NULL)
        memset(call, 0, sizeof(*call));
    return call;
}

void bfs_call_free(bfs_call *call)
{
    free(call);
}

/* Room for one more call; the list of free slots is as large as the table. */
static void bfs_grow_slots(bfs_client *client)
{
    uint32_t   capacity = client->slot_capacity ? client->slot_capacity * 2 : 64;
    bfs_call **slots    = realloc(client->slots, capacity * sizeof(*slots));
    if (slots == NULL)
        return;
    client->slots        = slots;
    uint32_t *free_slots = realloc(client->free_slots, capacity * sizeof(*free_slots));
    if (free_slots == NULL)
        return;
    client->free_slots    = free_slots;
    client->slot_capacity = capacity;
}

int bfs_call_attach(bfs_client *client, bfs_call *call)
{
    int result = -1;
    bfs_lock(client);
    if (!client->retired && client->free_slot_count == 0 && client->slot_count == client->slot_capacity &&
        client->slot_capacity < 1U << BFS_SLOT_BITS)
        bfs_grow_slots(client);
    if (client->free_slot_count > 0 || client->slot_count < client->slot_capacity) {
        call->slot = client->free_slot_count > 0 ? client->free_slots[--client->free_slot_count] : client->slot_count++;
        client->slots[call->slot] = call;
        result                    = 0;
    }
    bfs_unlock(client);
    return result;
}

void bfs_call_detach(bfs_client *client, bfs_call *call)
{
    bfs_lock(client);
    if (client->slots != NULL) {
        client->slots[call->slot]                     = NULL;
        client->free_slots[client->free_slot_count++] = call->slot;
    }
    bfs_unlock(client);
}

bfs_client *bfs_client_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            uint32_t spin_polls, uint32_t yield_polls, int *status)
{
    bfs_client *client = calloc(1, sizeof(*client));
    *status            = UCS_ERR_NO_MEMORY;
    if (client == NULL)
        return NULL;
    *status = bfs_worker_open(&client->worker, context->ucp, UCS_THREAD_MODE_SERIALIZED);
    if (*status != UCS_OK) {
        free(client);
        return NULL;
    }
    *status = bfs_worker_handle(&client->worker, BFS_AM_REPLY, bfs_on_reply, client, 0);
    if (*status != UCS_OK) {
        bfs_worker_close(&client->worker);
        free(client);
        return NULL;
    }
    pthread_mutex_init(&client->lock, NULL);
    bfs_waiter_init(&client->waiter, spin_polls, yield_polls);
    client->shared_memory        = context->shared_memory;
    client->rendezvous_bytes     = rendezvous_bytes;
    client->rendezvous_tcp_bytes = rendezvous_tcp_bytes;
    return client;
}

void bfs_client_retire(bfs_client *client)
{
    bfs_lock(client);
    bfs_retire_locked(client);
    bfs_unlock(client);
}

/* Waits for the threads inside bfs_run: all their calls are over, they only have to notice. */
static void bfs_wait_runners(bfs_client *client)
{
    struct timespec pause = {.tv_nsec = 50000};
    bfs_lock(client);
    while (client->runners > 0) {
        for (bfs_group *group = client->waiting; group != NULL; group = group->next)
            bfs_wake(client, group);
        bfs_unlock(client);
        nanosleep(&pause, NULL);
        bfs_lock(client);
    }
    bfs_unlock(client);
}

void bfs_client_close(bfs_client *client)
{
    bfs_client_retire(client);
    bfs_wait_runners(client);
    if (client->stats.abandoned == 0) { /* else progress could write into memory that is no longer ours */
        for (bfs_link *link = client->links; link != NULL; link = link->next) {
            if (!link->closed)
                bfs_leave(link);
        }
        for (int i = 0; i < 1000; i++)
            ucp_worker_progress(client->worker.ucp);
    }
    bfs_worker_close(&client->worker);
    bfs_lock(client);
    for (uint32_t i = 0; i < client->slot_count; i++) {
        if (client->slots[i] != NULL && client->slots[i]->state == BFS_ZOMBIE)
            free(client->slots[i]);
    }
    free(client->slots);
    free(client->free_slots);
    client->slots      = NULL;
    client->free_slots = NULL;
    client->slot_count = client->slot_capacity = client->free_slot_count = 0;
    bfs_unlock(client);
}

void bfs_client_free(bfs_client *client)
{
    for (bfs_link *link = client->links; link != NULL;) {
        bfs_link *next = link->next;
        free(link->hello);
        free(link);
        link = next;
    }
    pthread_mutex_destroy(&client->lock);
    free(client);
}

void bfs_client_progress(bfs_client *client)
{
    bfs_lock(client);
    for (int i = 0; i < 16 && !client->retired; i++)
        ucp_worker_progress(client->worker.ucp);
    bfs_unlock(client);
}

void bfs_client_read_stats(bfs_client *client, bfs_client_stats *stats)
{
    bfs_lock(client);
    *stats = client->stats;
    bfs_unlock(client);
}

/* ---- links ---- */

static bfs_link *bfs_link_new(bfs_client *client, int mode)
{
    bfs_link *link = calloc(1, sizeof(*link));
    if (link == NULL)
        return NULL;
    link->hello_bytes = client->worker.address_bytes;
    link->hello       = malloc(link->hello_bytes);
    if (link->hello == NULL) {
        free(link);
        return NULL;
    }
    memcpy(link->hello, client->worker.address, link->hello_bytes);
    bfs_identity *id       = (bfs_identity *)link->hello;
    id->flags              = (uint32_t)mode;
    id->link               = bfs_link_number();
    link->client           = client;
    link->mode             = mode;
    link->rendezvous_bytes = client->rendezvous_bytes;
    return link;
}

static bfs_link *bfs_link_keep(bfs_client *client, bfs_link *link, ucs_status_t status)
{
    if (status != UCS_OK) {
        free(link->hello);
        free(link);
        return NULL;
    }
    link->next    = client->links;
    client->links = link;
    return link;
}

bfs_link *bfs_link_by_address(bfs_client *client, const uint8_t *address, size_t bytes, int same_host, int *status)
{
    bfs_identity remote;
    *status = UCS_ERR_INVALID_ADDR;
    if (bytes <= sizeof(remote))
        return NULL;
    memcpy(&remote, address, sizeof(remote));
    if (remote.magic != BFS_IDENTITY_MAGIC || remote.address_bytes != bytes - sizeof(remote))
        return NULL;
    int visible = bfs_identity_visible(&remote);
    *status     = UCS_ERR_UNREACHABLE;
    if (visible && bfs_identity_dead(&remote))
        return NULL;
    *status        = UCS_ERR_NO_MEMORY;
    int       mode = same_host && client->shared_memory ? BFS_BY_SHM : BFS_BY_PEER;
    bfs_link *link = bfs_link_new(client, mode);
    if (link == NULL)
        return NULL;
    link->remote  = remote;
    link->visible = visible;
    bfs_lock(client);
    *status = client->retired ? UCS_ERR_CANCELED
                              : bfs_ep_by_address(client->worker.ucp, address + sizeof(remote), mode != BFS_BY_SHM,
                                                  bfs_on_link_failed, link, &link->ep);
    link    = bfs_link_keep(client, link, (ucs_status_t)*status);
    bfs_unlock(client);
    return link;
}

/* Reads from UCX what the link runs over, and chooses the rendezvous threshold by it. */
void bfs_link_describe(bfs_link *link)
{
    bfs_lock(link->client);
    if (!link->closed && link->failed == UCS_OK && !link->client->retired) {
        bfs_ep_transport(link->ep, link->transport, sizeof(link->transport));
        link->rendezvous_bytes =
            bfs_ep_only_tcp(link->transport) ? link->client->rendezvous_tcp_bytes : link->client->rendezvous_bytes;
    }
    bfs_unlock(link->client);
}

void bfs_link_abort(bfs_link *link)
{
    bfs_client *client = link->client;
    bfs_lock(client);
    if (!client->retired && !link->closed) {
        if (link->mode != BFS_BY_SHM) {
            link->closed = 1;
            bfs_ep_close(link->ep, 1);
        }
        bfs_link_failed(client, link, UCS_ERR_CANCELED);
        for (uint32_t i = 0; i < client->slot_count; i++) {
            bfs_call *call = client->slots[i];
            if (call != NULL && call->state == BFS_ACTIVE && call->link == link && call->kind == BFS_CALL_FLUSH)
                bfs_give_up(client, call);
        }
    }
    bfs_unlock(client);
}

void bfs_link_close(bfs_link *link)
{
    bfs_client *client = link->client;
    bfs_lock(client);
    if (!link->closed && !client->retired) {
        bfs_leave(link);
        bfs_link_failed(client, link, UCS_ERR_CANCELED);
        for (int i = 0; i < 16; i++)
            ucp_worker_progress(client->worker.ucp);
    }
    bfs_unlock(client);
}

/* Sends a header that nobody has checked: how tests play a defective client. */
ucs_status_t bfs_link_send_raw(bfs_link *link, unsigned am, const void *header, size_t header_bytes)
{
    bfs_lock(link->client);
    ucs_status_t status = link->closed || link->client->retired
                              ? UCS_ERR_CANCELED
                              : bfs_send_copy(link, am, header, header_bytes, UCP_AM_SEND_FLAG_REPLY);
    for (int i = 0; i < 100 && status == UCS_OK; i++)
        ucp_worker_progress(link->client->worker.ucp);
    bfs_unlock(link->client);
    return status;
}
