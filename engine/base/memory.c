/* memory.c - host memory; every allocation of the engine can be made to fail by a test. */
#include <stdarg.h>
#include <stdio.h>

#include "env.h"

static _Thread_local uint64_t failures;

static void *out_of_memory(uint64_t bytes)
{
    failures++;
    apus_fail(APUS_ERR_MEMORY, "host memory ran out (asked for %llu bytes)",
              (unsigned long long)bytes);
    return NULL;
}

void *apus_alloc(size_t bytes)
{
    return apus_calloc(1, bytes);
}

void *apus_calloc(size_t n, size_t bytes_each)
{
    size_t bytes;

    if (__builtin_mul_overflow(n, bytes_each, &bytes))
        return out_of_memory(UINT64_MAX);
    if (apus_fault_now(APUS_FAULT_HOST_ALLOC))
        return out_of_memory(bytes);
    void *p = calloc(1, bytes ? bytes : 1);
    return p ? p : out_of_memory(bytes);
}

void *apus_realloc(void *old, size_t bytes)
{
    if (apus_fault_now(APUS_FAULT_HOST_ALLOC))
        return out_of_memory(bytes);
    void *p = realloc(old, bytes ? bytes : 1);
    return p ? p : out_of_memory(bytes);
}

apus_status apus_grow(void *list, size_t n, size_t more, size_t *room, size_t each)
{
    size_t want, bytes;
    void *items;

    if (n <= *room && more <= *room - n)
        return APUS_OK;
    /* Twice what is needed, so that a list that grows one by one is copied seldom. */
    if (__builtin_add_overflow(n, more, &want) || __builtin_mul_overflow(want, (size_t)2, &want) ||
        __builtin_add_overflow(want, (size_t)16, &want) ||
        __builtin_mul_overflow(want, each, &bytes)) {
        out_of_memory(UINT64_MAX);
        return APUS_ERR_MEMORY;
    }
    memcpy(&items, list, sizeof(items)); /* a pointer of any type */
    items = apus_realloc(items, bytes);
    if (!items)
        return APUS_ERR_MEMORY;
    memcpy(list, &items, sizeof(items));
    *room = want;
    return APUS_OK;
}

char *apus_strdup(const char *text)
{
    return apus_strndup(text, strlen(text));
}

char *apus_strndup(const char *text, size_t bytes)
{
    const size_t n = strnlen(text, bytes);
    char *copy = apus_alloc(n + 1);

    if (copy)
        memcpy(copy, text, n);
    return copy;
}

char *apus_format(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return out_of_memory(0);
    char *text = apus_alloc((size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

uint64_t apus_memory_failures(void)
{
    return failures;
}

void apus_free(void *p)
{
    free(p);
}
