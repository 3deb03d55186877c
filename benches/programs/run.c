/* run REQUESTS COMMAND [ARGUMENT...]

   Runs COMMAND as a CGI once for each line of REQUESTS, one after another. A line is
   `WORD ADDRESS QUERY`: the word of the expected reply, REMOTE_ADDR and QUERY_STRING. For each prints

       CPU WALL MEMORY DETACHED

   CPU (user and system) and wall time of the process in microseconds, its largest resident memory in
   KiB, and the CPU of processes that it left behind, for which this waits before the next request.

   It is small and static since the kernel counts the memory of who starts a process as that process's. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

extern char **environ;

static double cpu(const struct rusage *usage) {
    return (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1e6 + usage->ru_utime.tv_usec +
           usage->ru_stime.tv_usec;
}

static void request(const char *word, char **command) {
    int reply[2], status;
    char text[4096], expected[64];
    pid_t process;
    struct rusage usage, left_behind;
    posix_spawn_file_actions_t files;
    if (pipe2(reply, O_CLOEXEC)) fail("pipe");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, reply[1], STDOUT_FILENO);

    double start = now();
    if (posix_spawn(&process, command[0], &files, NULL, command, environ)) fail(command[0]);
    if (wait4(process, &status, 0, &usage) != process) fail("wait");
    double wall = (now() - start) * 1e6, detached = 0;
    while (wait4(-1, NULL, 0, &left_behind) > 0) detached += cpu(&left_behind);

    close(reply[1]);
    ssize_t length = read(reply[0], text, sizeof text - 1);
    close(reply[0]);
    posix_spawn_file_actions_destroy(&files);
    text[length > 0 ? length : 0] = 0;
    snprintf(expected, sizeof expected, "\n%s ", word);
    if (status || !strstr(text, expected)) {
        fprintf(stderr, "%s: exit status %d, expected %s, got: %s\n", command[0], status, word, text);
        exit(1);
    }
    printf("%.0f %.0f %ld %.0f\n", cpu(&usage), wall, usage.ru_maxrss, detached);
}

int main(int count, char **arguments) {
    char line[4096];
    if (count < 3) return 2;
    FILE *requests = fopen(arguments[1], "re");
    if (!requests) fail(arguments[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    while (fgets(line, sizeof line, requests)) {
        char *word = strtok(line, " "), *address = strtok(NULL, " "), *query = strtok(NULL, "\n");
        if (!query || setenv("REMOTE_ADDR", address, 1) || setenv("QUERY_STRING", query, 1)) fail(line);
        request(word, arguments + 2);
    }
    return 0;
}
