/* kv_append.h - what stands between the projections and attention over a cache. */
#ifndef APUSI_OP_KV_APPEND_H
#define APUSI_OP_KV_APPEND_H

#include "attention.h"

typedef struct apus_kv_append_params {
    uint32_t head_dim, kv_heads;
    apus_tensor *table;           /* of angles (rope.h); NULL: nothing is turned */
    apus_tensor *q_norm, *k_norm; /* (head_dim) f32: weights of the norm by head (rms_norm.h), or
                                     NULL */
    float eps;                    /* of the norms */
} apus_kv_append_params;

/* Queries and keys normalized by head, where the family does so, and turned by their position; rows
 * of keys and values written to their pages.
 *
 *   q (T, heads * head_dim), k, v (T, kv_heads * head_dim), all f32, f16 or bf16, live rows allowed
 *   k_cache, v_cache (rows, kv_heads * head_dim) f32, f16 or bf16, persistent, changed
 *   ->  the queries, like q;  head_dim a multiple of 4
 *
 * No gradient.  Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_kv_append(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                            apus_tensor *k_cache, apus_tensor *v_cache, const apus_sequences *s,
                            const apus_kv_append_params *p);

#endif
