#include "small.h"
#include <ctype.h>

int count_words(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += !isspace((unsigned char)*text) && (text[1] == '\0' || isspace((unsigned char)text[1]));
    return n;
}
