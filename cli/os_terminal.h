/* os_terminal.h - what the operating system knows of the terminal. */
#ifndef APUSI_OS_TERMINAL_H
#define APUSI_OS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "apus/base.h"

bool apusi_is_terminal(FILE *file);
/* Columns of the terminal behind a file; 80 where there is none. */
size_t apusi_terminal_columns(FILE *file);

/* One byte of stdin: 1; 0 at its end; -1 where it fails or once cancel->requested is set. */
int apusi_terminal_read(char *byte, const apus_cancel *cancel);

#endif
