/*
 * plugin.c: a program of its own that loads the library at run time, as plug-ins, interpreters and the interposer do: plugin LIBRARY.
 * dlopen fails when the library has more thread-local memory than is left for late comers.
 */
#include <benchfs.h>
#include <dlfcn.h>
#include <stdio.h>

static int problem(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, dlerror());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return problem("dlopen");
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
