#include "small.h"
#include <stdio.h>

int main(void)
{
    static char text[1 << 16];
    text[fread(text, 1, sizeof text - 1, stdin)] = '\0';
    printf("%d lines, %d words, sum %d\n", count_lines(text), count_words(text), sum_bytes(text));
    return 0;
}
