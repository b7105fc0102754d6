/* os_terminal.h - what the operating system knows of the terminal. */
#ifndef APUSI_OS_TERMINAL_H
#define APUSI_OS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

bool apusi_is_terminal(FILE *file);
/* Columns of the terminal behind a file; 80 where there is none. */
size_t apusi_terminal_columns(FILE *file);

#endif
