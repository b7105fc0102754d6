/* arena.c - a list of blocks; an allocation takes of the newest block or opens another. */
#include "arena.h"

#include <stdarg.h>
#include <stdio.h>

#define ALIGN 16u
#define BLOCK_BYTES ((size_t)64 * 1024)

typedef struct apus_arena_block {
    struct apus_arena_block *next;
    size_t used; /* bytes of data handed out */
    size_t room; /* bytes of data */
    size_t pad;  /* keeps data aligned to 16 */
    unsigned char data[];
} apus_arena_block;

_Static_assert(offsetof(apus_arena_block, data) % ALIGN == 0, "data of a block is aligned");

static apus_arena_block *add_block(apus_arena *arena, size_t bytes)
{
    const size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    apus_arena_block *block = apus_alloc(sizeof *block + room);

    if (!block)
        return NULL;
    block->room = room;
    /* A block for one large piece goes behind the head, whose rest stays in use. */
    if (arena->head && bytes > BLOCK_BYTES) {
        block->next = arena->head->next;
        arena->head->next = block;
    } else {
        block->next = arena->head;
        arena->head = block;
    }
    return block;
}

void *apus_arena_alloc(apus_arena *arena, size_t bytes)
{
    apus_arena_block *block = arena->head;

    if (bytes > SIZE_MAX / 2) {
        apus_fail(APUS_ERR_MEMORY, "host memory ran out (asked for %zu bytes)", bytes);
        return NULL;
    }
    const size_t rounded = bytes ? (size_t)apus_round_up(bytes, ALIGN) : ALIGN;
    if (!block || block->room - block->used < rounded)
        block = add_block(arena, rounded);
    if (!block)
        return NULL;
    void *p = block->data + block->used;
    block->used += rounded;
    arena->bytes += rounded;
    return p;
}

char *apus_arena_strdup(apus_arena *arena, const char *text)
{
    const size_t n = strlen(text);
    char *copy = apus_arena_alloc(arena, n + 1);

    if (copy)
        memcpy(copy, text, n);
    return copy;
}

char *apus_arena_format(apus_arena *arena, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0)
        return NULL;
    char *text = apus_arena_alloc(arena, (size_t)n + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

void apus_arena_release(apus_arena *arena)
{
    apus_arena_block *block = arena->head;

    while (block) {
        apus_arena_block *next = block->next;
        apus_free(block);
        block = next;
    }
    *arena = (apus_arena) { 0 };
}
