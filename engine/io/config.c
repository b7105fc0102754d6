/* config.c - reads a config.json (or the like of a GGUF file) into one struct by a table of keys
 * with ranges.  The file is hostile: every number that sizes depend on has a range here. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "config.h"

typedef enum window_rule { NEVER, IF_USED, ALWAYS } window_rule;

typedef struct family {
    const char *model_type;
    bool tied;
    uint32_t head_dim;
    window_rule window;
} family;

static const family families[] = {
#define X(model_type, tied, head_dim, window) { model_type, tied, head_dim, window },
#include "families.def"
#undef X
};

static const family any_family = { "", false, 0, ALWAYS };

#define REQUIRED UINT32_MAX
#define HEAD_DIM_MOST 4096

/* Whole numbers: key, place, range, value when absent. */
static const struct {
    const char *key;
    size_t at;
    uint32_t least, most, or_else;
} wholes[] = {
    { "hidden_size", offsetof(apus_config, hidden), 1, 1u << 20, REQUIRED },
    { "num_hidden_layers", offsetof(apus_config, layers), 1, 4096, REQUIRED },
    { "num_attention_heads", offsetof(apus_config, heads), 1, 4096, REQUIRED },
    { "num_key_value_heads", offsetof(apus_config, kv_heads), 1, 4096, 0 },
    { "head_dim", offsetof(apus_config, head_dim), 2, HEAD_DIM_MOST, 0 },
    { "intermediate_size", offsetof(apus_config, ffn), 1, 1u << 24, REQUIRED },
    { "vocab_size", offsetof(apus_config, vocab), 1, 1u << 24, REQUIRED },
    { "max_position_embeddings", offsetof(apus_config, max_pos), 1, 1u << 30, 2048 },
};

/* Numbers of the rotary scaling: key, place, the kinds that have it (bits), range, value when
 * absent (0: required). */
#define IN(kind) (1u << APUS_ROPE_##kind)
static const struct {
    const char *key;
    size_t at;
    unsigned kinds;
    double least, most, or_else;
} factors[] = {
    { "factor", offsetof(apus_rope_scaling, factor), IN(LINEAR) | IN(LLAMA3), 1e-6, 1e6, 0 },
    { "factor", offsetof(apus_rope_scaling, factor), IN(YARN), 1e-6, 1e6, -1 },
    { "low_freq_factor", offsetof(apus_rope_scaling, low_freq_factor), IN(LLAMA3), 1e-6, 1e6, 0 },
    { "high_freq_factor", offsetof(apus_rope_scaling, high_freq_factor), IN(LLAMA3), 1e-6, 1e6, 0 },
    { "attention_factor", offsetof(apus_rope_scaling, attention_factor), IN(YARN), 0, 1e6, -1 },
    { "beta_fast", offsetof(apus_rope_scaling, beta_fast), IN(YARN), 1e-6, 1e6, 32 },
    { "beta_slow", offsetof(apus_rope_scaling, beta_slow), IN(YARN), 1e-6, 1e6, 1 },
    { "mscale", offsetof(apus_rope_scaling, mscale), IN(YARN), 0, 1e6, -1 },
    { "mscale_all_dim", offsetof(apus_rope_scaling, mscale_all_dim), IN(YARN), 0, 1e6, -1 },
};
#undef IN

static apus_status number(const cJSON *object, const char *key, double least, double most,
                          double *out)
{
    const cJSON *item = apus_json_get(object, key);

    if (!cJSON_IsNumber(item) || !(item->valuedouble >= least) || !(item->valuedouble <= most))
        return apus_fail(APUS_ERR_FORMAT,
                         item ? "\"%s\" is not a number from %g to %g"
                              : "\"%s\" is missing (a number from %g to %g)",
                         key, least, most);
    *out = item->valuedouble;
    return APUS_OK;
}

static apus_status truth(const cJSON *object, const char *key, bool or_else, bool *out)
{
    const cJSON *item = apus_json_get(object, key);

    if (item && !cJSON_IsBool(item))
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is neither true nor false", key);
    *out = item ? (bool)cJSON_IsTrue(item) : or_else;
    return APUS_OK;
}

