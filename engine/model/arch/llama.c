/* llama.c - Llama 1 to 3 and what shares their layer (SmolLM2): pre-norm, rotary positions, grouped
 * key-value heads, gated MLP.  Touvron et al. 2023, arXiv:2302.13971; Llama Team 2024,
 * arXiv:2407.21783. */
#include "arch.h"
#include "families.h"

static const apus_layer_step layer[] = {
    { &apus_block_norm, "input_layernorm", 0 },
    { &apus_block_attention, "self_attn", 0 },
    { &apus_block_residual, "", 0 },
    { &apus_block_norm, "post_attention_layernorm", 0 },
    { &apus_block_mlp, "mlp", 0 },
    { &apus_block_residual, "", 0 },
    { NULL },
};

const apus_arch apus_arch_llama = {
    "llama",          "llama", "model.layers.%u.", "model.embed_tokens.weight", "model.norm.weight",
    "lm_head.weight", layer
};
