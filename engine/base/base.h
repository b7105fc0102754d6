/* engine/base/base.h - what every file of the library uses: control flow of failures, checked
 * arithmetic, small helpers.  Private. */
#ifndef APUSI_BASE_H
#define APUSI_BASE_H

#include <stdlib.h>
#include <string.h>

#include "apus/base.h"

/* Evaluate a call that returns apus_status; on failure go to the function's one `fail:` label, with
 * the code in the local variable `st`. */
#define APUS_TRY(call)                                                                             \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != APUS_OK)                                                                         \
            goto fail;                                                                             \
    } while (0)

/* The same in a function that owns nothing: hand the code up at once. */
#define APUS_FORWARD(call)                                                                         \
    do {                                                                                           \
        const apus_status forward_st = (call);                                                     \
        if (forward_st != APUS_OK)                                                                 \
            return forward_st;                                                                     \
    } while (0)

/* The only abort, for faults of the program itself; never for what a file, flag or driver says. */
#define APUS_BUG_IF(cond)                                                                          \
    do {                                                                                           \
        if (cond)                                                                                  \
            apus_bug(__FILE__, __LINE__, #cond);                                                   \
    } while (0)
_Noreturn void apus_bug(const char *file, int line, const char *what);

#define APUS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline uint64_t apus_round_up(uint64_t x, uint64_t multiple)
{
    return (x + multiple - 1) / multiple * multiple;
}

static inline uint64_t apus_ceil_div(uint64_t x, uint64_t by)
{
    return (x + by - 1) / by;
}

/* *out = a * b; false if it does not fit.  Sizes from files go through these. */
static inline bool apus_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool apus_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Host memory.  All of the engine allocates through these so that APUS_FAULT=host_alloc:n can make
 * the n-th call fail.  Return NULL when memory runs out (with the failure text set). */
void *apus_alloc(size_t bytes);                 /* zeroed */
void *apus_realloc(void *old, size_t bytes);    /* new tail is not zeroed */
void *apus_calloc(size_t n, size_t bytes_each); /* zeroed, checked */
/* Room for `more` elements of `each` bytes behind the n of a growing list, whose pointer lies at
 * `list`; NULL with room 0 is the empty one.  Errors: APUS_ERR_MEMORY (the list is as it was). */
apus_status apus_grow(void *list, size_t n, size_t more, size_t *room, size_t each);
char *apus_strdup(const char *text);
char *apus_strndup(const char *text, size_t bytes);
/* Like asprintf; NULL on failure. */
char *apus_format(const char *fmt, ...) APUS_PRINTF(1, 2);
void apus_free(void *p);
/* How many allocations of this thread have failed so far: code that builds something large out of
 * parts that may be missing asks once, before it is used. */
uint64_t apus_memory_failures(void);

#endif
