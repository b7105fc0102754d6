/* model.h - a model on a device: numbers, weights in device memory, rope table.  Private.
 *
 * Weights keep the number format that they were stored with; blocks are re-laid into planes
 * (layout.h).
 * Vectors (norms, biases) are widened to f32. */
#ifndef APUSI_MODEL_H
#define APUSI_MODEL_H

#include "apus/model.h"
#include "arch.h"
#include "checkpoint.h"
#include "embed.h"
#include "exec.h"
#include "types.h"

typedef struct apus_weight {
    char *name;
    apus_dtype dtype;    /* in device memory */
    uint32_t rows, cols; /* cols 0: a vector of `rows` */
    bool target;
    bool on_host; /* it lies in the host's memory */
    uint64_t bytes;
    apus_addr address;
    apus_addr grad; /* where its gradient is added; 0: it is frozen */
    apus_addr copy; /* matrices that are trained: the same in types.act, for products; or 0 */
} apus_weight;

struct apus_model {
    apus_checkpoint *checkpoint;
    apus_config config;
    const apus_arch *arch;
    apus_net_dims dims;
    apus_gpu *gpu; /* NULL: numbers only */
    apus_exec *exec;
    apus_weight *weights;
    uint32_t n_weights;
    uint32_t *index; /* hash table over names */
    uint32_t index_room;
    apus_buffer *slabs;
    uint32_t n_slabs;
    uint64_t weight_bytes, host_bytes; /* of all, and of those in the host's memory */
    uint32_t host_layers;              /* whose projections lie there */
    bool train_all;   /* weights are f32 in slab 0: matrices, then vectors from n_matrix on */
    apus_buffer copy; /* slab 0 in types.act, which optimizers keep up, where that is not f32 */
    uint64_t n_matrix, n_slab; /* elements, with padding */
    apus_dtype count_as;       /* APUS_DTYPE_COUNT: formats are the files' */
    uint64_t n_params;
    uint32_t max_positions; /* rows of the rope table */
    apus_buffer rope;
    apus_model_types types;
    bool bare; /* there are no weights, only a config */
};

/* The weight of a name, or NULL. */
apus_weight *apus_model_weight(const apus_model *m, const char *name);
/* A net over this model's weights; the tensors of a graph are made once each by the caller's table
 * `made` (n_weights entries, zeroed). */
typedef struct apus_model_net {
    const apus_model *model;
    apus_tensor **made;
} apus_model_net;
apus_tensor *apus_model_tensor(void *user, apus_graph *g,
                               const char *name); /* user: apus_model_net */
/* Token ids to the normalized hidden states after the last layer: x (T, D).  net->sequences,
 * rope and, by set_layer, caches are given by the caller. */
apus_tensor *apus_model_forward(apus_net *net, const apus_model *m, apus_tensor *tokens,
                                const apus_embed_order *order,
                                void (*set_layer)(void *user, apus_net *net, uint32_t layer),
                                void *user);
/* The head's weight (its own or the embedding). */
const char *apus_model_head_name(const apus_model *m);

#endif
