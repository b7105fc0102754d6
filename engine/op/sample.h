/* sample.h - drawing tokens on the device. */
#ifndef APUSI_OP_SAMPLE_H
#define APUSI_OP_SAMPLE_H

#include "graph.h"

typedef struct apus_sample_params {
    apus_tensor *settings; /* (S * APUS_SAMPLE_WORDS) u32 of the step (args/sample.h) */
    apus_tensor *seen;     /* (slots, ceil(V/32)) u32, persistent: ids of the text so far; or NULL */
    apus_tensor *tokens, *token_slot; /* (T) u32 of the step, live by TOKENS: ids of this step and their
                                         rows of `seen`, marked before drawing; NULL with seen */
    apus_tensor *out;      /* (S) u32, persistent, host-visible */
} apus_sample_params;

/* Draw one id from each row of logits: repetition penalty, temperature, top-k, top-p, min-p, then by
 * Philox of seed and counter; temperature 0 takes the most likely.
 *
 *   logits (S, V) f32, rows live by APUS_VAR_SEQUENCES
 *
 * No gradient.  Errors: APUS_ERR_SHAPE. */
void apus_sample(apus_graph *g, apus_tensor *logits, const apus_sample_params *params);

#endif
