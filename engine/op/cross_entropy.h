/* cross_entropy.h - softmax cross-entropy of a chunk of logits, with its gradient. */
#ifndef APUSI_OP_CROSS_ENTROPY_H
#define APUSI_OP_CROSS_ENTROPY_H

#include "graph.h"

typedef struct apus_cross_entropy_params {
    apus_tensor *labels;  /* (R) u32 of the step */
    apus_tensor *weights; /* (R) f32 of the step: weight of each row's loss */
    apus_tensor
        *state;    /* (APUS_STATE_WORDS) f32, persistent: sums are added (args/train_state.h) */
    bool gradient; /* the logits become d loss / d logits, times step variable LOSS_SCALE */
} apus_cross_entropy_params;

/* Sum of weight * -log softmax(logits)[label] over the live rows, and how many labels are the most
 * likely id, added to the state.
 *
 *   logits (R, V) f32, live rows allowed; overwritten with their gradient where it is asked for
 *
 * Returns the logits.  No autodiff rule: the gradient is made in the same pass.
 * Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_cross_entropy(apus_graph *g, apus_tensor *logits,
                                const apus_cross_entropy_params *params);

#endif
