/*
 * How a thread sees its calls to their end.
 *
 * Any number of threads may be in bfs_run. One at a time drives: it holds the lock, makes progress for all, and lets others in
 * between two polls. With nothing to do, one sleeps on the worker's event descriptor, the sleeper, and the others sleep on a futex each.
 * Whoever comes meanwhile posts its calls, drives, arms the worker anew, and then sleeps as well: the sleeper hears of its replies. A thread
 * whose calls are over is woken by the driver; one that leaves wakes another, which drives then, and becomes the sleeper.
 *
 * UCX 1.13 cannot cancel an active message, so a call past its deadline is led out in steps: see bfs_expire.
 */
#define _GNU_SOURCE
#include "client.h"

#include <sched.h>

void bfs_lock(bfs_client *client)
{
    if (pthread_mutex_trylock(&client->lock) == 0)
        return;
    __atomic_add_fetch(&client->want, 1, __ATOMIC_RELAXED);
    pthread_mutex_lock(&client->lock);
    __atomic_sub_fetch(&client->want, 1, __ATOMIC_RELAXED);
}

void bfs_unlock(bfs_client *client)
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

void bfs_group_wake(bfs_client *client, bfs_group *group)
{
    if (!group->queued)
        return;
    if (group == client->sleeper) {
        bfs_kick(client->kick_fd);
        return;
    }
    __atomic_store_n(&group->word, 1, __ATOMIC_RELEASE);
    bfs_futex_wake(&group->word);
}

int64_t bfs_deadline(bfs_group *group)
{
    if (group->deadline == 0) {
        int64_t now     = bfs_now();
        group->deadline = group->budget > INT64_MAX - now ? INT64_MAX : now + group->budget;
    }
    return group->deadline;
}

/* ---- the end of calls that do not end by themselves ---- */

/* Tells the server that a payload it has not fetched yet must not be fetched any more; it answers by ending our send. */
static void bfs_send_cancel(bfs_call *call)
{
    bfs_cancel cancel = {
        .id      = call->id,
        .client  = bfs_get64(call->header + BFS_AT_CLIENT),
        .session = bfs_get32(call->header + BFS_AT_SESSION),
    };
    bfs_ep_send_copy(call->link->ep, BFS_AM_CANCEL, &cancel, sizeof(cancel), 0);
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

/*
 * The deadline of the group has passed. First the calls stop waiting for replies, and those without a transfer under way
 * are over. The others get BFS_GRACE_NS for it to end: a live server ends it at once. Then the link is cut, and if that
 * does not help either, the worker is given up: it is never progressed again, so that it touches no memory any more.
 */
static void bfs_expire(bfs_client *client, bfs_group *group)
{
    for (bfs_call *call = group->first; call != NULL; call = call->next) {
        if (call->state != BFS_ACTIVE)
            continue;
        if (group->phase == 0)
            bfs_time_out(client, call);
        else if (group->phase == 1)
            bfs_link_failed(client, call->link, UCS_ERR_CANCELED);
        else
            bfs_retire_locked(client);
    }
    if (client->doomed && !client->retired)
        bfs_progress(client);
    group->phase++;
    group->deadline = bfs_now() + BFS_GRACE_NS;
}

/* ---- waiting ---- */

/* How long a sleeper sleeps before it looks around. */
static int64_t bfs_nap(bfs_group *group)
{
    int64_t left = bfs_deadline(group) - bfs_now();
    return left < BFS_LOOK_NS ? left : BFS_LOOK_NS;
}

/* Sleeps until the calls are over, or there is nobody else who would see to them. */
static void bfs_follow(bfs_client *client, bfs_group *group)
{
    group->word = 0;
    bfs_enqueue(client, group);
    int64_t nap = bfs_nap(group);
    bfs_unlock(client);
    bfs_futex_wait(&group->word, 0, nap);
    bfs_lock(client);
    bfs_dequeue(client, group);
}

/* Sleeps until something has happened at the worker, or the sleeper is woken by another thread. */
static void bfs_sleep(bfs_client *client, bfs_group *group)
{
    if (ucx.ucp_worker_arm(client->worker.ucp) != UCS_OK) /* it has happened already */
        return;
    if (client->sleeper != NULL) {
        bfs_follow(client, group);
        return;
    }
    client->stats.sleeps++;
    client->sleeper = group;
    bfs_enqueue(client, group);
    int64_t nap = bfs_nap(group);
    bfs_unlock(client);
    bfs_poll_fds(client->worker.event_fd, client->kick_fd, nap);
    bfs_lock(client);
    bfs_dequeue(client, group);
    client->sleeper = NULL;
}

/* Makes progress until the calls are over, the deadline may have passed, or there has been nothing to do for a while and a sleep. */
static void bfs_drive(bfs_client *client, bfs_group *group)
{
    uint32_t idle   = 0;
    client->driving = 1;
    for (uint32_t polls = 1; group->pending > 0 && !client->retired; polls++) {
        idle = bfs_progress(client) != 0 ? 0 : idle + 1;
        if (group->pending == 0)
            break;
        if (__atomic_load_n(&client->want, __ATOMIC_RELAXED) != 0)
            bfs_let_in(client);
        if (idle > client->spin) {
            client->driving = 0;
            bfs_sleep(client, group);
            return;
        }
        if (polls % BFS_CLOCK_POLLS == 0 && bfs_now() >= bfs_deadline(group))
            break;
    }
    client->driving = 0;
}

/* A thread leaves, which may have taken the event that the sleeper waits for. */
static void bfs_hand_over(bfs_client *client)
{
    if (client->driving || client->waiting == NULL)
        return;
    if (client->sleeper == NULL)
        bfs_group_wake(client, client->waiting);
    else if (client->retired || ucx.ucp_worker_arm(client->worker.ucp) != UCS_OK)
        bfs_group_wake(client, client->sleeper);
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
    bfs_hand_over(client);
    bfs_unlock(client);
}