static apus_status word(const cJSON *object, const char *key, const char *or_else, char *out,
                        size_t room)
{
    const cJSON *item = apus_json_get(object, key);

    if (item && !cJSON_IsString(item))
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is not a string", key);
    if (!item && !or_else)
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is missing", key);
    if (item && strlen(item->valuestring) >= room)
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is longer than %zu bytes", key, room - 1);
    snprintf(out, room, "%s", item ? item->valuestring : or_else);
    return APUS_OK;
}

static apus_status read_wholes(apus_config *c, const cJSON *config)
{
    for (size_t i = 0; i < APUS_COUNT(wholes); i++) {
        uint64_t v = wholes[i].or_else;
        const uint32_t v32 = wholes[i].or_else;

        if (v32 == REQUIRED || apus_json_get(config, wholes[i].key))
            APUS_FORWARD(apus_json_u64(config, wholes[i].key, wholes[i].least, wholes[i].most, &v));
        *(uint32_t *)(void *)((char *)c + wholes[i].at) = (uint32_t)v;
    }
    return APUS_OK;
}

static apus_status check_heads(apus_config *c, const family *f)
{
    if (!c->kv_heads)
        c->kv_heads = c->heads;
    if (c->heads % c->kv_heads != 0)
        return apus_fail(APUS_ERR_FORMAT,
                         "num_attention_heads %u is not a multiple of num_key_value_heads %u",
                         c->heads, c->kv_heads);
    if (!c->head_dim)
        c->head_dim = f->head_dim;
    if (!c->head_dim && c->hidden % c->heads != 0)
        return apus_fail(APUS_ERR_FORMAT,
                         "hidden_size %u is not a multiple of num_attention_heads %u", c->hidden,
                         c->heads);
    if (!c->head_dim)
        c->head_dim = c->hidden / c->heads;
    if (c->head_dim > HEAD_DIM_MOST)
        return apus_fail(APUS_ERR_FORMAT, "head_dim %u is above %d", c->head_dim, HEAD_DIM_MOST);
    if (c->head_dim % 2 != 0)
        return apus_fail(APUS_ERR_FORMAT, "head_dim %u is odd, rotary pairs need an even one",
                         c->head_dim);
    return APUS_OK;
}

/* An id or null; -1 stands for null in old files. */
static apus_status token_id(const cJSON *item, const char *key, uint32_t vocab, uint32_t *out)
{
    *out = APUS_NO_ID;
    if (!item || cJSON_IsNull(item) || (cJSON_IsNumber(item) && item->valuedouble == -1.0))
        return APUS_OK;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || !(item->valuedouble < vocab) ||
        item->valuedouble != floor(item->valuedouble))
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is not a token id below %u", key, vocab);
    *out = (uint32_t)item->valuedouble;
    return APUS_OK;
}

apus_status apus_config_add_eos(apus_config *config, const cJSON *generation)
{
    const cJSON *item = apus_json_get(generation, "eos_token_id");
    const bool list = cJSON_IsArray(item);

    for (item = list ? item->child : item; item; item = list ? item->next : NULL) {
        uint32_t id, i = 0;

        APUS_FORWARD(token_id(item, "eos_token_id", config->vocab, &id));
        while (i < config->n_eos && config->eos[i] != id)
            i++;
        if (id == APUS_NO_ID || i < config->n_eos)
            continue;
        if (config->n_eos == APUS_EOS_MOST)
            return apus_fail(APUS_ERR_FORMAT, "\"eos_token_id\" has more than %d ids",
                             APUS_EOS_MOST);
        config->eos[config->n_eos++] = id;
    }
    return APUS_OK;
}

