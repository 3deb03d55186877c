/* What the programs here have in common. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

/* The monotonic clock, in seconds. */
static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}
