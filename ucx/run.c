/*
 * How a thread sees its calls to their end.
 *
 * Any number of threads may be in bfs_run. One at a time drives: it holds the lock, makes progress for all, and lets
 * others in between two polls. The rest wait on a futex; the driver that leaves wakes the next. A driver that sleeps on
 * the worker's event descriptor holds neither the lock nor the driver's seat: who comes then drives, and wakes the sleeper
 * when it leaves, because it may have taken the event that the sleeper was armed for.
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
    if (group->polling) {
        ucp_worker_signal(client->worker.ucp);
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

/* ---- looking around ---- */

/* Fails the links whose server, on this host, is dead, and notes how those of this worker write, or wrote, into our queues. */
static void bfs_bury_dead(bfs_client *client)
{
    for (bfs_link *link = client->links; link != NULL; link = link->next) {
        if (link->closed)
            continue;
        client->writers |= link->shared;
        if (link->visible && bfs_identity_dead(&link->remote))
            bfs_link_failed(client, link, UCS_ERR_CONNECTION_RESET);
    }
    if (client->doomed)
        bfs_progress(client);
}

/*
 * A waiting thread looks around: do the servers of this host live, and is our own queue sound? One that dies, or is stopped, while it writes
 * to us leaves the queue stuck, as renew.c tells.
 */
static void bfs_look_around(bfs_client *client)
{
    if (client->retired)
        return;
    bfs_probes *probes = &client->probes;
    bfs_bury_dead(client);
    if (client->retired || client->writers == 0)
        return;
    if (ucp_worker_arm(client->worker.ucp) == UCS_OK) {
        if (bfs_probes_under_way(probes))
            bfs_probes_close(probes); /* they are needed once in a blue moon */
    } else if (bfs_probes_lost(probes, &client->worker)) {
        bfs_give_worker_up(client);
    } else if (!bfs_probes_under_way(probes) && bfs_now() - probes->sent_at >= BFS_STUCK_NS) {
        bfs_probes_send(probes, client->writers, &client->worker);
    }
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
    bfs_look_around(client);
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
        bfs_look_around(client);
}

static void bfs_sleep(bfs_client *client, bfs_group *group)
{
    if (ucp_worker_arm(client->worker.ucp) != UCS_OK) /* something has happened meanwhile: poll on */
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
        bfs_look_around(client);
}

/*
 * Looks after the servers now and then, for a driver that never comes to sleep: what a dead process has left in a worker's
 * queue keeps it from being armed for ever. → whether the deadline has passed.
 */
static int bfs_look(bfs_client *client, bfs_group *group, int64_t now)
{
    if (group->look != 0 && now >= group->look)
        bfs_look_around(client);
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
        unsigned progress = bfs_progress(client);
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
        bfs_group_wake(client, client->waiting);
    bfs_unlock(client);
}
