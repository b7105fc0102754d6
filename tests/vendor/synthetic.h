/* synthetic.h - model files of real shapes with few layers and weights of zero: what is planned and
 * compiled for them is what is planned and compiled for the real models.  The files are sparse. */
#ifndef VENDOR_SYNTHETIC_H
#define VENDOR_SYNTHETIC_H

#include "base.h"

typedef struct synthetic_shape {
    const char *name, *family; /* "llama", "qwen2", "qwen3" */
    uint32_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab, max_pos;
    bool bias;    /* of q, k, v */
    bool qk_norm; /* queries and keys are normalized by head */
} synthetic_shape;

extern const synthetic_shape synthetic_smollm2;  /* SmolLM2-135M, two layers */
extern const synthetic_shape synthetic_qwen2;    /* Qwen2.5-0.5B, two layers */
extern const synthetic_shape synthetic_qwen3;    /* Qwen3-0.6B, two layers: heads of 128 */
extern const synthetic_shape synthetic_llama_8b; /* Llama 3.1 8B, two layers */

/* FOLDER/NAME with config.json and model.safetensors, tied, bf16; its path into path. */
apus_status synthetic_folder(const synthetic_shape *shape, const char *folder, char path[512]);
/* FOLDER/NAME.gguf, tied, embedding q8_0, matrices q4_1; llama only. */
apus_status synthetic_gguf(const synthetic_shape *shape, const char *folder, char path[512]);

#endif
