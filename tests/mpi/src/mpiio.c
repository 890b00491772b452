/*
 * mpiio.c: MPI-IO on a path. The program knows nothing of BenchFS (it is linked to it as all of this directory, and does not call it): under the
 * interposer, MPI's own calls reach it. Independent and collective writes of blocks and of a strided view; each rank checks what another wrote.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BLOCK = 10000,
    RECORDS = 100,
    RECORD = 10
};

static int rank, ranks;

static void need(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &n);
    fprintf(stderr, "rank %d: %s: %s\n", rank, what, text);
    MPI_Abort(MPI_COMM_WORLD, 1);
}
#define NEED(call) need((call), #call)

static void check(const int *got, int n, int of, const char *what)
{
    for (int i = 0; i < n; i++) {
        if (got[i] != of * BLOCK + i) {
            fprintf(stderr, "rank %d: %s: number %d of rank %d is %d\n", rank, what, i, of, got[i]);
            MPI_Abort(MPI_COMM_WORLD, 2);
        }
    }
}

/* What was written is seen by others after a sync on both sides, with a barrier between. */
static void settle(MPI_File f)
{
    NEED(MPI_File_sync(f));
    NEED(MPI_Barrier(MPI_COMM_WORLD));
    NEED(MPI_File_sync(f));
}

static void blocks(MPI_File f, int *mine, int *got)
{
    int other = (rank + 1) % ranks;
    const MPI_Offset bytes = BLOCK * (MPI_Offset)sizeof(int);
    NEED(MPI_File_write_at(f, rank * bytes, mine, BLOCK, MPI_INT, MPI_STATUS_IGNORE));
    settle(f);
    NEED(MPI_File_read_at_all(f, other * bytes, got, BLOCK, MPI_INT, MPI_STATUS_IGNORE));
    check(got, BLOCK, other, "block");
}

static void strided(MPI_File f, int *mine, int *got)
{
    int other = (rank + ranks - 1) % ranks;
    const MPI_Offset start = (MPI_Offset)ranks * BLOCK * (MPI_Offset)sizeof(int),
                     record = RECORD * (MPI_Offset)sizeof(int);
    MPI_Datatype view;
    NEED(MPI_Type_vector(RECORDS, RECORD, RECORD * ranks, MPI_INT, &view));
    NEED(MPI_Type_commit(&view));
    NEED(MPI_File_set_view(f, start + rank * record, MPI_INT, view, "native", MPI_INFO_NULL));
    NEED(MPI_File_write_all(f, mine, RECORDS * RECORD, MPI_INT, MPI_STATUS_IGNORE));
    settle(f);
    NEED(MPI_File_set_view(f, start + other * record, MPI_INT, view, "native", MPI_INFO_NULL));
    NEED(MPI_File_read_all(f, got, RECORDS * RECORD, MPI_INT, MPI_STATUS_IGNORE));
    check(got, RECORDS * RECORD, other, "record");
    NEED(MPI_File_set_view(f, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    NEED(MPI_Type_free(&view));
}

int main(int argc, char **argv)
{
    MPI_File f;
    MPI_Offset size;
    NEED(MPI_Init(&argc, &argv));
    NEED(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    NEED(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
    int *mine = malloc(BLOCK * sizeof *mine), *got = malloc(BLOCK * sizeof *got);
    if (argc != 2 || mine == NULL || got == NULL)
        MPI_Abort(MPI_COMM_WORLD, 3);
    for (int i = 0; i < BLOCK; i++)
        mine[i] = rank * BLOCK + i;
    NEED(MPI_File_open(MPI_COMM_WORLD, argv[1], MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &f));
    blocks(f, mine, got);
    strided(f, mine, got);
    NEED(MPI_File_get_size(f, &size));
    NEED(MPI_File_close(&f));
    if (size != ranks * (MPI_Offset)sizeof(int) * (BLOCK + RECORDS * RECORD)) {
        fprintf(stderr, "rank %d: the file has %lld bytes\n", rank, (long long)size);
        MPI_Abort(MPI_COMM_WORLD, 4);
    }
    if (rank == 0)
        printf("MPI-IO by %d ranks: well\n", ranks);
    free(mine);
    free(got);
    NEED(MPI_Finalize());
    return 0;
}
