/* rms_norm.h - root mean square layer normalization, and its gradient. */
#ifndef APUSI_OP_RMS_NORM_H
#define APUSI_OP_RMS_NORM_H

#include "graph.h"

/* Divide each row by its root mean square and scale the columns.
 *
 *   x (..., D) f32, f16 or bf16  w (D) f32  ->  like x
 *
 * eps > 0 is added to the mean square.  Gradient: x and w.
 * Errors: APUS_ERR_SHAPE.  Zhang and Sennrich 2019, arXiv:1910.07467, equation 4. */
apus_tensor *apus_rms_norm(apus_graph *g, apus_tensor *x, apus_tensor *w, float eps);
/* The eps that an rms_norm node was built with. */
float apus_rms_norm_eps(const apus_node *n);

#endif
