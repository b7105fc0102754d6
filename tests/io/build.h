/* build.h - helpers of the tests of engine/io: GGUF and safetensors files made in memory, and paths
 * of the golden models. */
#ifndef TESTS_IO_BUILD_H
#define TESTS_IO_BUILD_H

#include <stdio.h>

#include "gguf.h"
#include "harness.h"

typedef struct bytes {
    uint8_t at[1 << 16];
    size_t n;
} bytes;

static inline void put(bytes *b, const void *data, size_t n)
{
    APUS_BUG_IF(b->n + n > sizeof(b->at));
    if (n)
        memcpy(b->at + b->n, data, n);
    b->n += n;
}

static inline void put_number(bytes *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) {
        const uint8_t byte = (uint8_t)(v >> (8 * i));

        put(b, &byte, 1);
    }
}

static inline void put_text(bytes *b, const char *text)
{
    put_number(b, strlen(text), 8);
    put(b, text, strlen(text));
}

static inline void put_gguf(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_pairs)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put_number(b, version, 4);
    put_number(b, n_tensors, 8);
    put_number(b, n_pairs, 8);
}

static inline void put_key(bytes *b, const char *key, apus_gguf_type type)
{
    put_text(b, key);
    put_number(b, type, 4);
}

static inline void put_u32(bytes *b, const char *key, uint32_t v)
{
    put_key(b, key, APUS_GGUF_U32);
    put_number(b, v, 4);
}

static inline void put_f32(bytes *b, const char *key, float v)
{
    put_key(b, key, APUS_GGUF_F32);
    put(b, &v, 4);
}

static inline void put_string(bytes *b, const char *key, const char *v)
{
    put_key(b, key, APUS_GGUF_STRING);
    put_text(b, v);
}

static inline void put_tensor(bytes *b, const char *name, uint32_t n_dims, uint64_t inner,
                              uint64_t outer, uint32_t format, uint64_t offset)
{
    put_text(b, name);
    put_number(b, n_dims, 4);
    if (n_dims > 0)
        put_number(b, inner, 8);
    if (n_dims > 1)
        put_number(b, outer, 8);
    for (uint32_t i = 2; i < n_dims; i++)
        put_number(b, 1, 8);
    put_number(b, format, 4);
    put_number(b, offset, 8);
}

static inline void put_padding(bytes *b, size_t alignment)
{
    while (b->n % alignment != 0)
        put_number(b, 0, 1);
}

/* A safetensors file: the header's text and n bytes of data 0, 1, 2, ... */
static inline void put_safetensors(bytes *b, const char *header, size_t n)
{
    b->n = 0;
    put_text(b, header);
    for (size_t i = 0; i < n; i++)
        put_number(b, i, 1);
}

/* tests/golden/cases/NAME; valid until the next call but three. */
static inline const char *golden(const char *name)
{
    static char paths[4][4096];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/../golden/cases/%s", APUS_FIXTURES, name);
    return path;
}

#endif
