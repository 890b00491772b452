/*
 * cxx.c: the standard streams of C++.
 *
 * libstdc++ notes the values of stdin, stdout and stderr when it is initialised, which is before us. When one of these variables is given another
 * stream (stdio.c), std::cout and its like must get it, too: what is written to the old one would reach a descriptor that refuses it.
 * No part of libstdc++ is called but a function of its public interface, and nothing is changed that does not hold just the old stream.
 */
#include "preload.h"

#include <dlfcn.h>

/* Where stdio_sync_filebuf keeps its FILE: behind basic_streambuf, a vtable, six pointers and a locale. */
#define FILE_OFFSET (8 * sizeof(void *))

static void exchange(const char *object, FILE *before, FILE *now)
{
    char *stream = dlsym(RTLD_DEFAULT, object);
    void *(*rdbuf)(const void *) =
        (void *(*)(const void *))dlsym(RTLD_DEFAULT, "_ZNKSt9basic_iosIcSt11char_traitsIcEE5rdbufEv");
    if (stream == NULL || rdbuf == NULL)
        return;
    /* The virtual base class is where the vtable's third entry before its beginning says. */
    const ptrdiff_t *vtable = *(const ptrdiff_t *const *)stream;
    if (vtable == NULL)
        return; /* not initialised yet: it will see the new value */
    char *buffer = rdbuf(stream + vtable[-3]);
    if (buffer != NULL && memcmp(buffer + FILE_OFFSET, &before, sizeof before) == 0)
        memcpy(buffer + FILE_OFFSET, &now, sizeof now);
}

void bp_exchange_cxx(int fd, FILE *before, FILE *now)
{
    static const struct {
        int fd;
        const char *name;
    } streams[] = {{STDIN_FILENO, "_ZSt3cin"},
                   {STDOUT_FILENO, "_ZSt4cout"},
                   {STDERR_FILENO, "_ZSt4cerr"},
                   {STDERR_FILENO, "_ZSt4clog"}};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        if (streams[i].fd == fd)
            exchange(streams[i].name, before, now);
    }
}
