/* gguf_config.c - the names and the config of a GGUF file as a Hugging Face folder has them. */
#include <math.h>
#include <stdio.h>

#include "config.h"
#include "io_internal.h"
#include "str.h"

typedef struct arch {
    const char *name, *model_type, *cls;
    bool bias;
} arch;

static const arch archs[] = {
#define X(name, model_type, cls, paired, bias) { name, model_type, cls, bias },
#include "gguf_arch.def"
#undef X
};

static const struct {
    const char *gguf, *hf;
    uint32_t pairs;
} names[] = {
#define X(gguf, hf, pairs) { gguf, hf, pairs },
#include "names_gguf.def"
#undef X
};

/* `name` begins with the pattern and goes on with '.'; *rest is what follows the pattern. */
static bool match(const char *pattern, const char *name, uint32_t *layer, const char **rest)
{
    const char *hole = strstr(pattern, "%u");
    size_t n = hole ? (size_t)(hole - pattern) : strlen(pattern);

    if (strncmp(pattern, name, n) != 0)
        return false;
    name += n;
    if (hole) {
        const char *digits = name;

        for (*layer = 0; *name >= '0' && *name <= '9' && name - digits < 6; name++)
            *layer = *layer * 10 + (uint32_t)(*name - '0');
        if (name == digits || (*digits == '0' && name - digits > 1))
            return false;
        n = strlen(hole + 2);
        if (strncmp(hole + 2, name, n) != 0)
            return false;
        name += n;
    }
    *rest = name;
    return *name == '.' && !strchr(name + 1, '.');
}

bool apusi_gguf_name(char *out, size_t room, const char *gguf_name, uint32_t *pairs)
{
    for (size_t i = 0; i < APUS_COUNT(names); i++) {
        const char *rest, *hole = strstr(names[i].hf, "%u");
        uint32_t layer = 0;
        int n;

        if (!match(names[i].gguf, gguf_name, &layer, &rest))
            continue;
        if (hole)
            n = snprintf(out, room, "%.*s%u%s%s", (int)(hole - names[i].hf), names[i].hf, layer,
                         hole + 2, rest);
        else
            n = snprintf(out, room, "%s%s", names[i].hf, rest);
        *pairs = names[i].pairs;
        return n > 0 && (size_t)n < room;
    }
    return false;
}

/* What is read of a file before the config is written. */
typedef struct reading {
    const apus_gguf *gguf;
    const arch *arch;
    apus_str text;
} reading;

/* The key "<architecture>.<key>". */
static const char *own_key(const reading *r, char out[128], const char *key)
{
    snprintf(out, 128, "%s.%s", r->arch->name, key);
    return out;
}

static bool has(const reading *r, const char *key)
{
    char own[128];

    return apus_gguf_has(r->gguf, own_key(r, own, key));
}

static apus_status own_u32(const reading *r, const char *key, uint32_t *out)
{
    char own[128];

    return apus_gguf_u32(r->gguf, own_key(r, own, key), out);
}

static apus_status own_f32(const reading *r, const char *key, float *out)
{
    char own[128];

    return apus_gguf_f32(r->gguf, own_key(r, own, key), out);
}

static void add_u32(reading *r, const char *key, uint32_t v)
{
    apus_str_addf(&r->text, ", \"%s\": %u", key, v);
}

/* The shortest decimal that reads back as the same float: 1e-05 and not 9.99999974e-06. */
static void add_f32(reading *r, const char *key, float v)
{
    char digits[32];

    for (int n = 1; n <= 9; n++) {
        snprintf(digits, sizeof(digits), "%.*e", n - 1, (double)v);
        if (strtof(digits, NULL) == v)
            break;
    }
    apus_str_addf(&r->text, ", \"%s\": %s", key, digits);
}

