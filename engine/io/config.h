/* config.h - the numbers of a model's config.json in one form.  Private.
 *
 * Two generations of keys mean the same and read to the same struct:
 *     transformers 4 and GGUF             transformers 5
 *     "rope_theta", "rope_scaling"        "rope_parameters" with "rope_theta" inside
 *     "torch_dtype"                       "dtype"
 *     "max_window_layers"                 "layer_types"
 * Inside the rotary object "type" is an older name of "rope_type".  null is the same as absent. */
#ifndef APUSI_CONFIG_H
#define APUSI_CONFIG_H

#include "dtype.h"
#include "json.h"

#define APUS_NO_ID UINT32_MAX /* no such token */
#define APUS_EOS_MOST 8

typedef enum apus_rope_kind {
    APUS_ROPE_NONE,
    APUS_ROPE_LINEAR,
    APUS_ROPE_LLAMA3,
    APUS_ROPE_YARN
} apus_rope_kind;

typedef struct apus_rope_scaling {
    apus_rope_kind kind;
    double factor;           /* linear, llama3, yarn: > 0 */
    double low_freq_factor;  /* llama3 */
    double high_freq_factor; /* llama3: > low_freq_factor */
    double attention_factor; /* yarn: 0 means by the formula of apus_rope_frequencies */
    double beta_fast;        /* yarn */
    double beta_slow;        /* yarn */
    double mscale;           /* yarn: 0 if absent */
    double mscale_all_dim;   /* yarn: 0 if absent */
    uint32_t original_max;   /* llama3, yarn: positions of the first training */
    bool truncate;           /* yarn: whole correction dimensions */
} apus_rope_scaling;

typedef struct apus_config {
    char model_type[64];
    char activation[32]; /* "silu" */
    uint32_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab, max_pos;
    float rms_eps;
    double rope_theta;
    apus_rope_scaling rope;
    bool tied;           /* the head is the embedding */
    bool attention_bias; /* the key as written; qwen2's q, k, v have biases without it */
    bool mlp_bias;
    uint32_t sliding_window; /* tokens that a token sees, itself included; 0: all before it */
    uint32_t window_from;    /* the first layer with the window; the others see everything */
    apus_dtype dtype;        /* of the weights as stated; APUS_DTYPE_COUNT if not stated */
    uint32_t bos, pad;       /* APUS_NO_ID if there is none */
    uint32_t eos[APUS_EOS_MOST];
    uint32_t n_eos;
} apus_config;

/* Read a config; heads are a multiple of kv_heads, head_dim is even and at most 4096, ids are
 * below the vocabulary.
 * The struct is zeroed first, padding included, so that two of them can be compared as bytes.
 * Errors: APUS_ERR_FORMAT (a key is missing or out of its range, by name), APUS_ERR_SUPPORT (a
 * rotary scaling, partial rotary or mixed windows that this program does not know, by name). */
apus_status apus_config_read(apus_config *out, const cJSON *config);
/* Add the end tokens of a generation_config.json to those of the config.
 * Errors: APUS_ERR_FORMAT (not ids, or more than APUS_EOS_MOST). */
apus_status apus_config_add_eos(apus_config *config, const cJSON *generation);

/* Rotary frequencies as transformers' modeling_rope_utils computes them, in f32 and in its order:
 *   inv_freq (head_dim / 2): position * inv_freq[i] is the angle of pair i in radians;
 *   *attention_scale: the factor of both cos and sin (1 but for yarn).
 * Peng et al., YaRN, 2023 (arXiv:2309.00071). */
void apus_rope_frequencies(const apus_config *config, float *inv_freq, float *attention_scale);

#endif