/* Layers with and without the window: "layer_types" if there, else from "max_window_layers" on. */
static apus_status read_layer_types(apus_config *c, const cJSON *types)
{
    const cJSON *item;
    uint32_t at = 0, from = UINT32_MAX;

    if (!cJSON_IsArray(types))
        return apus_fail(APUS_ERR_FORMAT, "\"layer_types\" is not an array");
    cJSON_ArrayForEach(item, types)
    {
        const bool slides = cJSON_IsString(item) && !strcmp(item->valuestring, "sliding_attention");

        if (!cJSON_IsString(item))
            return apus_fail(APUS_ERR_FORMAT, "\"layer_types\" has an element that is no string");
        if (!slides && strcmp(item->valuestring, "full_attention") != 0)
            return apus_fail(APUS_ERR_SUPPORT, "layer type '%s': not supported yet",
                             item->valuestring);
        if (slides && from == UINT32_MAX)
            from = at;
        if (!slides && from != UINT32_MAX && c->sliding_window)
            return apus_fail(APUS_ERR_SUPPORT, "\"layer_types\": a layer with full attention "
                                               "above one with a window: not supported yet");
        at++;
    }
    if (at != c->layers)
        return apus_fail(APUS_ERR_FORMAT, "\"layer_types\" has %u elements for %u layers", at,
                         c->layers);
    c->window_from = from;
    return APUS_OK;
}

static apus_status read_window(apus_config *c, const cJSON *config, const family *f)
{
    const cJSON *types = apus_json_get(config, "layer_types");
    uint64_t window = 0, from = 0;
    bool used = true;

    if (f->window == IF_USED || apus_json_get(config, "use_sliding_window"))
        APUS_FORWARD(truth(config, "use_sliding_window", false, &used));
    if (f->window == NEVER || !used)
        return APUS_OK;
    if (apus_json_get(config, "sliding_window"))
        APUS_FORWARD(apus_json_u64(config, "sliding_window", 1, 1u << 30, &window));
    if (f->window == IF_USED && !types && apus_json_get(config, "max_window_layers"))
        APUS_FORWARD(apus_json_u64(config, "max_window_layers", 0, 4096, &from));
    c->sliding_window = (uint32_t)window;
    c->window_from = (uint32_t)from;
    if (types)
        APUS_FORWARD(read_layer_types(c, types));
    if (!c->sliding_window || c->window_from >= c->layers)
        c->sliding_window = c->window_from = 0;
    return APUS_OK;
}

static apus_status rope_kind(apus_rope_scaling *rope, const cJSON *object)
{
    static const char *const names[] = { "default", "linear", "llama3", "yarn" };
    char name[64];
    const cJSON *item;
    double partial = 1.0;

    cJSON_ArrayForEach(item, object) if (cJSON_IsObject(item)) return apus_fail(
        APUS_ERR_SUPPORT, "rotary parameters by layer type ('%s'): not supported yet",
        item->string);
    if (apus_json_get(object, "mrope_section"))
        return apus_fail(APUS_ERR_SUPPORT, "rope type 'mrope': not supported yet");
    if (apus_json_get(object, "partial_rotary_factor"))
        APUS_FORWARD(number(object, "partial_rotary_factor", 0, 1, &partial));
    if (partial != 1.0)
        return apus_fail(APUS_ERR_SUPPORT, "\"partial_rotary_factor\" %g: not supported yet",
                         partial);
    APUS_FORWARD(word(object, apus_json_get(object, "rope_type") ? "rope_type" : "type", "default",
                      name, sizeof(name)));
    for (size_t i = 0; i < APUS_COUNT(names); i++)
        if (strcmp(names[i], name) == 0) {
            rope->kind = (apus_rope_kind)i;
            return APUS_OK;
        }
    return apus_fail(APUS_ERR_SUPPORT, "rope type '%s': not supported yet", name);
}

static apus_status read_factors(apus_config *c, const cJSON *object)
{
    apus_rope_scaling *rope = &c->rope;
    uint64_t original = c->max_pos;

    for (size_t i = 0; i < APUS_COUNT(factors); i++) {
        double v = factors[i].or_else < 0 ? 0 : factors[i].or_else;

        if (!(factors[i].kinds & (1u << rope->kind)))
            continue;
        if (factors[i].or_else == 0 || apus_json_get(object, factors[i].key))
            APUS_FORWARD(number(object, factors[i].key, factors[i].least, factors[i].most, &v));
        *(double *)(void *)((char *)rope + factors[i].at) = v;
    }
    if (rope->kind == APUS_ROPE_LINEAR)
        return APUS_OK;
    if (apus_json_get(object, "original_max_position_embeddings"))
        APUS_FORWARD(
            apus_json_u64(object, "original_max_position_embeddings", 1, 1u << 30, &original));
    rope->original_max = (uint32_t)original;
    if (rope->kind == APUS_ROPE_LLAMA3 && !(rope->high_freq_factor > rope->low_freq_factor))
        return apus_fail(APUS_ERR_FORMAT, "high_freq_factor %g is not above low_freq_factor %g",
                         rope->high_freq_factor, rope->low_freq_factor);
    if (rope->kind != APUS_ROPE_YARN)
        return APUS_OK;
    if (rope->factor == 0)
        rope->factor = (double)c->max_pos / (double)original;
    return truth(object, "truncate", true, &rope->truncate);
}

