/*
 * Whether a worker's queue in shared memory is stuck (renew.c tells how that comes).
 *
 * A worker that can be armed has read whatever was begun to be written, in each of its queues. One that cannot, for long, although there
 * is nothing to be read, is either stuck or has something to send that its receiver does not take. A message to oneself tells which: it
 * comes through or it does not. There is a queue for each of UCX's transports over shared memory, and clients may have been told to use another than
 * we would (UCX_TLS), so there is a probe for each, from a context and a worker that are there for nothing else, and that UCX therefore
 * treats like any other process's.
 */
#define _GNU_SOURCE
#include "bfs.h"

#include <string.h>

static const char *const bfs_kinds[BFS_KINDS] = {"posix", "sysv", "xpmem"};

uint32_t bfs_kinds_of(const char *transport)
{
    uint32_t kinds = 0;
    for (int i = 0; i < BFS_KINDS; i++)
        kinds |= strstr(transport, bfs_kinds[i]) != NULL ? 1U << i : 0;
    return kinds;
}

static ucs_status_t bfs_on_probe(void *arg, const void *header, size_t header_bytes, void *data, size_t bytes,
                                 const ucp_am_recv_param_t *param)
{
    bfs_probes *probes = arg;
    uint64_t    words[3];
    (void)data, (void)bytes, (void)param;
    if (header_bytes != sizeof(words))
        return UCS_OK;
    memcpy(words, header, sizeof(words));
    if (words[0] == probes->secret && words[1] < BFS_KINDS && words[2] <= probes->of[words[1]].sent)
        probes->of[words[1]].seen = words[2];
    return UCS_OK;
}

ucs_status_t bfs_probes_serve(bfs_probes *probes, bfs_worker *worker)
{
    return bfs_worker_handle(worker, BFS_AM_PROBE, bfs_on_probe, probes, UCP_AM_FLAG_WHOLE_MSG);
}

static void bfs_on_probe_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep, (void)status;
    ((bfs_probe *)arg)->failed = 1;
}

static int bfs_probe_open(bfs_probe *probe, const char *kind)
{
    if (probe->worker.ucp != NULL)
        return 1;
    if (bfs_context_open(&probe->context, kind, "", 1) != UCS_OK)
        return 0;
    if (bfs_worker_open(&probe->worker, &probe->context, UCS_THREAD_MODE_SERIALIZED) == UCS_OK)
        return 1;
    bfs_context_close(&probe->context);
    return 0;
}

static int bfs_probe_aim(bfs_probe *probe, const bfs_worker *target)
{
    if (probe->ep != NULL && !probe->failed && probe->target == target->ucp)
        return 1;
    if (probe->ep != NULL)
        bfs_ep_close(probe->ep, 1);
    probe->ep     = NULL;
    probe->failed = 0;
    probe->target = target->ucp;
    return bfs_ep_by_address(probe->worker.ucp, target->address + sizeof(bfs_identity), bfs_on_probe_failed, probe,
                             &probe->ep) == UCS_OK;
}

void bfs_probes_send(bfs_probes *probes, uint32_t kinds, const bfs_worker *target)
{
    probes->sent_at = bfs_now();
    if (probes->secret == 0)
        probes->secret = (uint64_t)(uintptr_t)probes ^ (uint64_t)probes->sent_at << 20;
    for (uint64_t i = 0; i < BFS_KINDS; i++) {
        bfs_probe *probe = &probes->of[i];
        if (!(kinds >> i & 1) || !bfs_probe_open(probe, bfs_kinds[i]) || !bfs_probe_aim(probe, target))
            continue;
        uint64_t words[3] = {probes->secret, i, ++probe->sent};
        if (bfs_ep_send_copy(probe->ep, BFS_AM_PROBE, words, sizeof(words), 0) != UCS_OK)
            probe->seen = probe->sent; /* it says nothing; the next one may */
    }
}

int bfs_probes_under_way(const bfs_probes *probes)
{
    for (int i = 0; i < BFS_KINDS; i++) {
        if (probes->of[i].seen != probes->of[i].sent)
            return 1;
    }
    return 0;
}

void bfs_probes_forget(bfs_probes *probes)
{
    for (int i = 0; i < BFS_KINDS; i++)
        probes->of[i].seen = probes->of[i].sent;
}

int bfs_probes_lost(bfs_probes *probes, const bfs_worker *target)
{
    if (!bfs_probes_under_way(probes) || bfs_now() - probes->sent_at < BFS_STUCK_NS)
        return 0;
    /* What can be read is read, so that a probe that is not there then is behind something that will never be. */
    for (int i = 0; i < BFS_DRAIN_POLLS && bfs_probes_under_way(probes); i++) {
        for (int j = 0; j < BFS_KINDS; j++) {
            if (probes->of[j].worker.ucp != NULL)
                ucp_worker_progress(probes->of[j].worker.ucp);
        }
        ucp_worker_progress(target->ucp);
    }
    return bfs_probes_under_way(probes);
}

void bfs_probes_close(bfs_probes *probes)
{
    for (int i = 0; i < BFS_KINDS; i++) {
        bfs_probe *probe = &probes->of[i];
        if (probe->worker.ucp == NULL)
            continue;
        if (probe->ep != NULL)
            bfs_ep_close(probe->ep, 1);
        for (int j = 0; j < BFS_DRAIN_POLLS; j++)
            ucp_worker_progress(probe->worker.ucp);
        bfs_worker_close(&probe->worker);
        bfs_context_close(&probe->context);
        probe->ep     = NULL;
        probe->target = NULL;
    }
    bfs_probes_forget(probes);
}
