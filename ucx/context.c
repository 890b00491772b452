/* The UCX context of the process. */
#include "bfs.h"

#include <stdlib.h>

ucs_status_t bfs_context_open(bfs_context *context, const char *transports, const char *devices, uint32_t endpoints)
{
    ucp_config_t *config;
    ucs_status_t  status = ucx.ucp_config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return status;
    /* Nothing is sent inside a machine: UCX would keep segments of shared memory, which stay when a process is killed. */
    if (transports[0] == 0 && getenv("UCX_TLS") == NULL)
        transports = "^shm";
    if (transports[0] != 0)
        status = ucx.ucp_config_modify(config, "TLS", transports);
    if (status == UCS_OK && devices[0] != 0)
        status = ucx.ucp_config_modify(config, "NET_DEVICES", devices);
    if (status == UCS_OK) {
        ucp_params_t params = {
            .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED |
                          UCP_PARAM_FIELD_ESTIMATED_NUM_EPS | UCP_PARAM_FIELD_NAME,
            .features          = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
            .mt_workers_shared = 1,
            .estimated_num_eps = endpoints,
            .name              = "benchfs",
        };
        status = ucx.ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &context->ucp);
    }
    ucx.ucp_config_release(config);
    if (status == UCS_OK)
        pthread_mutex_init(&context->opening, NULL);
    return status;
}

void bfs_context_close(bfs_context *context)
{
    ucx.ucp_cleanup(context->ucp);
    pthread_mutex_destroy(&context->opening);
}

const char *bfs_status_text(int status)
{
    return ucx.ucs_status_string((ucs_status_t)status);
}
