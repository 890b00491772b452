/* What the files of the client share among themselves. All functions want the client's lock held, except for bfs_lock. */
#ifndef BFS_CLIENT_H
#define BFS_CLIENT_H

#include "bfs.h"

#pragma GCC visibility push(hidden)

/* The calls of one bfs_run; lives on the stack of its thread. */
struct bfs_group {
    bfs_call  *first;
    uint32_t   pending; /* calls that are not over */
    uint32_t   word;    /* futex: 1 = look again */
    int        queued;  /* in client->waiting */
    int        phase;   /* of bfs_expire */
    int64_t    budget, deadline;
    bfs_group *next;
};

/* ---- run.c ---- */

void    bfs_lock(bfs_client *client);
void    bfs_unlock(bfs_client *client);
void    bfs_group_wake(bfs_client *client, bfs_group *group);
int64_t bfs_deadline(bfs_group *group);

/* ---- am_client.c ---- */

ucs_status_t bfs_am_answer(bfs_client *client); /* a worker takes answers */
void         bfs_post(bfs_client *client, bfs_group *group, bfs_call *call);
void         bfs_over(bfs_client *client, bfs_call *call, int state);
void         bfs_part_over(bfs_client *client, bfs_call *call, int part);
void         bfs_blame(bfs_call *call, int outcome, ucs_status_t status);
void         bfs_give_up(bfs_client *client, bfs_call *call);
void         bfs_on_link_failed(void *arg, ucp_ep_h ep, ucs_status_t status);
void         bfs_link_failed(bfs_client *client, bfs_link *link, ucs_status_t status);
void         bfs_link_shut(bfs_link *link);
void         bfs_leave(bfs_link *link, int force);
unsigned     bfs_progress(bfs_client *client);
void         bfs_retire_locked(bfs_client *client);
void         bfs_give_worker_up(bfs_client *client);

#pragma GCC visibility pop

#endif
