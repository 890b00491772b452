#include "small.h"

int sum_bytes(const char *text)
{
    int n = 0;
    while (*text)
        n += *text++;
    return n;
}
