/* dropout.h - dropout by a counter-based generator. */
#ifndef APUSI_OP_DROPOUT_H
#define APUSI_OP_DROPOUT_H

#include "graph.h"

typedef struct apus_dropout_params {
    float p;             /* probability of zero, [0, 1); 0: x itself is returned */
    apus_tensor *row_id; /* (T) u32 of the step: row of the data set */
    apus_tensor *pos;    /* (T) u32 of the step: position in that row */
    uint32_t name;       /* hash of the tensor's name: masks of two tensors differ */
} apus_dropout_params;

/* x with elements zeroed at random and the others divided by 1 - p.
 *
 *   x (T, D) f32, f16 or bf16, D a multiple of 4, live rows allowed  ->  like x
 *
 * The mask depends on seed, optimizer step, name, data row, position and column only.  The
 * result is
 * not kept for the gradient but made again.  Gradient: x.  Errors: APUS_ERR_SHAPE, APUS_ERR_ARG. */
apus_tensor *apus_dropout(apus_graph *g, apus_tensor *x, const apus_dropout_params *params);

#endif