static apus_status read_rope(apus_config *c, const cJSON *config)
{
    const cJSON *object = apus_json_get(config, "rope_scaling");
    const cJSON *theta_from = config;
    double partial = 1.0;

    if (!object || (cJSON_IsObject(object) && !object->child))
        object = apus_json_get(config, "rope_parameters");
    if (object && !cJSON_IsObject(object))
        return apus_fail(APUS_ERR_FORMAT, "\"%s\" is not an object", object->string);
    if (object)
        APUS_FORWARD(rope_kind(&c->rope, object));
    if (apus_json_get(config, "partial_rotary_factor"))
        APUS_FORWARD(number(config, "partial_rotary_factor", 0, 1, &partial));
    if (partial != 1.0)
        return apus_fail(APUS_ERR_SUPPORT, "\"partial_rotary_factor\" %g: not supported yet",
                         partial);
    if (object && apus_json_get(object, "rope_theta"))
        theta_from = object;
    c->rope_theta = 10000.0;
    if (apus_json_get(theta_from, "rope_theta"))
        APUS_FORWARD(number(theta_from, "rope_theta", 1.0001, 1e15, &c->rope_theta));
    return c->rope.kind == APUS_ROPE_NONE ? APUS_OK : read_factors(c, object);
}

static apus_status read_dtype(apus_config *c, const cJSON *config)
{
    char name[32];

    c->dtype = APUS_DTYPE_COUNT;
    APUS_FORWARD(word(config, apus_json_get(config, "dtype") ? "dtype" : "torch_dtype", "", name,
                      sizeof(name)));
    apus_dtype_by_torch(name, &c->dtype);
    return APUS_OK;
}

apus_status apus_config_read(apus_config *out, const cJSON *config)
{
    const family *f = &any_family;
    double eps = 1e-6;

    memset(out, 0, sizeof(*out));
    if (!cJSON_IsObject(config))
        return apus_fail(APUS_ERR_FORMAT, "a config is not a JSON object");
    APUS_FORWARD(word(config, "model_type", NULL, out->model_type, sizeof(out->model_type)));
    if (apus_json_get(config, "text_config"))
        return apus_fail(APUS_ERR_SUPPORT,
                         "a config of several models (text_config) in '%s': "
                         "not supported yet",
                         out->model_type);
    for (size_t i = 0; i < APUS_COUNT(families); i++)
        if (strcmp(families[i].model_type, out->model_type) == 0)
            f = &families[i];
    APUS_FORWARD(word(config, "hidden_act", "silu", out->activation, sizeof(out->activation)));
    APUS_FORWARD(read_wholes(out, config));
    APUS_FORWARD(check_heads(out, f));
    if (apus_json_get(config, "rms_norm_eps"))
        APUS_FORWARD(number(config, "rms_norm_eps", 0, 1, &eps));
    out->rms_eps = (float)eps;
    APUS_FORWARD(read_rope(out, config));
    APUS_FORWARD(truth(config, "tie_word_embeddings", f->tied, &out->tied));
    APUS_FORWARD(truth(config, "attention_bias", false, &out->attention_bias));
    APUS_FORWARD(truth(config, "mlp_bias", false, &out->mlp_bias));
    APUS_FORWARD(read_window(out, config, f));
    APUS_FORWARD(read_dtype(out, config));
    const cJSON *bos = apus_json_get(config, "bos_token_id");
    const cJSON *pad = apus_json_get(config, "pad_token_id");
    APUS_FORWARD(token_id(bos, "bos_token_id", out->vocab, &out->bos));
    APUS_FORWARD(token_id(pad, "pad_token_id", out->vocab, &out->pad));
    return apus_config_add_eos(out, config);
}
