/* arena.h - memory that is freed together: nodes, names and shapes of a graph. */
#ifndef APUSI_ARENA_H
#define APUSI_ARENA_H

#include "base.h"

typedef struct apus_arena {
    struct apus_arena_block *head;
    size_t bytes; /* handed out so far */
} apus_arena;

/* Zeroed memory, aligned to 16, that lives until apus_arena_release.  NULL when memory ran out. */
void *apus_arena_alloc(apus_arena *arena, size_t bytes);
char *apus_arena_strdup(apus_arena *arena, const char *text);
char *apus_arena_format(apus_arena *arena, const char *fmt, ...) APUS_PRINTF(2, 3);
/* Free everything; safe on {0}. */
void apus_arena_release(apus_arena *arena);

#endif
