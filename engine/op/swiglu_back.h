/* swiglu_back.h - gradient of swiglu. */
#ifndef APUSI_OP_SWIGLU_BACK_H
#define APUSI_OP_SWIGLU_BACK_H

#include "graph.h"

/* Add the gradient of swiglu(gate, up) or geglu(gate, up) to both; which: APUS_GATE_SILU or
 * APUS_GATE_GELU.
 *
 *   gate, up, dy (equal shape) f32, f16 or bf16
 *
 * Errors: APUS_ERR_SHAPE. */
void apus_swiglu_back(apus_graph *g, uint32_t which, apus_tensor *gate, apus_tensor *up,
                      apus_tensor *dy);

#endif