static apus_status add_shape(reading *r)
{
    const apus_file_tensor *embed = apus_gguf_find(r->gguf, "token_embd.weight");
    uint32_t hidden, layers, heads, kv_heads, head_dim, value_dim, rotary, ffn, max_pos = 2048;
    uint32_t experts = 0;

    APUS_FORWARD(own_u32(r, "embedding_length", &hidden));
    APUS_FORWARD(own_u32(r, "block_count", &layers));
    APUS_FORWARD(own_u32(r, "attention.head_count", &heads));
    APUS_FORWARD(own_u32(r, "feed_forward_length", &ffn));
    kv_heads = heads;
    if (has(r, "attention.head_count_kv"))
        APUS_FORWARD(own_u32(r, "attention.head_count_kv", &kv_heads));
    if (has(r, "context_length"))
        APUS_FORWARD(own_u32(r, "context_length", &max_pos));
    if (has(r, "expert_count"))
        APUS_FORWARD(own_u32(r, "expert_count", &experts));
    if (experts)
        return apus_fail(APUS_ERR_SUPPORT, "%s: %u experts: not supported yet",
                         apus_gguf_where(r->gguf), experts);
    head_dim = heads ? hidden / heads : 0;
    if (has(r, "attention.key_length"))
        APUS_FORWARD(own_u32(r, "attention.key_length", &head_dim));
    value_dim = rotary = head_dim;
    if (has(r, "attention.value_length"))
        APUS_FORWARD(own_u32(r, "attention.value_length", &value_dim));
    if (has(r, "rope.dimension_count"))
        APUS_FORWARD(own_u32(r, "rope.dimension_count", &rotary));
    if (value_dim != head_dim || rotary != head_dim)
        return apus_fail(APUS_ERR_SUPPORT,
                         "%s: heads of %u (keys), %u (values) and %u (rotary) elements: different "
                         "sizes are not supported yet",
                         apus_gguf_where(r->gguf), head_dim, value_dim, rotary);
    if (!embed || embed->n_dims != 2 || embed->dims[0] > UINT32_MAX)
        return apus_fail(APUS_ERR_FORMAT, "%s: no table of embeddings (token_embd.weight)",
                         apus_gguf_where(r->gguf));
    add_u32(r, "hidden_size", hidden);
    add_u32(r, "num_hidden_layers", layers);
    add_u32(r, "num_attention_heads", heads);
    add_u32(r, "num_key_value_heads", kv_heads);
    add_u32(r, "head_dim", head_dim);
    add_u32(r, "intermediate_size", ffn);
    add_u32(r, "vocab_size", (uint32_t)embed->dims[0]);
    add_u32(r, "max_position_embeddings", max_pos);
    return APUS_OK;
}

/* Llama 3 files hold no parameters of the rotary scaling but the divisor of each frequency.  Take
 * the last one as the factor and see whether Llama 3's rule gives the others. */
static apus_status add_llama3(reading *r, const apus_file_tensor *freqs, float theta)
{
    apus_config c = { .rope_theta = (double)theta,
                      .rope = { .kind = APUS_ROPE_LLAMA3,
                                .low_freq_factor = 1,
                                .high_freq_factor = 4,
                                .original_max = 8192 } };
    float plain[2048], scaled[2048], factor = 0, scale;
    const uint64_t n = freqs->n_dims == 1 ? freqs->dims[0] : 0;
    bool fits = freqs->dtype == APUS_F32 && n && n <= APUS_COUNT(plain);

    if (fits) {
        c.head_dim = (uint32_t)n * 2;
        memcpy(&factor, freqs->data + (n - 1) * 4, 4);
        c.rope.factor = (double)factor;
        fits = factor >= 1 && factor <= 1e6f && theta > 1;
    }
    if (fits) {
        apus_rope_frequencies(&c, scaled, &scale);
        c.rope.kind = APUS_ROPE_NONE;
        apus_rope_frequencies(&c, plain, &scale);
    }
    for (uint64_t i = 0; fits && i < n; i++) {
        float divisor;

        memcpy(&divisor, freqs->data + i * 4, 4);
        fits = fabsf(plain[i] / scaled[i] - divisor) <= 1e-4f * divisor;
    }
    if (!fits)
        return apus_fail(APUS_ERR_SUPPORT,
                         "%s: the rotary factors of 'rope_freqs.weight' are not Llama 3's: not "
                         "supported yet",
                         apus_gguf_where(r->gguf));
    apus_str_add(&r->text, ", \"rope_scaling\": {\"rope_type\": \"llama3\"");
    add_f32(r, "factor", factor);
    apus_str_add(&r->text, ", \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                           "\"original_max_position_embeddings\": 8192}");
    return APUS_OK;
}

/* A string of a hostile file as it may stand in a failure text. */
static const char *shown(apus_gguf_text text, char out[65])
{
    size_t n = text.bytes < 64 ? (size_t)text.bytes : 64;

    for (size_t i = 0; i < n; i++)
        out[i] = text.text[i] > 32 && text.text[i] < 127 ? text.text[i] : '?';
    out[n] = '\0';
    return out;
}

static bool is_word(apus_gguf_text text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.text, word, text.bytes) == 0;
}

static apus_status add_scaling(reading *r, apus_gguf_text type)
{
    char text[65];
    float v;

    if (!is_word(type, "linear") && !is_word(type, "yarn"))
        return apus_fail(APUS_ERR_SUPPORT, "%s: rope type '%s': not supported yet",
                         apus_gguf_where(r->gguf), shown(type, text));
    APUS_FORWARD(own_f32(r, "rope.scaling.factor", &v));
    apus_str_addf(&r->text, ", \"rope_scaling\": {\"rope_type\": \"%.*s\"", (int)type.bytes,
                  type.text);
    add_f32(r, "factor", v);
    if (is_word(type, "yarn")) {
        uint32_t original;

        APUS_FORWARD(own_u32(r, "rope.scaling.original_context_length", &original));
        add_u32(r, "original_max_position_embeddings", original);
        if (has(r, "rope.scaling.attn_factor")) {
            APUS_FORWARD(own_f32(r, "rope.scaling.attn_factor", &v));
            add_f32(r, "attention_factor", v);
        }
    }
    apus_str_add(&r->text, "}");
    return APUS_OK;
}

