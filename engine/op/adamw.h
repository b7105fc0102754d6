/* adamw.h - the AdamW optimizer on a slab of parameters. */
#ifndef APUSI_OP_ADAMW_H
#define APUSI_OP_ADAMW_H

#include "graph.h"

typedef struct apus_adamw_params {
    float beta1, beta2; /* [0, 1) */
    float eps;          /* > 0 */
    float decay;        /* decoupled weight decay, >= 0 */
    uint32_t n_decay;   /* the first n_decay elements are decayed */
} apus_adamw_params;

/* One step on (N) parameters, all persistent and changed in place; the gradients become zero.
 * Learning rate and bias corrections come from the step variables LR, BIAS1, BIAS2; the gradient is
 * multiplied by state[CLIP], and a clip of 0 skips the step.
 *
 *   w, grad, m, v (N) f32, N a multiple of 4  copy (N) f16 or bf16 or NULL: w rounded
 *
 * Errors: APUS_ERR_SHAPE.  Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2. */
void apus_adamw(apus_graph *g, apus_tensor *w, apus_tensor *grad, apus_tensor *m, apus_tensor *v,
                apus_tensor *copy, apus_tensor *state, const apus_adamw_params *params);

#endif
