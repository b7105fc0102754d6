/* lora.h - a low-rank term beside a projection, by a table of adapters. */
#ifndef APUSI_OP_LORA_H
#define APUSI_OP_LORA_H

#include "graph.h"

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
 * Swapping adapters needs no new recording.  Gradient (one adapter, slot 0, for all rows): x, y,
 * a, b.
 * Errors: APUS_ERR_SHAPE.  Hu et al. 2021, arXiv:2106.09685, section 4.1. */
apus_tensor *apus_lora(apus_graph *g, apus_tensor *x, apus_tensor *y,
                       const apus_lora_params *params);

#endif
