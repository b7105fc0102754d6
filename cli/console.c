/* console.c - the log's sink and lines for the user. */
#include "console.h"

#include <stdarg.h>
#include <stdio.h>

#include "base.h"
#include "env.h"

/* The process has one stderr, so what is drawn on it is known in one place. */
static struct {
    apus_console_bar *bar;
    void *user;
} shown;

void apusi_console_set_bar(apus_console_bar *bar, void *user)
{
    shown.bar = bar;
    shown.user = user;
}

static void sink(void *user, apus_log_level level, const char *line)
{
    static const char *const names[] = {
        [APUS_LOG_ERROR] = "ERROR",
        [APUS_LOG_WARN] = "WARNING",
        [APUS_LOG_INFO] = "INFO",
        [APUS_LOG_DEBUG] = "DEBUG",
    };

    (void)user;
    if (shown.bar)
        shown.bar(shown.user, false);
    fprintf(stderr, "[%s:apus] %s\n", names[level], line);
    if (shown.bar)
        shown.bar(shown.user, true);
}

void apus_console_open(void)
{
    static const struct {
        const char *name;
        apus_log_level level;
    } levels[] = {
        { "error", APUS_LOG_ERROR },
        { "warn", APUS_LOG_WARN },
        { "info", APUS_LOG_INFO },
        { "debug", APUS_LOG_DEBUG },
    };
    const char *wanted = apus_env_get(APUS_LOG);
    apus_log_level level = APUS_LOG_INFO;
    bool known = false;

    for (size_t i = 0; i < APUS_COUNT(levels); i++) {
        if (strcmp(wanted, levels[i].name) != 0)
            continue;
        level = levels[i].level;
        known = true;
    }
    apus_log_set(sink, NULL, level);
    if (!known)
        apus_log(APUS_LOG_WARN, "APUS_LOG is '%s'; it must be error, warn, info or debug", wanted);
}

void apus_console_close(void)
{
    if (shown.bar)
        shown.bar(shown.user, false);
    shown.bar = NULL;
}

void apus_console_print(const char *fmt, ...)
{
    va_list ap;

    if (shown.bar)
        shown.bar(shown.user, false);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
    if (shown.bar)
        shown.bar(shown.user, true);
}
