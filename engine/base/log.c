/* log.c - the log sink of the process, and the end of a program that found a fault in itself. */
#include <stdarg.h>
#include <stdio.h>

#include "base.h"

#define LINE_ROOM 4096

static apus_log_sink log_sink;
static void *log_user;
static apus_log_level log_most;

void apus_log_set(apus_log_sink sink, void *user, apus_log_level most)
{
    log_sink = sink;
    log_user = user;
    log_most = most;
}

void apus_log(apus_log_level level, const char *fmt, ...)
{
    char line[LINE_ROOM];
    va_list args;

    if (!log_sink || level > log_most)
        return;
    va_start(args, fmt);
    const int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof line)
        memcpy(line + sizeof line - 4, "...", 4);
    log_sink(log_user, level, line);
}

_Noreturn void apus_bug(const char *file, int line, const char *what)
{
    /* Without a sink the reason would be lost with the process. */
    if (log_sink)
        apus_log(APUS_LOG_ERROR, "%s:%d: fault of the program: %s", file, line, what);
    else
        fprintf(stderr, "%s:%d: fault of the program: %s\n", file, line, what);
    abort();
}
