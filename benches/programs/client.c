/* client PORT REQUESTS...

   One client for each file of REQUESTS, all at once, against the web server at 127.0.0.1:PORT. A client
   sends its lines (see run.c) one after another, each through a connection of its own, as curl from
   cron does. Prints the seconds that they took together; fails on any other reply than expected. */

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

static void request(int port, const char *word, const char *query) {
    char text[4096], expected[64];
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connection < 0 || connect(connection, (struct sockaddr *)&server, sizeof server)) fail("connect");
    int size = snprintf(text, sizeof text,
                        "GET /ip.php?%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", query);
    if (write(connection, text, size) != size) fail("write");
    ssize_t length = 0, more;
    while ((more = read(connection, text + length, sizeof text - 1 - length)) > 0) length += more;
    if (more < 0) fail("read");
    close(connection);
    text[length] = 0;
    snprintf(expected, sizeof expected, "\n%s ", word);
    if (!strstr(text, expected)) {
        fprintf(stderr, "client: expected %s, got: %s\n", word, text);
        exit(1);
    }
}

static void client(int port, const char *path) {
    char line[4096];
    FILE *requests = fopen(path, "r");
    if (!requests) fail(path);
    while (fgets(line, sizeof line, requests)) {
        char *word = strtok(line, " "), *query = (strtok(NULL, " "), strtok(NULL, "\n"));
        if (!query) fail(line);
        request(port, word, query);
    }
}

int main(int count, char **arguments) {
    int failed = 0, status;
    if (count < 3) return 2;
    double start = now();
    for (int index = 2; index < count; index++) {
        pid_t process = fork();
        if (process < 0) fail("fork");
        if (process == 0) {
            client(atoi(arguments[1]), arguments[index]);
            return 0;
        }
    }
    while (wait(&status) > 0) failed |= status != 0;
    printf("%.6f\n", now() - start);
    return failed;
}
