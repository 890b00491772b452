/*
 * benchfs.c: a program that joins, makes one call, and leaves.
 *
 *   first-benchfs              on the daemons that the environment names
 *   first-benchfs embedded     in this process
 *   first-benchfs memory       on the daemons; prints the resident memory after the call, in KiB
 */
#include <stdio.h>
#include <string.h>

#include <benchfs.h>

static int print_memory(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    while (f && fgets(line, sizeof(line), f))
        sscanf(line, "VmRSS: %ld", &kib);
    if (f)
        fclose(f);
    printf("rss_kib %ld\n", kib);
    return kib > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    struct benchfs_options options = BENCHFS_OPTIONS_INIT;
    options.mode = BENCHFS_MODE_DISTRIBUTED;
    if (strcmp(how, "embedded") == 0) {
        options.mode = BENCHFS_MODE_EMBEDDED;
        options.flags = BENCHFS_INIT_NO_ENVIRONMENT;
    }
    struct stat st;
    int rc = benchfs_init(&options);
    if (rc == 0)
        rc = benchfs_stat("/", &st);
    if (rc < 0) {
        fprintf(stderr, "first-benchfs: %s (%s)\n", benchfs_strerror(rc), benchfs_last_error());
        return 1;
    }
    if (strcmp(how, "memory") == 0 && print_memory() != 0)
        return 1;
    return benchfs_finalize() == 0 ? 0 : 1;
}
