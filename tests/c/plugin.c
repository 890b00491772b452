/*
 * plugin.c: a program of its own that loads the library at run time, as plug-ins, interpreters and the interposer do: plugin LIBRARY.
 * dlopen fails when the library has more thread-local memory than is left for late comers.
 */
#define _GNU_SOURCE
#include <benchfs.h>
#include <dlfcn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLACK_NS 70000 /* of this thread's timers: nothing that anybody else would choose */

static int problem(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, dlerror());
    return 1;
}

/* The library's own threads may sleep late; this one must not. */
static int slack_kept(const char *how)
{
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    if (slack != SLACK_NS)
        fprintf(stderr, "%s: the timer slack of the loading thread is %d ns instead of %d\n", how, slack, SLACK_NS);
    return slack == SLACK_NS;
}

/* A name space of its own: in a child, because a process can take but one Go runtime without those of the interposer. */
static int elsewhere(const char *path)
{
    pid_t child = fork();
    if (child == 0)
        _exit(dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL) == NULL || !slack_kept("dlmopen"));
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0);
    if (elsewhere(argv[1]) != 0)
        return problem("a name space of its own");
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return problem("dlopen");
    if (!slack_kept("dlopen"))
        return 1;
    int (*init)(uint32_t, const struct benchfs_options *) =
        (int (*)(uint32_t, const struct benchfs_options *))dlsym(library, "benchfs_init_version");
    int (*finalize)(void) = (int (*)(void))dlsym(library, "benchfs_finalize");
    if (init == NULL || finalize == NULL)
        return problem("dlsym");
    for (int i = 0; i < 2; i++) {
        if (init(BENCHFS_API_VERSION, NULL) != 0 || finalize() != 0)
            return problem("a session");
        if (dlclose(library) != 0) /* changes nothing */
            return problem("dlclose");
    }
    return 0;
}
