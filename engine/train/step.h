/* step.h - the recorded parts of training: micro plans (forward, loss, backward, accumulate) by
 * shape
 * bucket, the update plan (norm, clip, AdamW), evaluation plans; and the buffers that they share.
 *
 * Batches are packed: the rows of all sequences of a micro batch stand one behind the other,
 * without padding.  One thread. */
#ifndef APUSI_STEP_H
#define APUSI_STEP_H

#include "adapters.h"
#include "exec.h"
#include "model.h"
#include "moments.h"

/* Of a micro batch: a grid has at most 65535 blocks of rows, of each sequence one at least. */
#define APUS_TRAIN_MOST_SEQUENCES 32768u

typedef struct apus_train_step apus_train_step;

typedef struct apus_train_step_params {
    apus_adapters *adapters; /* slot 0 is trained; NULL: all weights (the model was opened so) */
    uint32_t max_sequences;  /* of a micro batch, [1, APUS_TRAIN_MOST_SEQUENCES] */
    uint32_t recompute;      /* so many layers, the first ones, run again in the backward */
    uint32_t
        pairs; /* of these, so many pairs, the first ones, keep what the first layer reads only:
                       it runs again once more for the second */
    apus_optim optim;
    bool host_moments; /* the optimizer's state lies in the host's memory */
    float beta1, beta2, eps, decay;
    bool decay_all;    /* vectors are decayed too (plain torch.optim.AdamW) */
    const char *force; /* algorithms to force (tests); NULL: APUS_KERNEL */
    bool profile;
    bool fresh; /* build the plan anew for every micro batch (tests) */
} apus_train_step_params;

/* One sequence of a micro batch.  labels[t] is what the model should say at position t-1: the
 * id, or -100; labels[0] is never used. */
typedef struct apus_train_sequence {
    const uint32_t *ids;
    const int32_t *labels;
    const float *weights; /* of each label, or NULL: 1 */
    uint32_t n;
    uint32_t row_id; /* row of the data set (dropout) */
} apus_train_sequence;

/* What a step leaves (args/train_state.h). */
typedef struct apus_train_numbers {
    double loss;    /* sum of weight * nll since the last read */
    double correct; /* labels that were the most likely id */
    double tokens;  /* labels */
    double norm;    /* gradient norm before clipping, of the last update, without the loss scale */
    double skipped; /* updates skipped because it was not finite */
} apus_train_numbers;

typedef struct apus_train_memory {
    uint64_t scratch;   /* of the largest plan so far */
    uint64_t optimizer; /* gradients and moments */
    uint64_t trained;   /* parameters */
    uint64_t moments;
    uint64_t coded; /* trained elements whose moments have 8 bits */
} apus_train_memory;

apus_status apus_train_step_create(apus_train_step **out, apus_model *model,
                                   const apus_train_step_params *params);
void apus_train_step_destroy(apus_train_step **step);

/* Make the plans for micro batches of up to `tokens` tokens beforehand (the largest first saves
 * memory).
 * Errors: APUS_ERR_MEMORY (what is needed), APUS_ERR_SUPPORT. */
apus_status apus_train_step_prepare(apus_train_step *s, uint32_t tokens, uint32_t sequences,
                                    bool evaluation);

/* Forward and backward of a micro batch; gradients are added up.  `scale` is 1 / (trained tokens
 * of the whole effective batch); `number` is the optimizer step it belongs to, from 1.
 * Errors: APUS_ERR_ARG (no label, too many sequences), APUS_ERR_DEVICE, APUS_ERR_LOST,
 * APUS_ERR_CANCELLED. */
apus_status apus_train_micro(apus_train_step *s, const apus_train_sequence *seqs, uint32_t n,
                             double scale, uint64_t number, uint32_t seed,
                             const apus_cancel *cancel);
/* Forward and loss only. */
apus_status apus_train_eval(apus_train_step *s, const apus_train_sequence *seqs, uint32_t n,
                            const apus_cancel *cancel);
/* Norm, clip (max_norm 0: no), AdamW; gradients become zero. */
apus_status apus_train_update(apus_train_step *s, double lr, double max_norm, uint64_t number);
/* Read the numbers and start their sums again. */
apus_status apus_train_read(apus_train_step *s, apus_train_numbers *out);

/* The loss scale, which f16 activations need so that small gradients are not lost (Micikevicius et
 * al. 2018, arXiv:1710.03740, section 3.2); torch.amp.GradScaler's numbers: 65536 at first, halved
 * by an update that had to be skipped, doubled after 2000 good ones.  1, and never changed, with
 * other activations.  A skipped update counts as a step of the optimizer and of the schedule, as
 * it does without a scale; torch counts neither. */
typedef struct apus_loss_scale {
    double scale;  /* a power of two, in [1, 2^24] */
    uint32_t good; /* updates since it changed */
} apus_loss_scale;
apus_loss_scale apus_train_loss_scale(const apus_train_step *s);
/* As a checkpoint has it.  Errors: APUS_ERR_FORMAT (no such scale). */
apus_status apus_train_set_loss_scale(apus_train_step *s, apus_loss_scale scale);

/* Elements of the slab of what is trained, and the optimizer's state of them. */
uint64_t apus_train_count(const apus_train_step *s);
const apusi_moments *apus_train_moments(const apus_train_step *s);
const apus_buffer *apus_train_slab(const apus_train_step *s);
const apus_buffer *apus_train_gradients(const apus_train_step *s);
apus_train_memory apus_train_memory_of(const apus_train_step *s);
/* The choices of the first micro plan that was made (the largest, by prepare), and their hash. */
uint64_t apus_train_choices(apus_train_step *s, const char **text);
uint64_t apus_train_host_ns(apus_train_step *s);
/* A recorded plan, for tests: micro of this shape, or the update (tokens 0). */
apus_status apus_train_plan(apus_train_step *s, uint32_t tokens, uint32_t sequences,
                            apus_plan **out);

#endif
