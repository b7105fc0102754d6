/* adapters.h - LoRA adapters on a model: created, loaded from and saved to PEFT folders, and
 * hooked into the building of graphs.
 *
 * Adapters lie in a table [module][slot] that kernels read, so that filling a slot needs no new
 * recording.  All parameters of one slot are one slab (an optimizer's unit).  Hu et al. 2021,
 * arXiv:2106.09685.  One thread; the model is borrowed. */
#ifndef APUSI_ADAPTERS_H
#define APUSI_ADAPTERS_H

#include "adapt.h"
#include "model.h"

typedef struct apus_lora_module {
    const apus_weight *weight;
    char *name; /* "model.layers.0.self_attn.q_proj" */
} apus_lora_module;

/* Where a module's matrices lie in the slab of a slot, in elements; rank 0: the slot has none. */
typedef struct apus_lora_place {
    uint64_t a, b;
    uint32_t rank;
} apus_lora_place;

typedef struct apus_lora_slot {
    apus_buffer slab;
    uint64_t n;              /* elements, a multiple of 64 */
    uint64_t n_params;       /* without padding */
    apus_lora_place *places; /* one a module */
    uint32_t rank;
    double alpha, dropout;
    bool rslora;
    float scale;
} apus_lora_slot;

typedef struct apus_adapters {
    apus_model *model;
    apus_lora_module *modules; /* all projections of the model, in its order */
    uint32_t n_modules, n_slots, max_rank;
    apus_lora_slot *slots;
    apus_buffer table;
    apus_addr grad; /* training: slab of gradients of slot 0; 0: inference */
    /* Of the graph being built: */
    apus_tensor *index, *row_id, *pos, *table_tensor;
} apus_adapters;

typedef struct apus_lora_config {
    uint32_t rank;              /* [1, 1024] */
    double alpha;               /* > 0 */
    double dropout;             /* [0, 1) */
    bool rslora;                /* scale alpha / sqrt(rank) instead of alpha / rank */
    const char *const *targets; /* last parts of module names; n_targets 0: all projections */
    size_t n_targets;
    uint32_t seed;
} apus_lora_config;

/* `max_rank` bounds the ranks of all slots.  Errors: APUS_ERR_MEMORY, APUS_ERR_ARG. */
apus_status apus_adapters_create(apus_adapters **out, apus_model *model, uint32_t n_slots,
                                 uint32_t max_rank);
void apus_adapters_destroy(apus_adapters **adapters);

/* A fresh adapter: a uniform in +-1/sqrt(K) by Philox keyed by seed and name, b zero.
 * Errors: APUS_ERR_ARG (a target that no module has: lists them), APUS_ERR_MEMORY. */
apus_status apus_adapters_new(apus_adapters *ad, uint32_t slot, const apus_lora_config *config);
/* Load a PEFT folder (adapter_config.json, adapter_model.safetensors).
 * Errors: APUS_ERR_MISSING, APUS_ERR_FORMAT, APUS_ERR_SHAPE (an adapter of another model: which
 * tensor), APUS_ERR_SUPPORT (another kind of adapter, a rank above max_rank). */
apus_status apus_adapters_load(apus_adapters *ad, uint32_t slot, const char *folder);
/* Scale by alpha / sqrt(rank) from now on, or by alpha / rank. */
apus_status apus_adapters_set_rslora(apus_adapters *ad, uint32_t slot, bool rslora);
/* The rank and kind of a PEFT folder without loading it. */
apus_status apus_adapter_peek(const char *folder, apus_lora_config *out);
/* Write a PEFT folder.  Errors: APUS_ERR_IO, APUS_ERR_MEMORY, APUS_ERR_DEVICE. */
apus_status apus_adapters_save(const apus_adapters *ad, uint32_t slot, const char *folder,
                               const char *base_model);

apus_adapt_hook apus_adapters_hook(apus_adapters *ad);
/* Add scale * b a of every module of the slot to a weight's values (rows, cols) f32; nothing
 * happens for weights without an adapter.  Errors: APUS_ERR_MEMORY, APUS_ERR_DEVICE. */
apus_status apus_adapters_merge(const apus_adapters *ad, uint32_t slot, const char *weight,
                                float *values);

#endif
