/* attention_back.h - gradient of attention over the step's own rows. */
#ifndef APUSI_OP_ATTENTION_BACK_H
#define APUSI_OP_ATTENTION_BACK_H

#include "attention.h"

/* Add the gradients of q, k and v, and of p->sinks where they want one.  k and v are activations of
 * T rows, pages the identity, base the first row of each sequence.
 *
 *   q, o, d_o (T, heads * head_dim)  k, v (T, kv_heads * head_dim)  lse (T, heads) f32;
 *   the others of one format: f32, f16 or bf16
 *
 * Two passes without atomics: one over query rows (d_q), one over key rows (d_k, d_v).
 * Errors: APUS_ERR_SHAPE.  Dao 2023, arXiv:2307.08691, algorithm 2. */
void apus_attention_back(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                         apus_tensor *o, apus_tensor *lse, apus_tensor *d_o,
                         const apus_sequences *s, const apus_attention_params *p);

#endif
