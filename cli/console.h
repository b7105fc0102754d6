/* console.h - lines of the log and a progress bar, both on stderr and not in each other's way.
 *
 * One console for the process, used by one thread at a time.  No colour is ever written, so
 * NO_COLOR needs no switch. */
#ifndef APUS_CLI_CONSOLE_H
#define APUS_CLI_CONSOLE_H

#include "apus/base.h"

/* Send the log to stderr, as much of it as APUS_LOG asks for. */
void apus_console_open(void);
/* Take away a bar that a command which failed has left. */
void apus_console_close(void);

/* A line on stdout that does not run into the bar. */
void apus_console_print(const char *fmt, ...) APUS_PRINTF(1, 2);

/* The bar that console lines step aside for; progress.c sets it. */
typedef void apus_console_bar(void *user, bool show);
void apusi_console_set_bar(apus_console_bar *bar, void *user);

#endif
