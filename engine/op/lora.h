/* lora.h - a low-rank term beside a projection, by a table of adapters. */
#ifndef APUSI_OP_LORA_H
#define APUSI_OP_LORA_H

#include "args/lora.h"
#include "lower.h"

/* The adapters of one module. */
typedef struct apus_lora_params {
    apus_tensor *table; /* u32 words: entries of args/lora.h, [module][slot] */
    apus_tensor *index; /* (T) u32 of the step: slot of each row; >= slots: none */
    uint32_t module, slots;
    uint32_t rank; /* the largest rank in the table */
    apus_tensor *a,
        *b;      /* training: the adapter of slot 0, (rank, K) and (N, rank) f32; else NULL */
    float scale; /* training: its scale */
    float p;     /* training: dropout of x; row_id, pos, name as for apus_dropout */
    apus_tensor *row_id, *pos;
    uint32_t name;
} apus_lora_params;

/* y + scale * (dropout(x) a^T) b^T, with the adapter of each row.
 *
 *   x (T, K), K a multiple of 4  y (T, N), both f32, f16 or bf16, live rows allowed  ->  like y
 *
 * Swapping adapters needs no new recording.  With a and b given it is two products (matmul.h), and
 * has a gradient: x, y, a, b; else it has none.
 * Errors: APUS_ERR_SHAPE.  Hu et al. 2021, arXiv:2106.09685, section 4.1. */
apus_tensor *apus_lora(apus_graph *g, apus_tensor *x, apus_tensor *y,
                       const apus_lora_params *params);
/* What a lora node (of a table: not of training) was built from. */
apus_lora_params apus_lora_of(const apus_node *n, apus_tensor **x, apus_tensor **y);

/* The low-rank halves of modules that read the same few rows, in one dispatch. */
typedef struct apusi_lora_few {
    const apus_tensor *x, *table, *index;
    const apus_tensor *norm; /* x is normalized on the way (rms_norm.h), or NULL */
    float eps;
    const apus_tensor *h; /* (T, n * rank) f32 */
    uint32_t module[APUS_LORA_MODULES], n;
    uint32_t slots, rank;
} apusi_lora_few;

#define APUSI_LORA_FEW 8 /* rows, at most */

/* Append it.  Errors: of apus_emit. */
apus_status apusi_lora_few_emit(apus_lower *l, const apusi_lora_few *few);
/* Address of the entry of a module's slot 0. */
apus_addr apusi_lora_entry(const apus_lower *l, const apus_tensor *table, uint32_t module,
                           uint32_t slots);

#endif
