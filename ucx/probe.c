/*
 * Whether a worker's queue in shared memory is stuck (renew.c tells how that comes), asked by a message to oneself.
 *
 * The probe is sent from a worker that is there for nothing else, and that UCX therefore treats like any other process's. What it
 * is sent to is the caller's; its progress is, too.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <string.h>

static ucs_status_t bfs_on_probe(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    bfs_probe *probe = arg;
    uint64_t   words[2];
    (void)data, (void)bytes, (void)param;
    if (header_bytes != sizeof(words))
        return UCS_OK;
    memcpy(words, header, sizeof(words));
    if (words[0] == probe->secret && words[1] <= probe->sent)
        probe->seen = words[1];
    return UCS_OK;
}

ucs_status_t bfs_probe_serve(bfs_probe *probe, bfs_worker *worker)
{
    return bfs_worker_handle(worker, BFS_AM_PROBE, bfs_on_probe, probe, UCP_AM_FLAG_WHOLE_MSG);
}

static void bfs_on_probe_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep, (void)status;
    ((bfs_probe *)arg)->failed = 1;
}

static int bfs_probe_aim(bfs_probe *probe, bfs_context *context, const bfs_worker *target)
{
    if (probe->worker.ucp == NULL && bfs_worker_open(&probe->worker, context, UCS_THREAD_MODE_SERIALIZED) != UCS_OK)
        return 0;
    if (probe->ep != NULL && !probe->failed && probe->target == target->ucp)
        return 1;
    if (probe->ep != NULL)
        bfs_ep_close(probe->ep, 1);
    probe->ep     = NULL;
    probe->failed = 0;
    probe->target = target->ucp;
    if (probe->secret == 0)
        probe->secret = (uint64_t)(uintptr_t)probe ^ (uint64_t)bfs_now() << 20;
    return bfs_ep_by_address(probe->worker.ucp, target->address + sizeof(bfs_identity), bfs_on_probe_failed, probe,
                             &probe->ep) == UCS_OK;
}

void bfs_probe_send(bfs_probe *probe, bfs_context *context, const bfs_worker *target)
{
    probe->sent_at = bfs_now();
    if (!bfs_probe_aim(probe, context, target))
        return;
    uint64_t words[2] = {probe->secret, ++probe->sent};
    if (bfs_ep_send_copy(probe->ep, BFS_AM_PROBE, words, sizeof(words), 0) != UCS_OK)
        probe->seen = probe->sent; /* it says nothing; the next one may */
}

int bfs_probe_lost(bfs_probe *probe, const bfs_worker *target)
{
    if (!bfs_probe_under_way(probe) || bfs_now() - probe->sent_at < BFS_STUCK_NS)
        return 0;
    /* What can be read is read, so that a probe that is not there then is behind something that will never be. */
    for (int i = 0; i < BFS_DRAIN_POLLS && bfs_probe_under_way(probe); i++) {
        ucp_worker_progress(probe->worker.ucp);
        ucp_worker_progress(target->ucp);
    }
    return bfs_probe_under_way(probe);
}

void bfs_probe_close(bfs_probe *probe)
{
    if (probe->worker.ucp == NULL)
        return;
    if (probe->ep != NULL)
        bfs_ep_close(probe->ep, 1);
    for (int i = 0; i < BFS_DRAIN_POLLS; i++)
        ucp_worker_progress(probe->worker.ucp);
    bfs_worker_close(&probe->worker);
    probe->ep     = NULL;
    probe->target = NULL;
    probe->seen   = probe->sent;
}
