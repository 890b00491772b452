/*
 * aiori.h of the stand-in: the interface between IOR 4.x and its backends, as far as ior/aiori-BENCHFS.c touches it, so that the backend can be
 * compiled and driven where there is no IOR. Names, types and values are the facts of that interface; `make ior IOR_SRC=...` compiles the same
 * source against IOR's own headers, which notices when these here have come to differ.
 *
 * With STANDIN_IOR_4_0 the table is that of release 4.0, where one field has another name.
 */
#ifndef STANDIN_AIORI_H
#define STANDIN_AIORI_H

#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "iordef.h"

/* Flags of create and open: not those of POSIX. */
enum {
    IOR_RDONLY = 0x01,
    IOR_WRONLY = 0x02,
    IOR_RDWR = 0x04,
    IOR_APPEND = 0x08,
    IOR_CREAT = 0x10,
    IOR_TRUNC = 0x20,
    IOR_EXCL = 0x40,
    IOR_DIRECT = 0x80
};

/* ==== Options ==== */

typedef enum {
    OPTION_FLAG, /* an int that counts */
    OPTION_OPTIONAL_ARGUMENT,
    OPTION_REQUIRED_ARGUMENT
} option_value_type;

typedef struct {
    char shortVar;
    char *longVar;
    char *help;
    option_value_type arg;
    char type; /* of the variable: 'd' int, 'l' long long (with k, m, g), 's' char * */
    void *variable;
} option_help;

/* Ends a table of options. */
#define LAST_OPTION                            \
    {                                          \
        0, 0, 0, (option_value_type)0, 0, NULL \
    }

/* Each backend has structures of its own behind these. */
typedef struct aiori_mod_opt_t aiori_mod_opt_t;
typedef struct aiori_fd_t aiori_fd_t;

/* ==== The table ==== */

typedef struct ior_aiori_statfs {
    uint64_t f_bsize;
    uint64_t f_blocks;
    uint64_t f_bfree;
    uint64_t f_bavail;
    uint64_t f_files;
    uint64_t f_ffree;
} ior_aiori_statfs_t;

typedef struct aiori_xfer_hint_t {
    int dryRun;
    int filePerProc;
    int collective;
    int numTasks; /* 0: mdtest, which leaves all but filePerProc and fsyncPerWrite 0 */
    int numNodes;
    int randomOffset;
    int fsyncPerWrite;
    IOR_offset_t segmentCount;
    IOR_offset_t blockSize;
    IOR_offset_t transferSize;
    IOR_offset_t expectedAggFileSize;
    int singleXferAttempt;
} aiori_xfer_hint_t;

typedef struct ior_aiori {
    char *name;
    char *name_legacy;
    aiori_fd_t *(*create)(char *, int iorflags, aiori_mod_opt_t *);
    int (*mknod)(char *);
    aiori_fd_t *(*open)(char *, int iorflags, aiori_mod_opt_t *);
    void (*xfer_hints)(aiori_xfer_hint_t *);
    IOR_offset_t (*xfer)(int access, aiori_fd_t *, IOR_size_t *, IOR_offset_t size, IOR_offset_t offset,
                         aiori_mod_opt_t *);
    void (*close)(aiori_fd_t *, aiori_mod_opt_t *);
#ifdef STANDIN_IOR_4_0
    void (*delete)(char *, aiori_mod_opt_t *);
#define STANDIN_REMOVE delete
#else
    void (*remove)(char *, aiori_mod_opt_t *);
#define STANDIN_REMOVE remove
#endif
    char *(*get_version)(void);
    void (*fsync)(aiori_fd_t *, aiori_mod_opt_t *);
    IOR_offset_t (*get_file_size)(aiori_mod_opt_t *, char *);
    int (*statfs)(const char *, ior_aiori_statfs_t *, aiori_mod_opt_t *);
    int (*mkdir)(const char *, mode_t, aiori_mod_opt_t *);
    int (*rmdir)(const char *, aiori_mod_opt_t *);
    int (*access)(const char *, int mode, aiori_mod_opt_t *);
    int (*stat)(const char *, struct stat *, aiori_mod_opt_t *);
    void (*initialize)(aiori_mod_opt_t *);
    void (*finalize)(aiori_mod_opt_t *);
    int (*rename)(const char *from, const char *to, aiori_mod_opt_t *);
    option_help *(*get_options)(aiori_mod_opt_t **values, aiori_mod_opt_t *from);
    int (*check_params)(aiori_mod_opt_t *);
    void (*sync)(aiori_mod_opt_t *);
    bool enable_mdtest;
} ior_aiori_t;

/* ==== Messages ==== */

/* Where messages go. */
extern FILE *out_logfile;

/* kind is "ERROR", which ends the run, "WARNING" or "INFO". */
void standin_say(const char *kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define ERRF(...) standin_say("ERROR", __VA_ARGS__)
#define ERR(text) standin_say("ERROR", "%s", text)
#define WARNF(...) standin_say("WARNING", __VA_ARGS__)
#define INFOF(...) standin_say("INFO", __VA_ARGS__)

#define MPI_CHECK(status, text)                 \
    do {                                        \
        if ((status) != MPI_SUCCESS)            \
            standin_say("ERROR", "%s", (text)); \
    } while (0)

#endif
