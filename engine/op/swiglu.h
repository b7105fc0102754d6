/* swiglu.h - the gate of a gated MLP. */
#ifndef APUSI_OP_SWIGLU_H
#define APUSI_OP_SWIGLU_H

#include "graph.h"

/* gate * sigmoid(gate) * up.
 *
 *   gate, up (equal shape, f32, f16 or bf16), equal live rows  ->  the same shape and format
 *
 * Gradient: both.  Errors: APUS_ERR_SHAPE.  Shazeer 2020, arXiv:2002.05202. */
apus_tensor *apus_swiglu(apus_graph *g, apus_tensor *gate, apus_tensor *up);

#endif
