/* kv_append.h - this step's keys and values into the cache. */
#ifndef APUSI_OP_KV_APPEND_H
#define APUSI_OP_KV_APPEND_H

#include "attention.h"

typedef struct apus_kv_append_params {
    uint32_t head_dim, kv_heads;
} apus_kv_append_params;

/* Write rows of keys and values to their pages; keys are turned by `table` (rope.h) unless it is
 * NULL.
 *
 *   k, v (T, kv_heads * head_dim) f32, f16 or bf16, live rows allowed
 *   k_cache, v_cache (rows, kv_heads * head_dim) f32, f16 or bf16, persistent, changed
 *
 * No gradient.  Errors: APUS_ERR_SHAPE. */
void apus_kv_append(apus_graph *g, apus_tensor *k, apus_tensor *v, apus_tensor *k_cache,
                    apus_tensor *v_cache, apus_tensor *table, const apus_sequences *s,
                    const apus_kv_append_params *p);

#endif
