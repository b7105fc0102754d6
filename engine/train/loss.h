/* loss.h - head and cross-entropy in chunks, with the gradient made in the same pass. */
#ifndef APUSI_LOSS_H
#define APUSI_LOSS_H

#include "graph.h"

typedef struct apus_head_loss_params {
    apus_tensor *head;    /* (V, D) any format; its gradient is added where it wants one */
    apus_tensor *labels;  /* (L) u32 of the step */
    apus_tensor *weights; /* (L) f32 of the step */
    apus_tensor *state;   /* args/train_state.h */
    bool gradient;        /* x->grad is set */
} apus_head_loss_params;

/* Loss of the rows x (L, D), live by APUS_VAR_LOSS_ROWS.  Logits exist for one chunk of rows at
 * a time, and become their own gradient in place.  That is at most 256 rows and at most 16 MiB, or
 * of 4096 rows and more 2 % of all logits; but never less than 16 rows or 1 MiB.
 * Errors: APUS_ERR_SHAPE. */
void apus_head_loss(apus_graph *g, apus_tensor *x, const apus_head_loss_params *params);

#endif
