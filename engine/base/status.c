/* status.c - status codes and the text of the thread's last failure. */
#include <stdarg.h>
#include <stdio.h>

#include "base.h"

#define ERROR_ROOM 4096

static _Thread_local char error_text[ERROR_ROOM];

const char *apus_status_text(apus_status status)
{
    switch (status) {
#define X(name, value, text)                                                                       \
    case APUS_##name:                                                                              \
        return text;
#include "apus/status.def"
#undef X
    }
    return "unknown status";
}

const char *apus_error_text(void)
{
    return error_text;
}

apus_status apus_fail(apus_status status, const char *fmt, ...)
{
    /* Formatted beside the old text, because the old text may be one of the arguments. */
    char fresh[ERROR_ROOM];
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(fresh, sizeof fresh, fmt, args);
    va_end(args);
    if (n < 0)
        fresh[0] = 0;
    else if ((size_t)n >= sizeof fresh)
        memcpy(fresh + sizeof fresh - 4, "...", 4);
    memcpy(error_text, fresh, sizeof fresh);
    return status;
}
