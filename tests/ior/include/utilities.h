/* utilities.h of the stand-in: what the backend needs of IOR's file of this name. */
#ifndef STANDIN_UTILITIES_H
#define STANDIN_UTILITIES_H

#include <mpi.h>
#include <stdint.h>

#include "ior.h"

extern int rank;
extern MPI_Comm testComm;

/* Memory, or the end of the run. */
void *safeMalloc(uint64_t size);

#endif
