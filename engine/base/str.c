/* str.c - a byte string that doubles its room. */
#include "str.h"

#include <stdarg.h>
#include <stdio.h>

/* Room for n more bytes and the final NUL. */
static bool reserve(apus_str *s, size_t n)
{
    size_t need;

    if (s->failed)
        return false;
    if (__builtin_add_overflow(s->len, n, &need) || need > SIZE_MAX / 4) {
        apus_fail(APUS_ERR_MEMORY, "a text of more than %zu bytes", SIZE_MAX / 4);
        s->failed = true;
        return false;
    }
    if (need < s->room)
        return true;
    size_t room = s->room ? s->room * 2 : 64;
    if (room <= need)
        room = need + 1;
    char *data = apus_realloc(s->data, room);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->room = room;
    return true;
}

void apus_str_add(apus_str *s, const char *text)
{
    apus_str_add_bytes(s, text, strlen(text));
}

void apus_str_add_bytes(apus_str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n))
        return;
    if (n)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void apus_str_addf(apus_str *s, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0) {
        s->failed = true;
        return;
    }
    if (!reserve(s, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, args);
    va_end(args);
    s->len += (size_t)n;
}

void apus_str_clear(apus_str *s)
{
    s->len = 0;
    s->failed = false;
    if (s->data)
        s->data[0] = 0;
}

void apus_str_release(apus_str *s)
{
    apus_free(s->data);
    *s = (apus_str) { 0 };
}
