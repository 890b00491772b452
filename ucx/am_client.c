/*
 * The client's side of active messages: how calls are posted, what their callbacks do, and how links end. Callbacks run inside
 * ucp_worker_progress, under the client's lock.
 *
 * A call has up to three parts: the reply, the send (it ends when UCX no longer reads out), the fetch of a rendezvous payload
 * (until it ends UCX writes into in). The call is over when all parts are.
 */
#define _GNU_SOURCE
#include "client.h"

#include <string.h>

static uint64_t bfs_sequence; /* atomic: of the process; never reused, so neither is a call's id */

/* ---- the parts of a call ---- */

void bfs_over(bfs_client *client, bfs_call *call, int state)
{
    bfs_group *group = call->group;
    call->state      = state;
    call->group      = NULL;
    if (--group->pending == 0)
        bfs_group_wake(client, group);
}

void bfs_part_over(bfs_client *client, bfs_call *call, int part)
{
    call->parts &= ~part;
    if (call->parts == 0 && call->state == BFS_ACTIVE)
        bfs_over(client, call, BFS_IDLE);
}

/* The first thing that goes wrong is what the caller is told. */
void bfs_blame(bfs_call *call, int outcome, ucs_status_t status)
{
    if (call->outcome == BFS_DONE) {
        call->outcome = outcome;
        call->status  = status;
    }
}

/* UCX may still refer to the call's buffers by name, but never touches them again: the memory of the call is set aside. */
void bfs_give_up(bfs_client *client, bfs_call *call)
{
    if (call->parts & (BFS_PART_SEND | BFS_PART_RECV)) {
        client->stats.abandoned++;
        bfs_over(client, call, BFS_ZOMBIE);
    } else {
        bfs_over(client, call, BFS_IDLE);
    }
}

/* ---- links that fail, and the worker with them ---- */

/* The link is of no more use. Its endpoint is closed by bfs_progress, outside of UCX's callbacks. */
static void bfs_link_blame(bfs_link *link, ucs_status_t status)
{
    if (link->failed == UCS_OK)
        __atomic_store_n(&link->failed, (int32_t)status, __ATOMIC_RELEASE);
    link->client->doomed = 1;
}

void bfs_link_failed(bfs_client *client, bfs_link *link, ucs_status_t status)
{
    bfs_link_blame(link, status);
    for (uint32_t i = 0; i < client->slot_count; i++) {
        bfs_call *call = client->slots[i];
        if (call == NULL || call->state != BFS_ACTIVE || call->link != link)
            continue;
        bfs_blame(call, BFS_LOST, status);
        bfs_part_over(client, call, BFS_PART_REPLY);
    }
}

void bfs_on_link_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    bfs_link *link = arg;
    (void)ep;
    bfs_link_failed(link->client, link, status);
}

/* Closing by force ends every transfer of the link: their callbacks come now or with the next progress. */
void bfs_link_shut(bfs_link *link)
{
    if (link->closed)
        return;
    link->closed = 1;
    bfs_ep_close(link->ep, 1);
}

/* Says good-bye where that can be heard. Closing by force is for transfers that are to end here and now. */
void bfs_leave(bfs_link *link, int force)
{
    if (link->closed)
        return;
    if (link->failed == UCS_OK)
        bfs_ep_send_copy(link->ep, BFS_AM_LEAVE, &link->number, sizeof(link->number), 0);
    link->closed = 1;
    bfs_ep_close(link->ep, force || link->failed != UCS_OK);
}

/* Whether a transfer has outlived the endpoint that it was on. */
static int bfs_dangling(const bfs_client *client)
{
    for (uint32_t i = 0; i < client->slot_count; i++) {
        const bfs_call *call = client->slots[i];
        if (call != NULL && call->state == BFS_ACTIVE && call->link->closed && call->link->failed != UCS_OK)
            return 1;
    }
    return 0;
}

/*
 * Closes the endpoints of links that have failed, and sees their transfers end. UCX 1.13 forgets some (a rendezvous whose
 * receiver has begun to ask for pieces): then the worker has to go, because nobody could say when it stops to read the
 * caller's memory.
 */
