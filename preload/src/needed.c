/*
 * needed.c: which libraries a program or a library asks for (DT_NEEDED) that lie in BenchFS. The loader opens them by calls of its own, and would
 * not find them.
 */
#include "preload.h"

#include <elf.h>
#include <link.h>

/* What is read of an object. */
struct object {
    int fd; /* the kernel's */
    ElfW(Ehdr) head;
    ElfW(Phdr) segments[64];
    ElfW(Dyn) dynamic[512];
    size_t count;  /* of dynamic */
    char *strings; /* of the dynamic section; from malloc */
    size_t room;
};

static int read_at(int fd, void *to, size_t n, off_t offset)
{
    return REAL(pread)(fd, to, n, offset) == (ssize_t)n;
}

/* Where in the file an address lies; -1 for none. */
static off_t offset_of(const struct object *o, ElfW(Addr) address)
{
    for (int i = 0; i < o->head.e_phnum; i++) {
        const ElfW(Phdr) *s = &o->segments[i];
        if (s->p_type == PT_LOAD && address >= s->p_vaddr && address < s->p_vaddr + s->p_filesz)
            return (off_t)(address - s->p_vaddr + s->p_offset);
    }
    return -1;
}

static ElfW(Xword) value_of(const struct object *o, ElfW(Sxword) tag)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->dynamic[i].d_tag == tag)
            return o->dynamic[i].d_un.d_val;
    return 0;
}

/* 1 if it is an object for this machine with a dynamic section. */
static int read_object(struct object *o, int fd)
{
    o->fd = fd;
    o->count = 0;
    o->strings = NULL;
    if (!read_at(fd, &o->head, sizeof o->head, 0) || memcmp(o->head.e_ident, ELFMAG, SELFMAG) != 0 ||
        o->head.e_ident[EI_CLASS] != ELFCLASS64 || o->head.e_phentsize != sizeof o->segments[0] ||
        o->head.e_phnum > sizeof o->segments / sizeof o->segments[0] ||
        !read_at(fd, o->segments, o->head.e_phnum * sizeof o->segments[0], (off_t)o->head.e_phoff))
        return 0;
    for (int i = 0; i < o->head.e_phnum; i++) {
        size_t n = o->segments[i].p_filesz;
        if (o->segments[i].p_type == PT_DYNAMIC && n <= sizeof o->dynamic &&
            read_at(fd, o->dynamic, n, (off_t)o->segments[i].p_offset))
            o->count = n / sizeof o->dynamic[0];
    }
    off_t at = offset_of(o, value_of(o, DT_STRTAB));
    o->room = value_of(o, DT_STRSZ);
    if (o->count == 0 || at < 0 || o->room == 0 || o->room > (64 << 20))
        return 0;
    o->strings = malloc(o->room + 1);
    if (o->strings == NULL || !read_at(fd, o->strings, o->room, at)) {
        free(o->strings);
        return 0;
    }
    o->strings[o->room] = '\0';
    return 1;
}

static const char *string_of(const struct object *o, ElfW(Xword) at)
{
    return at < o->room ? o->strings + at : "";
}

/* A directory of a search path with what stands for the object's own place replaced; 0 if it is too long. */
static int expand(const char *directory, size_t n, const char *origin, const char *name, char out[PATH_MAX])
{
    static const char *const words[] = {"$ORIGIN", "${ORIGIN}"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t m = strlen(words[i]);
        if (n >= m && memcmp(directory, words[i], m) == 0)
            return snprintf(out, PATH_MAX, "%s%.*s/%s", origin, (int)(n - m), directory + m, name) < PATH_MAX;
    }
    return n > 0 && snprintf(out, PATH_MAX, "%.*s/%s", (int)n, directory, name) < PATH_MAX;
}

/* Looks for a library along a search path: 1 and its path if the first that there is lies in BenchFS, -1 if it lies elsewhere, 0 if there is none. */
static int search(const char *list, const char *origin, const char *name, char out[PATH_MAX])
{
    while (list != NULL && *list != '\0') {
        struct bp_where w;
        size_t n = strcspn(list, ":");
        if (expand(list, n, origin, name, out)) {
            int inside = bp_locate(AT_FDCWD, out, &w) != BP_OUTSIDE;
            if (faccessat(AT_FDCWD, out, R_OK, 0) == 0)
                return inside ? 1 : -1;
        }
        list += n + (list[n] == ':');
    }
    return 0;
}

/* Calls found for each needed library that lies in BenchFS. origin: the directory of the object that fd is. */
void bp_each_needed(int fd, const char *origin, void (*found)(const char *path, const char *name, void *data),
                    void *data)
{
    struct object *o = malloc(sizeof *o);
    int saved = errno;
    if (o == NULL || !read_object(o, fd)) {
        free(o);
        errno = saved;
        return;
    }
    ElfW(Xword) runpath = value_of(o, DT_RUNPATH), rpath = runpath != 0 ? 0 : value_of(o, DT_RPATH);
    for (size_t i = 0; i < o->count && o->dynamic[i].d_tag != DT_NULL; i++) {
        char path[PATH_MAX];
        struct bp_where w;
        if (o->dynamic[i].d_tag != DT_NEEDED)
            continue;
        const char *name = string_of(o, o->dynamic[i].d_un.d_val);
        if (strchr(name, '/') != NULL) {
            if (bp_locate(AT_FDCWD, name, &w) != BP_OUTSIDE)
                found(name, name, data);
            continue;
        }
        int where = rpath != 0 ? search(string_of(o, rpath), origin, name, path) : 0;
        if (where == 0)
            where = search(getenv("LD_LIBRARY_PATH"), origin, name, path);
        if (where == 0 && runpath != 0)
            where = search(string_of(o, runpath), origin, name, path);
        if (where == 1)
            found(path, name, data);
    }
    free(o->strings);
    free(o);
    errno = saved;
}

int bp_has_soname(int fd, const char *name)
{
    struct object *o = malloc(sizeof *o);
    if (o == NULL || !read_object(o, fd)) {
        free(o);
        return 0;
    }
    ElfW(Xword) soname = value_of(o, DT_SONAME);
    int same = soname != 0 && strcmp(string_of(o, soname), name) == 0;
    free(o->strings);
    free(o);
    return same;
}
