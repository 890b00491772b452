/*
 * program.c: redirects low descriptors, as shells do, while the library opens its own all the time. A descriptor that was made by dup2 is the
 * program's until it closes it. Usage: program PATH ROUNDS; the path is under the prefix.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int pair[2];
    if (argc != 3 || pipe(pair) != 0 || open(argv[1], O_RDONLY) != -1 || errno != ENOENT)
        return 2;
    int rounds = atoi(argv[2]);
    for (int i = 0; i < rounds; i++) {
        int to = 5 + i % 3; /* the lowest that are free: where the library's appear */
        char byte = 0;
        if (dup2(pair[1], to) != to || write(to, "x", 1) != 1 || read(pair[0], &byte, 1) != 1 || byte != 'x' ||
            close(to) != 0) {
            perror("a descriptor of the program");
            return 1;
        }
        close(to); /* and once more, blindly */
    }
    return 0;
}
