/* model.h - opening a model on a device, and describing one.
 *
 * An apus_model belongs to one thread.  It owns the device it was opened on. */
#ifndef APUS_MODEL_H
#define APUS_MODEL_H

#include "apus/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_model apus_model;

typedef struct apus_model_params {
    const char *device;      /* index, name or uuid; NULL: APUS_DEVICE or the best one */
    const char *torch_dtype; /* of activations: "float32", "float16", "bfloat16"; NULL: as the
                                files say, or as suits the device */
    uint32_t max_positions;  /* longest sequence that will be used; 0: the model's, at most 8192 */
    bool no_device;          /* numbers and tensors only: no weights are loaded */
    bool train_all;          /* all weights as f32 in one slab, for full fine-tuning */
    uint32_t host_layers;    /* the projections of the first so many layers stay in the host's
                                memory, and with them the table of tokens if the head has a
                                matrix of its own; many rows read copies on the device, few rows
                                and the table's readers the host's; 0 with train_all */
    bool count_only;         /* memory is counted, nothing is allocated, loaded or run */
    const char
        *count_as; /* count_only: as if matrices were stored so ("q8_0"); NULL: as they are */
    const char *device_class; /* counted for a class of devices (apus/gpu.h); the model may be a
                                 config.json alone, or a folder without weights */
    uint64_t class_memory;    /* bytes of its memory; 0: the example's */
} apus_model_params;

/* Open a Hugging Face folder or a GGUF file and load the weights.  *out is NULL on failure.
 * Errors: APUS_ERR_MISSING, APUS_ERR_FORMAT (files), APUS_ERR_SUPPORT (a family or number format
 * that is not there), APUS_ERR_SHAPE (a weight of another shape than the config says: which),
 * APUS_ERR_MEMORY (with what is needed), APUS_ERR_DEVICE. */
apus_status apus_model_open(apus_model **out, const char *path, const apus_model_params *params);
void apus_model_close(apus_model **model); /* accepts &{NULL} */

typedef struct apus_model_about {
    const char *name; /* borrowed until close */
    const char *path;
    const char *family;
    const char *model_type;
    const char *device; /* "" without one */
    uint64_t n_params;
    uint64_t weight_bytes, host_weight_bytes; /* of all; of those that stay with the host */
    uint32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, max_positions;
    uint32_t host_layers; /* whose projections stay with the host */
    bool tied;
} apus_model_about;
void apus_model_describe(const apus_model *model, apus_model_about *out);

/* A text for people: the formula of a layer, tensors and formats, parameters, and the memory that a
 * run with `context` tokens takes.  Caller frees *text with free().
 * Errors: APUS_ERR_MEMORY. */
apus_status apus_model_inspect(const apus_model *model, uint32_t context, char **text);

/* Bytes that buffers of the model's device take now and took at most. */
typedef struct apus_memory_use {
    uint64_t device, device_peak, host, host_peak;
} apus_memory_use;
apus_memory_use apus_model_memory(const apus_model *model);

#ifdef __cplusplus
}
#endif

#endif
