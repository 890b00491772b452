/*
 * around PATH [early]: an unmodified program under the interposer. With "early" it uses files before MPI_Init, else MPI is first; it goes on
 * after MPI_Finalize. A file is mapped before and after, since an MPI library that uses UCX watches over mmap by overwriting it.
 */
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: %s is not so: ", __LINE__, #condition); \
            perror("");                                                       \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

static char path[4096];

static void use(const char *when)
{
    char text[64] = {0};
    char name[4200];
    snprintf(name, sizeof name, "%s.%d.%s", path, (int)getpid(), when);
    int fd = open(name, O_CREAT | O_RDWR | O_EXCL, 0644);
    CHECK(fd >= 0 && write(fd, when, strlen(when)) == (ssize_t)strlen(when) && ftruncate(fd, 100000) == 0);
    CHECK(pread(fd, text, strlen(when), 0) == (ssize_t)strlen(when) && strcmp(text, when) == 0);
    char *p = mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED && strncmp(p, when, strlen(when)) == 0);
    p[50000] = 'M';
    CHECK(munmap(p, 100000) == 0 && pread(fd, text, 1, 50000) == 1 && text[0] == 'M');
    p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 49152);
    CHECK(p != MAP_FAILED && p[50000 - 49152] == 'M' && munmap(p, 4096) == 0);
    void *anonymous = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(anonymous != MAP_FAILED && munmap(anonymous, 1 << 20) == 0);
    free(malloc(8 << 20));
    CHECK(close(fd) == 0 && unlink(name) == 0);
}

int main(int argc, char **argv)
{
    int rank, ranks;
    CHECK(argc >= 2);
    strncpy(path, argv[1], sizeof path - 1);
    if (argc > 2)
        use("early");
    CHECK(MPI_Init(&argc, &argv) == MPI_SUCCESS);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    use("during");
    static char message[1 << 20];
    for (int i = 0; i < 4; i++) {
        MPI_Bcast(message, sizeof message, MPI_BYTE, i % ranks, MPI_COMM_WORLD);
        use("between");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK(MPI_Finalize() == MPI_SUCCESS);
    use("late");
    if (rank == 0)
        printf("around %s by %d ranks: well\n", argc > 2 ? "early" : "late", ranks);
    return 0;
}
