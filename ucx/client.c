/* The client itself, from its start to its end: its calls' slots, its worker, its links. */
#define _GNU_SOURCE
#include "client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

/* ---- calls, and the memory of their payloads ---- */

void *bfs_alloc(size_t bytes)
{
    size_t page    = 4096;
    size_t rounded = (bytes + page - 1) / page * page;
    if (rounded < bytes)
        return NULL;
    void *memory = aligned_alloc(page, rounded > 0 ? rounded : page);
    if (memory != NULL)
        memset(memory, 0, rounded > 0 ? rounded : page);
    return memory;
}

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

/* ---- the client ---- */

/* Destroys the worker. Nobody is in bfs_run, and nobody comes any more. */
static void bfs_client_end(bfs_client *client)
{
    bfs_worker_close(&client->worker);
    if (client->kick_fd >= 0)
        close(client->kick_fd);
    client->kick_fd = -1;
    for (uint32_t i = 0; i < client->slot_count; i++) {
        if (client->slots[i] != NULL && client->slots[i]->state == BFS_ZOMBIE)
            free(client->slots[i]);
    }
    free(client->slots);
    free(client->free_slots);
    client->slots      = NULL;
    client->free_slots = NULL;
    client->slot_count = client->slot_capacity = client->free_slot_count = 0;
}

bfs_client *bfs_client_open(bfs_context *context, uint64_t rendezvous_bytes, uint64_t rendezvous_tcp_bytes,
                            uint32_t spin, int *status)
{
    bfs_client *client = calloc(1, sizeof(*client));
    *status            = UCS_ERR_NO_MEMORY;
    if (client == NULL)
        return NULL;
    *status = bfs_worker_open(&client->worker, context, UCS_THREAD_MODE_SERIALIZED);
    if (*status != UCS_OK) {
        free(client);
        return NULL;
    }
    *status         = bfs_am_answer(client);
    client->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (*status == UCS_OK && client->kick_fd < 0)
        *status = UCS_ERR_NO_RESOURCE;
    if (*status != UCS_OK) {
        bfs_client_end(client);
        free(client);
        return NULL;
    }
    pthread_mutex_init(&client->lock, NULL);
    client->spin                 = spin;
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
            bfs_group_wake(client, group);
        bfs_unlock(client);
        nanosleep(&pause, NULL);
        bfs_lock(client);
    }
    bfs_unlock(client);
}

static int bfs_has_links(const bfs_client *client)
{
    for (const bfs_link *link = client->links; link != NULL; link = link->next) {
        if (!link->closed && link->failed == UCS_OK)
            return 1;
    }
    return 0;
}

void bfs_client_bury(bfs_client *client)
{
    bfs_lock(client);
    if (client->stale && !bfs_has_links(client))
        bfs_retire_locked(client);
    if (client->retired && client->runners == 0 && client->worker.ucp != NULL)
        bfs_client_end(client);
    bfs_unlock(client);
}

void bfs_client_close(bfs_client *client)
{
    bfs_client_retire(client);
    bfs_wait_runners(client);
    bfs_lock(client);
    if (client->worker.ucp != NULL) {
        if (client->stats.abandoned == 0) { /* else progress could write into memory that is no longer ours */
            for (bfs_link *link = client->links; link != NULL; link = link->next)
                bfs_leave(link, 0);
            for (int i = 0; i < BFS_DRAIN_POLLS; i++)
                ucx.ucp_worker_progress(client->worker.ucp);
        }
        bfs_client_end(client);
    }
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
        bfs_progress(client);
    bfs_unlock(client);
}

void bfs_client_read_stats(bfs_client *client, bfs_client_stats *stats)
{
    bfs_lock(client);
    *stats = client->stats;
    bfs_unlock(client);
}

/* ---- links ---- */

/* What tells this link from all others of all clients. */
static uint64_t bfs_link_number(void)
{
    static uint64_t count; /* atomic */
    uint64_t        number;
    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) == sizeof(number))
        return number;
    return ((uint64_t)bfs_now() << 16) + __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
}

static bfs_link *bfs_link_new(bfs_client *client)
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
    link->number                               = bfs_link_number();
    ((bfs_address *)(void *)link->hello)->link = link->number;
    link->client                               = client;
    link->rendezvous_bytes                     = client->rendezvous_bytes;
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

bfs_link *bfs_link_by_address(bfs_client *client, const uint8_t *address, size_t bytes, int *status)
{
    bfs_address front;
    *status = UCS_ERR_INVALID_ADDR;
    if (bytes <= sizeof(front))
        return NULL;
    memcpy(&front, address, sizeof(front));
    if (front.magic != BFS_ADDRESS_MAGIC || front.bytes != bytes - sizeof(front))
        return NULL;
    *status        = UCS_ERR_NO_MEMORY;
    bfs_link *link = bfs_link_new(client);
    if (link == NULL)
        return NULL;
    bfs_lock(client);
    *status = client->retired
                  ? UCS_ERR_CANCELED
                  : bfs_ep_by_address(client->worker.ucp, address + sizeof(front), bfs_on_link_failed, link, &link->ep);
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
        bfs_link_failed(client, link, UCS_ERR_CANCELED);
        bfs_link_shut(link);
        for (uint32_t i = 0; i < client->slot_count; i++) {
            bfs_call *call = client->slots[i];
            if (call != NULL && call->state == BFS_ACTIVE && call->link == link && call->kind == BFS_CALL_FLUSH)
                bfs_give_up(client, call);
        }
    }
    bfs_unlock(client);
}

/*
 * UCX pairs the endpoints of two workers by counting on both sides. A link that is given up before the server has answered by it (the server
 * stands still, say) may leave the counts out of step, and endpoints to this server that are made later would be paired wrongly: they work
 * for a while, or never. So links that come later get a new worker.
 */
void bfs_link_close(bfs_link *link)
{
    bfs_client *client = link->client;
    bfs_lock(client);
    if (!link->answered && (link->failed == UCS_OK || link->failed == UCS_ERR_CANCELED))
        __atomic_store_n(&client->stale, 1, __ATOMIC_RELEASE);
    if (!link->closed && !client->retired) {
        int busy = 0;
        for (uint32_t i = 0; i < client->slot_count && !busy; i++)
            busy = client->slots[i] != NULL && client->slots[i]->state == BFS_ACTIVE && client->slots[i]->link == link;
        bfs_leave(link, busy);
        bfs_link_failed(client, link, UCS_ERR_CANCELED);
        for (int i = 0; i < 16 && !client->retired; i++)
            bfs_progress(client);
    }
    bfs_unlock(client);
}

/* Sends a header that nobody has checked: how tests play a defective client. */
ucs_status_t bfs_link_send_raw(bfs_link *link, unsigned am, const void *header, size_t header_bytes)
{
    bfs_lock(link->client);
    ucs_status_t status = link->closed || link->client->retired
                              ? UCS_ERR_CANCELED
                              : bfs_ep_send_copy(link->ep, am, header, header_bytes, UCP_AM_SEND_FLAG_REPLY);
    for (int i = 0; i < 100 && status == UCS_OK && !link->client->retired; i++)
        bfs_progress(link->client);
    bfs_unlock(link->client);
    return status;
}
