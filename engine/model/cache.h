/* cache.h - the paged key-value cache: pages of rows of every layer, handed out to sequences.
 *
 * A page holds `page_tokens` rows of keys and of values of all layers.  Sequences share pages
 * after a fork; a shared page is copied before it is written.  One thread. */
#ifndef APUSI_CACHE_H
#define APUSI_CACHE_H

#include "gpu.h"

#define APUS_PAGE_TOKENS 64 /* a multiple of the attention kernels' key block */

typedef struct apus_cache {
    apus_gpu *gpu;
    apus_buffer buffer;
    uint32_t layers, row_width, n_pages;
    apus_dtype dtype;
    uint32_t *refs; /* sequences that hold a page; 0: free */
    uint32_t n_free;
} apus_cache;

/* The pages of one sequence. */
typedef struct apus_sequence {
    uint32_t *pages;
    uint32_t n_pages, room;
    uint32_t length; /* tokens in the cache */
} apus_sequence;

/* A cache of at least `tokens` rows; row_width is kv_heads * head_dim.  Errors: APUS_ERR_MEMORY. */
apus_status apus_cache_init(apus_cache *c, apus_gpu *gpu, uint32_t layers, uint32_t row_width,
                            uint32_t tokens, apus_dtype dtype);
void apus_cache_release(apus_cache *c); /* safe on {0} */
/* Bytes of such a cache. */
uint64_t apus_cache_bytes(uint32_t layers, uint32_t row_width, uint32_t tokens, apus_dtype dtype);
/* Address of a layer's keys or values: (n_pages * APUS_PAGE_TOKENS, row_width). */
apus_addr apus_cache_keys(const apus_cache *c, uint32_t layer);
apus_addr apus_cache_values(const apus_cache *c, uint32_t layer);

/* Make room for `more` tokens behind the sequence's length, with pages of its own to write to.
 * Errors: APUS_ERR_MEMORY (no page is free: says how many tokens the cache holds). */
apus_status apus_cache_reserve(apus_cache *c, apus_sequence *s, uint32_t more);
/* Forget all but the first `length` tokens. */
void apus_cache_truncate(apus_cache *c, apus_sequence *s, uint32_t length);
/* A second sequence with the same tokens; pages are shared.  Errors: APUS_ERR_MEMORY. */
apus_status apus_cache_fork(apus_cache *c, const apus_sequence *from, apus_sequence *to);
void apus_sequence_release(apus_cache *c, apus_sequence *s); /* safe on {0} */

#endif
