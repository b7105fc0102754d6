/* add.h - element-wise sum. */
#ifndef APUSI_OP_ADD_H
#define APUSI_OP_ADD_H

#include "graph.h"

/* a + b.
 *
 *   a, b (any equal shape, f32, f16 or bf16), equal live rows  ->  the same shape and format
 *
 * Gradient: both.  Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_add(apus_graph *g, apus_tensor *a, apus_tensor *b);

#endif
