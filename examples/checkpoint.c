/*
 * checkpoint FILE STEPS [STOP]: a simulation that goes on where its last checkpoint is. It writes one every 10 steps, beside the old one,
 * which the new one replaces when it is whole: whenever the program ends, FILE is a checkpoint or is not there. STOP is the step at which it
 * ends as if it had been killed.
 */
#include <benchfs.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CELLS = 1 << 18,
    EVERY = 10
};

static struct state {
    long step;
    double cell[CELLS];
} now;

/* Ends the program if a call has failed. */
static ssize_t check(ssize_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, benchfs_last_error());
        exit(1);
    }
    return result;
}

static void save(const char *path)
{
    char beside[BENCHFS_PATH_MAX + 1];
    snprintf(beside, sizeof beside, "%s.new", path);
    int fd = (int)check(benchfs_creat(beside, 0644), "create");
    for (size_t done = 0; done < sizeof now;) { /* after a short write the next one tells why */
        done += (size_t)check(benchfs_write(fd, (const char *)&now + done, sizeof now - done), "write");
    }
    check(benchfs_fsync(fd), "fsync"); /* before the name: it must not stand for what is not there yet */
    check(benchfs_close(fd), "close");
    check(benchfs_rename(beside, path), "rename");
}

static int load(const char *path)
{
    int fd = benchfs_open(path, O_RDONLY, 0);
    if (fd < 0) {
        return 0;
    }
    if (check(benchfs_read(fd, &now, sizeof now), "read") != (ssize_t)sizeof now) {
        fprintf(stderr, "%s is too short\n", path);
        exit(1);
    }
    check(benchfs_close(fd), "close");
    return 1;
}

static void advance(void)
{
    double left = now.cell[CELLS - 1];
    for (int i = 0; i < CELLS; i++) {
        double here = now.cell[i];
        now.cell[i] = 0.5 * here + 0.5 * left + (i == now.step % CELLS);
        left = here;
    }
    now.step++;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s FILE STEPS [STOP]\n", argv[0]);
        return 2;
    }
    const long steps = atol(argv[2]), stop = argc > 3 ? atol(argv[3]) : -1;
    check(benchfs_init(NULL), "init");
    if (load(argv[1])) {
        printf("goes on after step %ld\n", now.step);
    }
    while (now.step < steps) {
        advance();
        if (now.step == stop) {
            printf("ends in step %ld\n", now.step);
            return 3;
        }
        if (now.step % EVERY == 0) {
            save(argv[1]);
        }
    }
    double sum = 0;
    for (int i = 0; i < CELLS; i++) {
        sum += now.cell[i] * (i % 7 + 1);
    }
    printf("step %ld: %.9f\n", now.step, sum);
    return benchfs_finalize() != 0;
}
