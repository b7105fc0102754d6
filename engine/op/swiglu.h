/* swiglu.h - the gate of a gated MLP. */
#ifndef APUSI_OP_SWIGLU_H
#define APUSI_OP_SWIGLU_H

#include "args/swiglu.h"
#include "graph.h"

/* act(gate) * up with act(x) = x * sigmoid(x), or GELU by its tanh (gate.glsl).
 *
 *   gate, up (equal shape, f32, f16 or bf16), equal live rows  ->  the same shape and format
 *
 * Gradient: both.  Errors: APUS_ERR_SHAPE.  Shazeer 2020, arXiv:2002.05202. */
apus_tensor *apus_swiglu(apus_graph *g, apus_tensor *gate, apus_tensor *up);
apus_tensor *apus_geglu(apus_graph *g, apus_tensor *gate, apus_tensor *up);

/* Which of them a node is: APUS_GATE_SILU or APUS_GATE_GELU (args/swiglu.h). */
uint32_t apus_swiglu_gate(const apus_node *n);

#endif
