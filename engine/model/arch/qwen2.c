/* qwen2.c - Qwen2 and Qwen2.5: the layer of Llama with biases on q, k, v.
 * Qwen Team 2024, arXiv:2407.10671. */
#include "arch.h"
#include "families.h"

static const apus_layer_step layer[] = {
    { &apus_block_norm, "input_layernorm", 0 },
    { &apus_block_attention, "self_attn", APUS_QKV_BIAS },
    { &apus_block_residual, "", 0 },
    { &apus_block_norm, "post_attention_layernorm", 0 },
    { &apus_block_mlp, "mlp", 0 },
    { &apus_block_residual, "", 0 },
    { NULL },
};

const apus_arch apus_arch_qwen2 = {
    "qwen2",          "qwen2", "model.layers.%u.", "model.embed_tokens.weight", "model.norm.weight",
    "lm_head.weight", layer
};
