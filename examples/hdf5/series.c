/*
 * series.c: steps of a simulation in one HDF5 file: chunked, compressed, with attributes, extended step by step.
 *
 *     series benchfs /series.h5      into BenchFS, by its driver
 *     series disk series.h5          the same into a file of the kernel's
 */
#include "H5FDbenchfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEPS = 8,
    ROWS = 256,
    COLUMNS = 128
};

#define NEED(call)                                                          \
    do {                                                                    \
        if ((call) < 0) {                                                   \
            fprintf(stderr, "series: line %d: %s\n", __LINE__, #call);      \
            exit(1); /* HDF5 has printed its stack, BenchFS's text in it */ \
        }                                                                   \
    } while (0)

static void note(hid_t object, const char *name, double value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    NEED(attribute);
    NEED(H5Awrite(attribute, H5T_NATIVE_DOUBLE, &value));
    NEED(H5Aclose(attribute));
    NEED(H5Sclose(space));
}

static void create(const char *path, hid_t fapl)
{
    hsize_t none[3] = {0, ROWS, COLUMNS}, most[3] = {H5S_UNLIMITED, ROWS, COLUMNS}, chunk[3] = {1, ROWS, COLUMNS};
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl), space = H5Screate_simple(3, none, most);
    hid_t how = H5Pcreate(H5P_DATASET_CREATE);
    NEED(file);
    NEED(H5Pset_chunk(how, 3, chunk));
    NEED(H5Pset_deflate(how, 4));
    NEED(H5Pset_obj_track_times(how, 0)); /* so that two files made in turn are the same */
    hid_t data = H5Dcreate2(file, "temperature", H5T_IEEE_F64LE, space, H5P_DEFAULT, how, H5P_DEFAULT);
    NEED(data);
    note(data, "seconds per step", 0.25);
    NEED(H5Dclose(data));
    NEED(H5Pclose(how));
    NEED(H5Sclose(space));
    NEED(H5Fclose(file));
}

static void append(const char *path, hid_t fapl, hsize_t step)
{
    static double field[ROWS][COLUMNS];
    hsize_t size[3] = {step + 1, ROWS, COLUMNS}, start[3] = {step, 0, 0}, count[3] = {1, ROWS, COLUMNS};
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLUMNS; j++)
            field[i][j] = (double)step * 1000 + i + j / 1000.0;
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, fapl), data = H5Dopen2(file, "temperature", H5P_DEFAULT);
    NEED(data);
    NEED(H5Dset_extent(data, size));
    hid_t in_file = H5Dget_space(data), in_memory = H5Screate_simple(3, count, NULL);
    NEED(H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, count, NULL));
    NEED(H5Dwrite(data, H5T_NATIVE_DOUBLE, in_memory, in_file, H5P_DEFAULT, field));
    NEED(H5Sclose(in_memory));
    NEED(H5Sclose(in_file));
    NEED(H5Dclose(data));
    NEED(H5Fflush(file, H5F_SCOPE_GLOBAL));
    NEED(H5Fclose(file));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    if (strcmp(argv[1], "benchfs") == 0)
        NEED(H5Pset_fapl_benchfs(fapl));
    create(argv[2], fapl);
    for (hsize_t step = 0; step < STEPS; step++)
        append(argv[2], fapl, step);
    NEED(H5Pclose(fapl));
    printf("%d steps in %s\n", STEPS, argv[2]);
    return 0;
}
