/*
 * H5FDbenchfs.h: a virtual file driver of HDF5 that keeps files in BenchFS.
 *
 *     hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
 *     H5Pset_fapl_benchfs(fapl);
 *     hid_t file = H5Fcreate("/simulation.h5", H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
 *
 * Names are paths of BenchFS. benchfs_init is called with the first file, unless the program has done so; benchfs_finalize when HDF5 ends.
 * Needs HDF5 1.10 or newer. From 1.14 on it is also a plugin: HDF5_PLUGIN_PATH names its directory, HDF5_DRIVER=benchfs selects it.
 */
#ifndef H5FDBENCHFS_H
#define H5FDBENCHFS_H

#include <hdf5.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Files that are created or opened with this property list are BenchFS's. A negative value is an error, on HDF5's error stack. */
herr_t H5Pset_fapl_benchfs(hid_t fapl);

#ifdef __cplusplus
}
#endif

#endif /* H5FDBENCHFS_H */
