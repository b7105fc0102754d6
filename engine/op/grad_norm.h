/* grad_norm.h - the norm of all gradients and the clip factor. */
#ifndef APUSI_OP_GRAD_NORM_H
#define APUSI_OP_GRAD_NORM_H

#include "graph.h"

/* state[NORM] = l2 norm of grad times step variable UNSCALE, state[CLIP] = the factor that takes
 * the loss scale out and clips to step variable MAX_NORM; 0 and one more in state[SKIPPED] where
 * the norm is not finite.
 *
 *   grad (N) f32, N a multiple of 4  state (APUS_STATE_WORDS) f32, persistent
 *
 * Errors: APUS_ERR_SHAPE. */
void apus_grad_norm(apus_graph *g, apus_tensor *grad, apus_tensor *state);

#endif
