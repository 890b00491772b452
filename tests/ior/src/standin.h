/*
 * standin.h: a small program in the place of IOR and mdtest. It calls the table of ior/aiori-BENCHFS.c as these do: the same fields in the
 * same order and phases, from MPI ranks, with options of the same letters; and it looks at every result.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "aiori.h"
#include "utilities.h"

extern ior_aiori_t benchfs_aiori;
extern int ranks;
extern long warnings; /* that this rank has printed */

/* A test of one command line; several of them are separated by --then, as the tests of a script of IOR's. */
struct arguments {
    int count;
    char **text;
};

/*
 * Parses the options of a test into the variables of own and those of the backend, and returns the values of the backend for this test. As in IOR, a
 * test has the backend's options of the tests before it too. What nobody knows ends the run.
 */
aiori_mod_opt_t *parse(struct arguments a, option_help *own);

/* The words that a rank writes at an offset of a file, and how many of those in data are others. */
void fill(uint64_t *data, size_t bytes, uint64_t seed, int writer, IOR_offset_t offset);
long count_wrong(const uint64_t *data, size_t bytes, uint64_t seed, int writer, IOR_offset_t offset);

/* The sum over all ranks. */
long total(long here);

/* Rank 0 prints what the file system says of itself, or that it says nothing. */
void show_file_system(const char *path, aiori_mod_opt_t *options);

void barrier(void);

/* Both return the number of errors in the data, of all ranks. */
long run_ior(struct arguments *tests, int count);
long run_mdtest(struct arguments test);

#endif
