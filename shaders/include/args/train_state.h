/* train_state.h - the few numbers that a training step leaves for the host (f32 words of one
 * persistent buffer). */
#ifndef APUS_TRAIN_STATE_H
#define APUS_TRAIN_STATE_H

#define APUS_STATE_LOSS 0    /* sum of weight * nll over the trained tokens since the last update */
#define APUS_STATE_CORRECT 1 /* tokens whose most likely id is the label */
#define APUS_STATE_TOKENS 2  /* trained tokens */
#define APUS_STATE_NORM 3    /* gradient norm before clipping, without the loss scale */
#define APUS_STATE_CLIP 4    /* factor that the update gives the gradients; 0: it was skipped */
#define APUS_STATE_SKIPPED 5 /* updates skipped so far because the norm was not finite */
#define APUS_STATE_WORDS 16

#endif
