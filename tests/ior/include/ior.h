/* ior.h of the stand-in: IOR's has its test parameters, which no backend needs. */
#ifndef STANDIN_IOR_H
#define STANDIN_IOR_H

#include "aiori.h"
#include "iordef.h"

#endif
