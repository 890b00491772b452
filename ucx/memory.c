/* Memory: for buffers, and registered for one-sided access. */
#define _GNU_SOURCE
#include "bfs.h"

#include <stdlib.h>
#include <string.h>

/* Zeroed, which also touches every page; freed with free. */
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

/* address NULL: UCX allocates, in memory that it can share with other processes. */
ucs_status_t bfs_memory_open(bfs_context *context, void *address, size_t bytes, bfs_memory *memory)
{
    ucp_mem_map_params_t params = {
        .field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .address    = address,
        .length     = bytes,
        .flags      = address == NULL ? UCP_MEM_MAP_ALLOCATE : 0,
    };
    memset(memory, 0, sizeof(*memory));
    ucs_status_t status = ucp_mem_map(context->ucp, &params, &memory->handle);
    if (status != UCS_OK)
        return status;
    ucp_mem_attr_t attr = {.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS | UCP_MEM_ATTR_FIELD_LENGTH};
    status              = ucp_mem_query(memory->handle, &attr);
    if (status == UCS_OK) {
        size_t key_bytes;
        memory->address   = attr.address;
        memory->bytes     = bytes;
        status            = ucp_rkey_pack(context->ucp, memory->handle, &memory->key, &key_bytes);
        memory->key_bytes = key_bytes;
    }
    if (status != UCS_OK)
        ucp_mem_unmap(context->ucp, memory->handle);
    else if (address == NULL)
        memset(memory->address, 0, bytes);
    return status;
}

void bfs_memory_close(bfs_context *context, bfs_memory *memory)
{
    ucp_rkey_buffer_release(memory->key);
    ucp_mem_unmap(context->ucp, memory->handle);
}

ucs_status_t bfs_rkey_open(bfs_link *link, const void *key, ucp_rkey_h *rkey)
{
    pthread_mutex_lock(&link->client->lock);
    ucs_status_t status =
        link->closed || link->client->retired ? UCS_ERR_CANCELED : ucp_ep_rkey_unpack(link->ep, key, rkey);
    pthread_mutex_unlock(&link->client->lock);
    return status;
}

void bfs_rkey_close(bfs_client *client, ucp_rkey_h rkey)
{
    pthread_mutex_lock(&client->lock);
    if (client->worker.ucp != NULL) /* else it went with the worker */
        ucp_rkey_destroy(rkey);
    pthread_mutex_unlock(&client->lock);
}
