/* col_sum.h - sums of columns: the gradient of a bias. */
#ifndef APUSI_OP_COL_SUM_H
#define APUSI_OP_COL_SUM_H

#include "graph.h"

/* into[c] += sum of column c of x.
 *
 *   x (..., C) f32, f16 or bf16, live rows allowed  into (C) f32, persistent
 *
 * Rows are summed in order.  No gradient.  Errors: APUS_ERR_SHAPE. */
void apus_col_sum(apus_graph *g, apus_tensor *x, apus_tensor *into);

#endif
