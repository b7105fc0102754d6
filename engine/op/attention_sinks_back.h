/* attention_sinks_back.h - gradient of attention with respect to its sinks. */
#ifndef APUSI_OP_ATTENTION_SINKS_BACK_H
#define APUSI_OP_ATTENTION_SINKS_BACK_H

#include "graph.h"

/* sinks->grad_into[h] -= sum_t exp(sinks[h] - lse[t,h]) dot[t,h]
 *
 *   sinks (H)  lse (T, H): of the forward, sinks included  dot (T, H): rowsum(d_o * o)
 *
 * all f32; rows may be live.  Rows are summed in a fixed order, without atomics.
 * Errors: APUS_ERR_SHAPE, APUS_ERR_ARG (no grad_into).  gpt-oss model card, arXiv:2508.10925. */
void apus_attention_sinks_back(apus_graph *g, apus_tensor *sinks, apus_tensor *lse,
                               apus_tensor *dot);

#endif
