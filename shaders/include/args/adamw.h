/* adamw.h - arguments of adamw.comp. */
#ifndef APUS_ADAMW_H
#define APUS_ADAMW_H
#include "args/train_state.h"
#include "dual.h"

struct apus_adamw_push {
    APUS_ADDR w, grad, m, v, copy, state, step; /* copy: 16-bit working copy of w, or 0 */
    uint n;         /* elements, a multiple of 4 */
    uint n_decay;   /* the first of them are decayed */
    uint copy_type; /* APUS_F16 or APUS_BF16 */
    uint lr_var, bias1_var, bias2_var; /* step variables: lr, 1 - beta1^t, sqrt(1 - beta2^t) */
    float beta1, beta2, eps, decay;
};

#endif
