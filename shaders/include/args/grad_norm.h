/* grad_norm.h - arguments of grad_norm.comp and grad_norm_finish.comp. */
#ifndef APUS_GRAD_NORM_H
#define APUS_GRAD_NORM_H
#include "args/train_state.h"
#include "dual.h"

struct apus_grad_norm_push {
    APUS_ADDR grad, partials, state, step;
    uint n;          /* elements of grad, a multiple of 4 */
    uint chunk;      /* elements of one partial sum, a multiple of 4 */
    uint n_partials;
    uint max_norm_var; /* step variable: f32, 0: no clipping */
    uint unscale_var;  /* step variable: f32, 1 / loss scale */
};

#endif