static void bfs_sweep_links(bfs_client *client)
{
    client->doomed = 0;
    for (bfs_link *link = client->links; link != NULL; link = link->next) {
        if (link->failed != UCS_OK)
            bfs_link_shut(link);
    }
    for (int i = 0; i < BFS_DRAIN_POLLS && bfs_dangling(client); i++)
        ucx.ucp_worker_progress(client->worker.ucp);
    if (bfs_dangling(client))
        bfs_give_worker_up(client);
}

unsigned bfs_progress(bfs_client *client)
{
    unsigned progress = ucx.ucp_worker_progress(client->worker.ucp);
    if (client->doomed)
        bfs_sweep_links(client);
    return progress;
}

void bfs_retire_locked(bfs_client *client)
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

/* Gives the worker up. The servers are told first, so that they fetch nothing more of calls that end here. */
void bfs_give_worker_up(bfs_client *client)
{
    if (client->retired)
        return;
    for (uint32_t i = 0; i < client->slot_count; i++) {
        bfs_call *call = client->slots[i];
        if (call == NULL || call->state != BFS_ACTIVE)
            continue;
        bfs_blame(call, BFS_CLOSED, UCS_ERR_CANCELED);
        bfs_part_over(client, call, BFS_PART_REPLY);
    }
    for (bfs_link *link = client->links; link != NULL; link = link->next)
        bfs_leave(link, 1);
    for (int i = 0; i < BFS_DRAIN_POLLS; i++)
        ucx.ucp_worker_progress(client->worker.ucp);
    bfs_retire_locked(client);
}

/* ---- callbacks ---- */

/* A transfer of the call has failed. Statuses that speak of the peer condemn the link. */
static void bfs_lost(bfs_call *call, ucs_status_t status)
{
    bfs_link *link = call->link;
    bfs_blame(call, BFS_LOST, status);
    switch (status) {
    case UCS_ERR_ENDPOINT_TIMEOUT:
    case UCS_ERR_CONNECTION_RESET:
    case UCS_ERR_UNREACHABLE:
    case UCS_ERR_NOT_CONNECTED:
        bfs_link_blame(link, status);
        break;
    default:
        break;
    }
}

static void bfs_on_sent(void *request, ucs_status_t status, void *user)
{
    bfs_call *call = user;
    ucx.ucp_request_free(request);
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
    ucx.ucp_request_free(request);
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
    ucs_status_ptr_t request = ucx.ucp_am_recv_data_nbx(client->worker.ucp, data, call->in, bytes, &param);
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
    call->link->answered = 1;
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

ucs_status_t bfs_am_answer(bfs_client *client)
{
    return bfs_worker_handle(&client->worker, BFS_AM_REPLY, bfs_on_reply, client, 0);
}

/* ---- posting ---- */

static ucs_status_ptr_t bfs_send(bfs_call *call, const ucp_request_param_t *base)
{
    bfs_link           *link  = call->link;
    ucp_request_param_t param = *base;
    call->id                  = __atomic_add_fetch(&bfs_sequence, 1, __ATOMIC_RELAXED) << BFS_SLOT_BITS | call->slot;
    bfs_put64(call->header + BFS_AT_ID, call->id);
    call->parts      = BFS_PART_REPLY | BFS_PART_SEND;
    call->rendezvous = call->out_bytes > 0 && call->out_bytes >= link->rendezvous_bytes;
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_AM_SEND_FLAG_REPLY | (call->rendezvous ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER);
    return ucx.ucp_am_send_nbx(link->ep, BFS_AM_REQUEST, call->header, call->header_bytes, call->out, call->out_bytes,
                               &param);
}

void bfs_post(bfs_client *client, bfs_group *group, bfs_call *call)
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
    ucs_status_ptr_t request =
        call->kind == BFS_CALL_FLUSH ? ucx.ucp_ep_flush_nbx(link->ep, &param) : bfs_send(call, &param);
    if (UCS_PTR_IS_PTR(request))
        return;
    if (UCS_PTR_IS_ERR(request)) {
        bfs_lost(call, UCS_PTR_STATUS(request));
        call->parts &= ~BFS_PART_REPLY;
    }
    bfs_part_over(client, call, BFS_PART_SEND);
}
