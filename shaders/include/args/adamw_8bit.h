/* adamw_8bit.h - arguments of adamw_8bit.comp. */
#ifndef APUS_ADAMW_8BIT_H
#define APUS_ADAMW_8BIT_H
#include "args/train_state.h"
#include "dual.h"

#define APUS_ADAMW_BLOCK 256     /* elements that share a scale */
#define APUS_ADAMW_RUN_WORDS 4   /* of a run: first block, first quad, quads, 0 */

struct apus_adamw_8bit_push {
    APUS_ADDR w, grad, codes_m, codes_v, wide_m, wide_v, scales, copy, state, step, runs;
    uint n_runs;
    uint n_blocks; /* of all runs */
    uint n_coded;  /* the first of them have codes, the others f32 */
    uint n_decay;  /* the first elements of w are decayed */
    uint lr_var;   /* step variables: lr, then 1 - beta1^t, then sqrt(1 - beta2^t) */
    float beta1, beta2, eps, decay;
};

#endif