static apus_status add_rope(reading *r)
{
    const apus_file_tensor *freqs = apus_gguf_find(r->gguf, "rope_freqs.weight");
    apus_gguf_text type = { "none", 4 };
    float theta = 10000, eps = 1e-6f;
    char own[128];

    APUS_FORWARD(own_f32(r, "attention.layer_norm_rms_epsilon", &eps));
    if (has(r, "rope.freq_base"))
        APUS_FORWARD(own_f32(r, "rope.freq_base", &theta));
    if (has(r, "rope.scaling.type"))
        APUS_FORWARD(apus_gguf_string(r->gguf, own_key(r, own, "rope.scaling.type"), &type));
    add_f32(r, "rms_norm_eps", eps);
    add_f32(r, "rope_theta", theta);
    if (!is_word(type, "none"))
        return add_scaling(r, type);
    if (freqs)
        return add_llama3(r, freqs, theta);
    if (apus_gguf_find(r->gguf, "rope_factors_long.weight"))
        return apus_fail(APUS_ERR_SUPPORT, "%s: rope type 'longrope': not supported yet",
                         apus_gguf_where(r->gguf));
    return APUS_OK;
}

static apus_status add_id(reading *r, const char *key, const char *hf, const char *second)
{
    uint32_t id, other;

    if (!apus_gguf_has(r->gguf, key))
        return APUS_OK;
    APUS_FORWARD(apus_gguf_u32(r->gguf, key, &id));
    other = id;
    if (second && apus_gguf_has(r->gguf, second))
        APUS_FORWARD(apus_gguf_u32(r->gguf, second, &other));
    if (other == id)
        add_u32(r, hf, id);
    else
        apus_str_addf(&r->text, ", \"%s\": [%u, %u]", hf, id, other);
    return APUS_OK;
}

static apus_status find_arch(reading *r)
{
    apus_gguf_text name;
    uint32_t parts = 1;
    char text[65];

    APUS_FORWARD(apus_gguf_string(r->gguf, "general.architecture", &name));
    for (size_t i = 0; i < APUS_COUNT(archs); i++)
        if (is_word(name, archs[i].name))
            r->arch = &archs[i];
    if (!r->arch)
        return apus_fail(APUS_ERR_SUPPORT, "%s: architecture '%s': not supported yet",
                         apus_gguf_where(r->gguf), shown(name, text));
    if (apus_gguf_has(r->gguf, "split.count"))
        APUS_FORWARD(apus_gguf_u32(r->gguf, "split.count", &parts));
    if (parts > 1)
        return apus_fail(APUS_ERR_SUPPORT,
                         "%s: one of %u parts of a model: not supported yet; merge them",
                         apus_gguf_where(r->gguf), parts);
    return APUS_OK;
}

apus_status apusi_gguf_config(cJSON **out, const apus_gguf *gguf)
{
    apus_status st;
    reading r = { .gguf = gguf };
    bool bias;

    *out = NULL;
    APUS_TRY(find_arch(&r));
    bias = !r.arch->bias && apus_gguf_find(gguf, "blk.0.attn_q.bias");
    apus_str_addf(&r.text, "{\"model_type\": \"%s\", \"architectures\": [\"%s\"]",
                  r.arch->model_type, r.arch->cls);
    APUS_TRY(add_shape(&r));
    APUS_TRY(add_rope(&r));
    apus_str_addf(&r.text, ", \"hidden_act\": \"silu\", \"tie_word_embeddings\": %s",
                  apus_gguf_find(gguf, "output.weight") ? "false" : "true");
    apus_str_addf(&r.text, ", \"attention_bias\": %s", bias ? "true" : "false");
    APUS_TRY(add_id(&r, "tokenizer.ggml.bos_token_id", "bos_token_id", NULL));
    APUS_TRY(
        add_id(&r, "tokenizer.ggml.eos_token_id", "eos_token_id", "tokenizer.ggml.eot_token_id"));
    APUS_TRY(add_id(&r, "tokenizer.ggml.padding_token_id", "pad_token_id", NULL));
    apus_str_add(&r.text, "}");
    st = r.text.failed ? APUS_ERR_MEMORY
                       : apus_json_parse(out, r.text.data, r.text.len, apus_gguf_where(gguf));
fail:
    apus_str_release(&r.text);
    return st;
}
