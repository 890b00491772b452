/* pattern.c: file contents that tell where each byte belongs. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/*
 * The file is a table of random words, repeated. Its period is a page times a prime, so that blocks of any size in use, and blocks at other
 * multiples of a power of two, differ; a write needs no copy, as its bytes stand in the table already. Each pass starts elsewhere in it.
 */
#define PERIOD ((size_t)4096 * 257)
#define PASS_SHIFT ((size_t)4096 * 31)

static unsigned char *table;

void pattern_start(size_t max_block)
{
    size_t size = PERIOD + max_block;
    uint64_t *words = must_alloc((size + 7) / 8 * 8);
    for (size_t i = 0; i < (size + 7) / 8; i++) { /* splitmix64 */
        uint64_t x = (i % (PERIOD / 8) + 1) * 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        words[i] = x ^ (x >> 31);
    }
    table = (unsigned char *)words;
}

const void *pattern_at(off_t offset, unsigned pass)
{
    return table + ((size_t)offset + pass * PASS_SHIFT) % PERIOD;
}

static void mismatch(off_t offset, size_t len, unsigned pass)
{
    die("wrong data in the %zu bytes at offset %lld (pass %u)", len, (long long)offset, pass);
}

void pattern_check_ends(const void *buf, size_t len, off_t offset, unsigned pass)
{
    const unsigned char *want = pattern_at(offset, pass), *got = buf;
    size_t word = len < sizeof(uint64_t) ? len : sizeof(uint64_t);
    if (memcmp(want, got, word) != 0 || memcmp(want + len - word, got + len - word, word) != 0)
        mismatch(offset, len, pass);
}

void pattern_check(const void *buf, size_t len, off_t offset, unsigned pass)
{
    if (memcmp(pattern_at(offset, pass), buf, len) != 0)
        mismatch(offset, len, pass);
}
