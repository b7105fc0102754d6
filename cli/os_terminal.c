/* os_terminal.c - calls of the operating system for terminals. */
#include "os_terminal.h"

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
