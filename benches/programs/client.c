/* client PORT|SOCKET REQUESTS...

   One client for each file of REQUESTS, all at once. A client sends its lines (see run.c) one after
   another: to the web server at 127.0.0.1:PORT, each through a connection of its own, as curl from cron
   does; or by FastCGI to the program at a Unix SOCKET, as a web server does that keeps its connection.
   Prints the seconds that they took together; fails on any other reply than expected. */

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5 };

static int connect_to(const char *server) {
    struct sockaddr_in web = {.sin_family = AF_INET, .sin_port = htons(atoi(server))};
    struct sockaddr_un program = {.sun_family = AF_UNIX};
    inet_pton(AF_INET, "127.0.0.1", &web.sin_addr);
    strncpy(program.sun_path, server, sizeof program.sun_path - 1);
    int is_web = *server != '/', connection = socket(is_web ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    if (connection < 0 || (is_web ? connect(connection, (struct sockaddr *)&web, sizeof web)
                                  : connect(connection, (struct sockaddr *)&program, sizeof program)))
        fail(server);
    return connection;
}

static void expect(const char *text, const char *word) {
    char expected[64];
    snprintf(expected, sizeof expected, "\n%s ", word);
    if (!strstr(text, expected)) {
        fprintf(stderr, "client: expected %s, got: %s\n", word, text);
        exit(1);
    }
}

static void request_http(const char *port, const char *word, const char *query) {
    char text[4096];
    int connection = connect_to(port);
    int size = snprintf(text, sizeof text,
                        "GET /ip.php?%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", query);
    if (write(connection, text, size) != size) fail("write");
    ssize_t length = 0, more;
    while ((more = read(connection, text + length, sizeof text - 1 - length)) > 0) length += more;
    if (more < 0) fail("read");
    close(connection);
    text[length] = 0;
    expect(text, word);
}

/* Appends a record; its content follows unless it is there already. */
static char *record(char *at, int kind, const char *content, size_t length) {
    const unsigned char header[] = {1, kind, 0, 1, length >> 8, length, 0, 0};
    memcpy(at, header, sizeof header);
    memmove(at + sizeof header, content, length);
    return at + sizeof header + length;
}

static char *variable(char *at, const char *name, const char *value) {
    size_t length = strlen(value);
    *at++ = strlen(name);
    if (length >= 128) *at++ = 0x80, *at++ = 0, *at++ = length >> 8;
    *at++ = length;
    return stpcpy(stpcpy(at, name), value);
}

static void request_fastcgi(int connection, const char *word, const char *address, const char *query) {
    char text[8192], variables[4096], *end = variables;
    const char *const others[][2] = {
        {"SCRIPT_NAME", "/ip.php"}, {"PATH_INFO", ""}, {"REQUEST_METHOD", "GET"}, {"CONTENT_TYPE", ""},
        {"CONTENT_LENGTH", ""}, {"SERVER_ADDR", "127.0.0.1"}, {"SERVER_SOFTWARE", "client"},
        {"HTTP_HOST", "localhost"},
    };
    for (size_t index = 0; index < sizeof others / sizeof *others; index++)
        end = variable(end, others[index][0], others[index][1]);
    end = variable(variable(end, "REMOTE_ADDR", address), "QUERY_STRING", query);

    char *at = record(text, BEGIN_REQUEST, "\0\1\1\0\0\0\0\0", 8);
    at = record(at, PARAMS, variables, end - variables);
    at = record(record(at, PARAMS, "", 0), STDIN, "", 0);
    if (write(connection, text, at - text) != at - text) fail("write");
    ssize_t length = 0, more;
    /* The end of a request is a record of 16 bytes, and the last thing that comes. */
    while (length < 16 || text[length - 15] != END_REQUEST) {
        if ((more = read(connection, text + length, sizeof text - 1 - length)) <= 0) fail("read");
        length += more;
    }
    for (ssize_t index = 0; index < length; index++)
        if (!text[index]) text[index] = ' ';
    text[length] = 0;
    expect(text, word);
}

static void client(const char *server, const char *path) {
    char line[4096];
    FILE *requests = fopen(path, "r");
    if (!requests) fail(path);
    int connection = *server == '/' ? connect_to(server) : -1;
    while (fgets(line, sizeof line, requests)) {
        char *word = strtok(line, " "), *address = strtok(NULL, " "), *query = strtok(NULL, "\n");
        if (!query) fail(line);
        if (connection < 0)
            request_http(server, word, query);
        else
            request_fastcgi(connection, word, address, query);
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
            client(arguments[1], arguments[index]);
            return 0;
        }
    }
    while (wait(&status) > 0) failed |= status != 0;
    printf("%.6f\n", now() - start);
    return failed;
}
