/* cross_entropy.h - arguments of cross_entropy.comp and cross_entropy_sum.comp. */
#ifndef APUS_CROSS_ENTROPY_H
#define APUS_CROSS_ENTROPY_H
#include "args/train_state.h"
#include "dual.h"

struct apus_cross_entropy_push {
    APUS_ADDR logits, labels, weights, rows_out, state, step;
    APUS_ROWS_FIELDS
    uint vocab;
    uint scale_var; /* step variable: f32 factor of the gradient */
};

#endif
