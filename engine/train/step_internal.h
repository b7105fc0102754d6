/* step_internal.h - shared by step.c (buffers, runs) and step_graph.c (graphs). */
#ifndef APUSI_STEP_INTERNAL_H
#define APUSI_STEP_INTERNAL_H

#include "args/train_state.h"
#include "embed.h"
#include "moments.h"
#include "step.h"

#define APUSI_MAX_BUCKETS 64

/* A recorded shape of micro batch. */
typedef struct apusi_micro {
    uint32_t tokens, sequences;
    uint32_t *bounds; /* (2 * sequences) where each begins, its rows: scratch on the host */
    bool evaluation;
    apus_graph graph;
    apus_plan *plan;
    apus_tensor *ids, *adapter, *row_id, *loss_index, *loss_inverse, *labels, *weights;
    apus_sequences seq;
    apus_embed_order order; /* full fine-tuning */
} apusi_micro;

struct apus_train_step {
    apus_model *model;
    apus_train_step_params params;
    apus_adapt_hook hook;
    apusi_micro *micros[APUSI_MAX_BUCKETS];
    uint32_t n_micros;
    apus_graph update_graph;
    apus_plan *update;
    const apus_buffer *slab; /* trained parameters */
    const apus_buffer *copy; /* the same in the format of activations, or NULL */
    uint64_t n, n_decay;     /* elements */
    apus_buffer grad, state;
    apusi_moments moments;
    apus_loss_scale scale;
    uint64_t scratch;
    apus_str choices;
    uint64_t host_ns;
    uint32_t *sort; /* scratch of the embedding's order */
    uint32_t sort_room;
};

apus_status apusi_micro_build(apus_train_step *s, apusi_micro *b);
apus_status apusi_update_build(apus_train_step *s);
/* Write the step buffer of a micro batch; *labels is how many labels there are. */
apus_status apusi_micro_fill(apus_train_step *s, apusi_micro *b, const apus_train_sequence *seqs,
                             uint32_t n, apus_step *step, uint32_t *labels);

#endif
