/* rms_norm_back.h - gradient of rms_norm. */
#ifndef APUSI_OP_RMS_NORM_BACK_H
#define APUSI_OP_RMS_NORM_BACK_H

#include "graph.h"

/* Add the gradient of y = rms_norm(x, w, eps) to x and w (those that want one).
 *
 *   x (..., D) f32, f16 or bf16  w (D) f32  dy like x
 *
 * The gradient of x is summed with what x had; that of w is added to its persistent buffer.
 * No further gradient.  Errors: APUS_ERR_SHAPE. */
void apus_rms_norm_back(apus_graph *g, apus_tensor *x, apus_tensor *w, apus_tensor *dy, float eps);

#endif
