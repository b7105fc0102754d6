/* swiglu_back.h - gradient of swiglu. */
#ifndef APUSI_OP_SWIGLU_BACK_H
#define APUSI_OP_SWIGLU_BACK_H

#include "graph.h"

/* Add the gradient of swiglu(gate, up) to both.
 *
 *   gate, up, dy (equal shape) f32, f16 or bf16
 *
 * Errors: APUS_ERR_SHAPE. */
void apus_swiglu_back(apus_graph *g, apus_tensor *gate, apus_tensor *up, apus_tensor *dy);

#endif
