/* sample.h - draws the next ids of sequences on the device. */
#ifndef APUSI_OP_SAMPLE_H
#define APUSI_OP_SAMPLE_H

#include "graph.h"

typedef struct apus_sample_params {
    apus_tensor
        *settings; /* (S * APUS_SAMPLE_WORDS) u32 of the step: a row of args/sample.h a sequence */
    /* (slots, ceil(V / 32)) u32, persistent: a bit for each id of the prompt and of what was
     * drawn, for the repetition penalty; NULL: no penalty is possible. */
    apus_tensor *seen;
    /* (T) u32 of the step, live rows allowed: ids of this step and the row of `seen` of each;
     * they are marked before the draw.  NULL with seen. */
    apus_tensor *tokens, *token_slot;
    apus_tensor *out; /* (at least S) u32, persistent: the ids drawn */
} apus_sample_params;

/* Draw one id from each live row: repetition penalty, temperature, top-k, top-p, min-p in this
 * order, then by a counter-based random number, so that (logits, settings) determine the id;
 * shaders/sample.comp has the definition.  Ids drawn are marked as seen: live rows with a penalty
 * have a slot each.
 *
 *   logits (S, V) f32, live rows allowed; V at most 262,144
 *
 * No gradient.  Errors: APUS_ERR_SHAPE. */
void apus_sample(apus_graph *g, apus_tensor *logits, const apus_sample_params *params);

#endif
