/* gather_rows.h - rows of a matrix by index, and back. */
#ifndef APUSI_OP_GATHER_ROWS_H
#define APUSI_OP_GATHER_ROWS_H

#include "graph.h"

/* y[i,:] = x[index[i],:].
 *
 *   x (R, D) f32, f16 or bf16  index (I) u32 of the step, live rows allowed
 *   inverse (R) u32 of the step: where row r went, or 0xffffffff  ->  (I, D) like x
 *
 * Indices are distinct.  An index >= R gives zeros.  Gradient: x, by `inverse` (NULL: none).
 * Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_gather_rows(apus_graph *g, apus_tensor *x, apus_tensor *index,
                              apus_tensor *inverse);

#endif
