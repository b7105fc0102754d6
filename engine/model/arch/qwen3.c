/* qwen3.c - Qwen3: queries and keys are normalized by head, no biases.
 * Qwen Team 2025, arXiv:2505.09388. */
#include "arch.h"
#include "families.h"

static const apus_layer_step layer[] = {
    { &apus_block_norm, "input_layernorm", 0 },
    { &apus_block_attention, "self_attn", APUS_QK_NORM },
    { &apus_block_residual, "", 0 },
    { &apus_block_norm, "post_attention_layernorm", 0 },
    { &apus_block_mlp, "mlp", 0 },
    { &apus_block_residual, "", 0 },
    { NULL },
};

const apus_arch apus_arch_qwen3 = {
    "qwen3",          "qwen3", "model.layers.%u.", "model.embed_tokens.weight", "model.norm.weight",
    "lm_head.weight", layer
};
