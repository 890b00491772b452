/* iordef.h of the stand-in: what the backend needs of IOR's file of this name. Written for these tests; see aiori.h. */
#ifndef STANDIN_IORDEF_H
#define STANDIN_IORDEF_H

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIBIBYTE (1 << 10)
#define MEBIBYTE (1 << 20)
#define GIBIBYTE (1 << 30)

/* What a transfer is for. */
#define WRITE 0
#define WRITECHECK 1
#define READ 2
#define READCHECK 3

typedef long long int IOR_offset_t;
typedef long long int IOR_size_t;

#endif
