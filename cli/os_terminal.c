/* os_terminal.c - calls of the operating system for terminals. */
#include "os_terminal.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool apusi_is_terminal(FILE *file)
{
    return isatty(fileno(file)) == 1;
}

size_t apusi_terminal_columns(FILE *file)
{
    struct winsize size;

    if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col;
}

int apusi_terminal_read(char *byte, const apus_cancel *cancel)
{
    struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

    /* A signal that comes between the look at `cancel` and the wait is seen in the next turn. */
    while (!cancel->requested) {
        const int ready = poll(&in, 1, 100);

        if (ready == 0 || (ready < 0 && errno == EINTR))
            continue;
        if (ready < 0)
            return -1;
        const ssize_t n = read(STDIN_FILENO, byte, 1);
        if (n >= 0 || (errno != EINTR && errno != EAGAIN))
            return (int)n;
    }
    errno = EINTR;
    return -1;
}
