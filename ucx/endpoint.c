/* UCX endpoints: how they are made, what they run over, how they end; socket addresses. */
#define _GNU_SOURCE
#include "bfs.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * With UCX's error handling: an endpoint can be closed by force, and UCX tells when the peer is gone. UCX leaves shared memory out of such
 * endpoints, so that processes of one machine which come here (they do not see each other's files) use the network as well.
 */
ucs_status_t bfs_ep_by_address(ucp_worker_h worker, const uint8_t *address, ucp_err_handler_cb_t failed, void *arg,
                               ucp_ep_h *ep)
{
    ucp_ep_params_t params = {
        .field_mask =
            UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address     = (const ucp_address_t *)address,
        .err_mode    = UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = failed, .arg = arg},
    };
    return ucx.ucp_ep_create(worker, &params, ep);
}

static void bfs_on_copy_sent(void *request, ucs_status_t status, void *user)
{
    (void)status;
    free(user);
    ucx.ucp_request_free(request);
}

/* Sends a copy of a small header, and forgets about it. */
ucs_status_t bfs_ep_send_copy(ucp_ep_h ep, unsigned am, const void *header, size_t bytes, unsigned flags)
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
    ucs_status_ptr_t request = ucx.ucp_am_send_nbx(ep, am, copy, bytes, NULL, 0, &param);
    if (UCS_PTR_IS_PTR(request))
        return UCS_OK;
    free(copy);
    return UCS_PTR_STATUS(request);
}

/* The request is freed while it is under way: UCX then releases it at its end, or with the worker (it aborts otherwise). */
void bfs_ep_close(ucp_ep_h ep, int force)
{
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
        .flags        = force ? UCP_EP_CLOSE_FLAG_FORCE : 0,
    };
    ucs_status_ptr_t request = ucx.ucp_ep_close_nbx(ep, &param);
    if (UCS_PTR_IS_PTR(request))
        ucx.ucp_request_free(request);
}

static void bfs_add_name(char *text, size_t bytes, const char *name, size_t length)
{
    for (const char *p = text; *p != 0;) { /* each transport once */
        size_t n = strcspn(p, "+");
        if (n == length && memcmp(p, name, n) == 0)
            return;
        p += n + (p[n] == '+');
    }
    size_t used = strlen(text);
    if (used + length + 2 > bytes)
        return;
    if (used > 0)
        text[used++] = '+';
    memcpy(text + used, name, length);
    text[used + length] = 0;
}

/*
 * UCX 1.13 tells the lanes of an endpoint only in print: "lane[0]:  2:tcp/eth0.0 md[1] -> …". A lane without a purpose
 * behind the arrow (am, rma_bw, …) carries nothing and is left out.
 */
void bfs_ep_transport(ucp_ep_h ep, char *text, size_t bytes)
{
    char  *print = NULL, *save = NULL;
    size_t size  = 0;
    text[0]      = 0;
    FILE *stream = open_memstream(&print, &size);
    if (stream == NULL)
        return;
    ucx.ucp_ep_print_info(ep, stream);
    fclose(stream);
    for (char *line = strtok_r(print, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *lane = strstr(line, "lane[");
        char *name = lane != NULL ? strstr(lane, "]:") : NULL;
        char *end  = name != NULL ? strchr(name, '/') : NULL;
        if (end == NULL)
            continue;
        char *use = strstr(end, "sysdev[");
        use       = use != NULL ? strchr(use, ' ') : NULL;
        if (use == NULL || (strstr(use, "am") == NULL && strstr(use, "rma") == NULL))
            continue;
        while (end > name && end[-1] != ':' && end[-1] != ' ')
            end--;
        bfs_add_name(text, bytes, end, strcspn(end, "/"));
    }
    free(print);
}

int bfs_ep_only_tcp(const char *transport)
{
    return strcmp(transport, "tcp") == 0;
}

int bfs_resolve(const char *host, const char *port, int passive, struct sockaddr_storage *address, socklen_t *bytes,
                char *reason, size_t reason_bytes)
{
    struct addrinfo  hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
    struct addrinfo *found = NULL;
    int              err   = getaddrinfo(host[0] != 0 ? host : NULL, port, &hints, &found);
    if (err != 0) {
        snprintf(reason, reason_bytes, "%s", gai_strerror(err));
        return -1;
    }
    const struct addrinfo *use = found; /* IPv4 first: a wildcard must reach clients that know only that */
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            use = a;
            break;
        }
    }
    memcpy(address, use->ai_addr, use->ai_addrlen);
    *bytes = use->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

int bfs_socket_text(const struct sockaddr_storage *address, char *text, size_t bytes)
{
    char host[INET6_ADDRSTRLEN];
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        if (inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)) == NULL)
            return -1;
        return snprintf(text, bytes, "%s:%u", host, ntohs(in->sin_port)) > 0 ? 0 : -1;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
    if (inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)) == NULL)
        return -1;
    return snprintf(text, bytes, "[%s]:%u", host, ntohs(in6->sin6_port)) > 0 ? 0 : -1;
}
