/* The floor of a CGI: it answers, and does nothing else. */

#include <unistd.h>

int main(void) {
    static const char reply[] = "Content-Type: text/plain; charset=utf-8\r\n\r\nnochg 127.0.0.1\n";
    return write(STDOUT_FILENO, reply, sizeof reply - 1) != sizeof reply - 1;
}
