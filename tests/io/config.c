/* Tests of engine/io/config.c and rope.c: the golden models in both generations of keys, every
 * range, and rotary frequencies against values computed in single precision, operation by
 * operation, from the published formulas. */
#include <math.h>

#include "build.h"
#include "config.h"

static apus_status read_text(apus_config *out, const char *text)
{
    cJSON *json;
    apus_status st = apus_json_parse(&json, text, strlen(text), "test");

    if (st != APUS_OK)
        return st;
    st = apus_config_read(out, json);
    cJSON_Delete(json);
    return st;
}

static apus_status read_golden(apus_config *out, const char *name, const char *file)
{
    char path[512];
    cJSON *json;
    apus_status st;

    snprintf(path, sizeof(path), "%s/model/%s", name, file);
    st = apus_json_read(&json, golden(path));
    if (st != APUS_OK)
        return st;
    st = apus_config_read(out, json);
    cJSON_Delete(json);
    return st;
}

TEST(both_generations_of_keys_read_to_the_same_bytes)
{
    static const char *const names[] = { "llama_gqa_tied_rope3", "llama_untied_f32_sharded",
                                         "qwen2_bias", "qwen2_tied_yarn_f16", "qwen3" };

    for (size_t i = 0; i < APUS_COUNT(names); i++) {
        apus_config a, b;

        CHECK_OK(read_golden(&a, names[i], "config.json"));
        CHECK_OK(read_golden(&b, names[i], "config.v4.json"));
        harness_check(memcmp(&a, &b, sizeof(a)) == 0, __FILE__, __LINE__, "%s", names[i]);
    }
}

TEST(llama_with_scaled_rotary)
{
    apus_config c;

    REQUIRE_OK(read_golden(&c, "llama_gqa_tied_rope3", "config.json"));
    CHECK_EQ_STR(c.model_type, "llama");
    CHECK_EQ_STR(c.activation, "silu");
    CHECK_EQ_U64(c.hidden, 64);
    CHECK_EQ_U64(c.layers, 2);
    CHECK_EQ_U64(c.heads, 4);
    CHECK_EQ_U64(c.kv_heads, 2);
    CHECK_EQ_U64(c.head_dim, 16);
    CHECK_EQ_U64(c.ffn, 112);
    CHECK_EQ_U64(c.vocab, 272);
    CHECK_EQ_U64(c.max_pos, 256);
    CHECK(c.rms_eps == 1e-5f);
    CHECK(c.rope_theta == 500000.0);
    CHECK_EQ_U64(c.rope.kind, APUS_ROPE_LLAMA3);
    CHECK(c.rope.factor == 8 && c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    CHECK_EQ_U64(c.rope.original_max, 32);
    CHECK(c.tied && !c.attention_bias && !c.mlp_bias);
    CHECK_EQ_U64(c.sliding_window, 0);
    CHECK_EQ_U64(c.dtype, APUS_BF16);
    CHECK_EQ_U64(c.bos, 1);
    CHECK_EQ_U64(c.n_eos, 1);
    CHECK_EQ_U64(c.eos[0], 2);
    CHECK_EQ_U64(c.pad, APUS_NO_ID);
}

TEST(qwen2_without_head_dim_and_with_yarn)
{
    apus_config c;

    REQUIRE_OK(read_golden(&c, "qwen2_tied_yarn_f16", "config.v4.json"));
    CHECK_EQ_U64(c.head_dim, 12);
    CHECK_EQ_U64(c.rope.kind, APUS_ROPE_YARN);
    CHECK(c.rope.factor == 4 && c.rope.beta_fast == 32 && c.rope.beta_slow == 1);
    CHECK(c.rope.attention_factor == 0 && c.rope.truncate);
    CHECK_EQ_U64(c.rope.original_max, 32);
    CHECK_EQ_U64(c.dtype, APUS_F16);
    CHECK(c.tied);
    REQUIRE_OK(read_golden(&c, "qwen2_bias", "config.v4.json"));
    CHECK_EQ_U64(c.sliding_window, 0); /* use_sliding_window is false */
    CHECK(!c.tied);
}

#define BASE                                                                                       \
    "\"hidden_size\": 64, \"num_hidden_layers\": 4, \"num_attention_heads\": 4, "                  \
    "\"intermediate_size\": 8, \"vocab_size\": 100"

TEST(what_is_absent_comes_from_the_family)
{
    apus_config c;

    REQUIRE_OK(read_text(&c, "{\"model_type\": \"llama\", " BASE "}"));
    CHECK_EQ_U64(c.kv_heads, 4);
    CHECK_EQ_U64(c.head_dim, 16);
    CHECK_EQ_U64(c.max_pos, 2048);
    CHECK(c.rms_eps == 1e-6f && c.rope_theta == 10000.0 && !c.tied);
    CHECK_EQ_U64(c.dtype, APUS_DTYPE_COUNT);
    CHECK_EQ_U64(c.n_eos, 0);
    CHECK_EQ_U64(c.bos, APUS_NO_ID);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen3\", " BASE "}"));
    CHECK_EQ_U64(c.head_dim, 128);
}

TEST(windows)
{
    apus_config c;

    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen2\", \"sliding_window\": 16, "
                             "\"use_sliding_window\": true, \"max_window_layers\": 1, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 16);
    CHECK_EQ_U64(c.window_from, 1);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen2\", \"sliding_window\": 16, "
                             "\"use_sliding_window\": true, \"layer_types\": [\"full_attention\", "
                             "\"full_attention\", \"full_attention\", \"sliding_attention\"], " BASE
                             "}"));
    CHECK_EQ_U64(c.window_from, 3);
    CHECK_EQ_U64(c.sliding_window, 16);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen2\", \"sliding_window\": 16, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 0);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen2\", \"sliding_window\": 16, "
                             "\"use_sliding_window\": true, \"max_window_layers\": 4, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 0);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"mistral\", \"sliding_window\": 16, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 16);
    CHECK_EQ_U64(c.window_from, 0);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"mistral\", \"sliding_window\": null, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 0);
    REQUIRE_OK(read_text(&c, "{\"model_type\": \"llama\", \"sliding_window\": 16, " BASE "}"));
    CHECK_EQ_U64(c.sliding_window, 0);
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"mistral\", \"sliding_window\": 16, "
                              "\"layer_types\": [\"sliding_attention\", \"full_attention\", "
                              "\"sliding_attention\", \"full_attention\"], " BASE "}"),
                APUS_ERR_SUPPORT, "full attention above one with a window");
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"mistral\", \"sliding_window\": 16, "
                              "\"layer_types\": [\"sliding_attention\"], " BASE "}"),
                APUS_ERR_FORMAT, "1 elements for 4 layers");
}

TEST(end_tokens)
{
    apus_config c;
    cJSON *json;

    REQUIRE_OK(read_text(&c, "{\"model_type\": \"llama\", \"eos_token_id\": [7, 8, 7], "
                             "\"pad_token_id\": -1, " BASE "}"));
    CHECK_EQ_U64(c.n_eos, 2);
    CHECK_EQ_U64(c.eos[1], 8);
    CHECK_EQ_U64(c.pad, APUS_NO_ID);
    REQUIRE_OK(apus_json_parse(&json, "{\"eos_token_id\": [9, 8]}", 24, "test"));
    CHECK_OK(apus_config_add_eos(&c, json));
    CHECK_EQ_U64(c.n_eos, 3);
    CHECK_EQ_U64(c.eos[2], 9);
    cJSON_Delete(json);
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"llama\", \"eos_token_id\": "
                              "[1,2,3,4,5,6,7,8,9], " BASE "}"),
                APUS_ERR_FORMAT, "more than 8 ids");
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"llama\", \"eos_token_id\": 100, " BASE "}"),
                APUS_ERR_FORMAT, "\"eos_token_id\" is not a token id below 100");
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"llama\", \"bos_token_id\": \"x\", " BASE "}"),
                APUS_ERR_FORMAT, "\"bos_token_id\"");
}

TEST(hostile_values_are_named)
{
    static const struct {
        const char *key, *value, *words;
        apus_status code;
    } cases[] = {
        { "hidden_size", "0", "\"hidden_size\" is not a whole number", APUS_ERR_FORMAT },
        { "hidden_size", "1e300", "\"hidden_size\"", APUS_ERR_FORMAT },
        { "hidden_size", "63", "hidden_size 63 is not a multiple", APUS_ERR_FORMAT },
        { "hidden_size", "12", "head_dim 3 is odd", APUS_ERR_FORMAT },
        { "hidden_size", "null", "\"hidden_size\" is missing", APUS_ERR_FORMAT },
        { "num_hidden_layers", "-1", "\"num_hidden_layers\"", APUS_ERR_FORMAT },
        { "num_hidden_layers", "4097", "from 1 to 4096", APUS_ERR_FORMAT },
        { "num_key_value_heads", "3", "not a multiple of num_key_value_heads 3", APUS_ERR_FORMAT },
        { "num_key_value_heads", "0", "\"num_key_value_heads\"", APUS_ERR_FORMAT },
        { "hidden_size", "32768", "head_dim 8192 is above 4096", APUS_ERR_FORMAT },
        { "head_dim", "1.5", "\"head_dim\"", APUS_ERR_FORMAT },
        { "head_dim", "17", "head_dim 17 is odd", APUS_ERR_FORMAT },
        { "vocab_size", "4294967296", "\"vocab_size\"", APUS_ERR_FORMAT },
        { "max_position_embeddings", "true", "\"max_position_embeddings\"", APUS_ERR_FORMAT },
        { "rms_norm_eps", "-1e-5", "\"rms_norm_eps\"", APUS_ERR_FORMAT },
        { "rms_norm_eps", "\"x\"", "\"rms_norm_eps\"", APUS_ERR_FORMAT },
        { "rope_theta", "1", "\"rope_theta\"", APUS_ERR_FORMAT },
        { "rope_theta", "NaN", "\"rope_theta\"", APUS_ERR_FORMAT },
        { "tie_word_embeddings", "1", "\"tie_word_embeddings\"", APUS_ERR_FORMAT },
        { "hidden_act", "[]", "\"hidden_act\" is not a string", APUS_ERR_FORMAT },
        { "rope_scaling", "3", "\"rope_scaling\" is not an object", APUS_ERR_FORMAT },
        { "rope_scaling", "{\"type\": \"longrope\"}", "rope type 'longrope'", APUS_ERR_SUPPORT },
        { "rope_scaling", "{\"type\": \"dynamic\"}", "rope type 'dynamic'", APUS_ERR_SUPPORT },
        { "rope_scaling", "{\"type\": \"default\", \"mrope_section\": [1]}", "'mrope'",
          APUS_ERR_SUPPORT },
        { "rope_scaling", "{\"type\": \"linear\"}", "\"factor\" is missing", APUS_ERR_FORMAT },
        { "rope_scaling", "{\"type\": \"linear\", \"factor\": 0}", "\"factor\" is not",
          APUS_ERR_FORMAT },
        { "rope_scaling",
          "{\"type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, "
          "\"high_freq_factor\": 4}",
          "high_freq_factor 4 is not above low_freq_factor 4", APUS_ERR_FORMAT },
        { "rope_scaling",
          "{\"type\": \"yarn\", \"factor\": 2, \"original_max_position_embeddings\": 0}",
          "\"original_max_position_embeddings\"", APUS_ERR_FORMAT },
        { "rope_parameters", "{\"full_attention\": {}}", "'full_attention'", APUS_ERR_SUPPORT },
        { "rope_parameters", "{\"partial_rotary_factor\": 0.5}", "\"partial_rotary_factor\" 0.5",
          APUS_ERR_SUPPORT },
        { "partial_rotary_factor", "0.25", "\"partial_rotary_factor\" 0.25", APUS_ERR_SUPPORT },
        { "text_config", "{}", "text_config", APUS_ERR_SUPPORT },
        { "layer_types", "[\"chunked_attention\", 1]", "'chunked_attention'", APUS_ERR_SUPPORT },
    };
    apus_config c;

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        char text[1024];

        /* The first of two equal keys counts, so that the case replaces the good value. */
        snprintf(text, sizeof(text), "{\"%s\": %s, \"model_type\": \"mistral\", " BASE "}",
                 cases[i].key, cases[i].value);
        harness_fails(read_text(&c, text), cases[i].code, cases[i].words, __FILE__, __LINE__, text);
    }
    CHECK_FAILS(read_text(&c, "[]"), APUS_ERR_FORMAT, "not a JSON object");
    CHECK_FAILS(read_text(&c, "{" BASE "}"), APUS_ERR_FORMAT, "\"model_type\" is missing");
    CHECK_FAILS(read_text(&c, "{\"model_type\": \"0123456789012345678901234567890123456789"
                              "012345678901234567890123\", " BASE "}"),
                APUS_ERR_FORMAT, "longer than 63 bytes");
}

/* Apart by at most one unit in the last place: powf of different libraries may differ by that. */
static void check_frequencies(const apus_config *c, const uint32_t *expected, int line)
{
    float inv_freq[64], scale;

    APUS_BUG_IF(c->head_dim > 128);
    apus_rope_frequencies(c, inv_freq, &scale);
    for (uint32_t i = 0; i < c->head_dim / 2; i++) {
        uint32_t bits;

        memcpy(&bits, &inv_freq[i], 4);
        harness_check(bits + 1 >= expected[i] && bits <= expected[i] + 1, __FILE__, line,
                      "pair %u: 0x%08x, expected 0x%08x", i, bits, expected[i]);
    }
}

TEST(default_and_linear_frequencies)
{
    static const uint32_t plain[] = { 0x3f800000, 0x3e5c9d35, 0x3d3e1e95,
                                      0x3c23d70a, 0x3b0d3169, 0x39f35a5c };
    static const uint32_t eighth[] = { 0x3e000000, 0x3cdc9d35, 0x3bbe1e95,
                                       0x3aa3d70a, 0x398d3169, 0x38735a5c };
    apus_config c = { .head_dim = 12, .rope_theta = 10000 };
    float inv_freq[6], scale;

    check_frequencies(&c, plain, __LINE__);
    apus_rope_frequencies(&c, inv_freq, &scale);
    CHECK(scale == 1.0f);
    c.rope.kind = APUS_ROPE_LINEAR;
    c.rope.factor = 8;
    check_frequencies(&c, eighth, __LINE__);
}

TEST(llama3_frequencies)
{
    static const uint32_t tiny[] = { 0x3f800000, 0x3cc693b0, 0x3b9a08c8, 0x3a6ef74f,
                                     0x39395d21, 0x380fc8f8, 0x36df10c4, 0x35ad07a7 };
    static const uint32_t llama32[] = {
        0x3f800000, 0x3f29e1c6, 0x3ee177bc, 0x3e959ee3, 0x3e4693b0, 0x3e03c6a0, 0x3daee4ad,
        0x3d681e67, 0x3d1a08c8, 0x3ccc6f49, 0x3c87a9c3, 0x3c340d6d, 0x3beef74f, 0x3b9e9402,
        0x3b527720, 0x3aa9279b, 0x39e13620, 0x38cb98f7, 0x37a3418d, 0x3758ac81, 0x370fc8f8,
        0x36bed4f4, 0x367d45c3, 0x3628126b, 0x35df10c4, 0x359406cb, 0x35447610, 0x35025f34,
        0x34ad07a7, 0x3465a54d, 0x341864a7, 0x33ca41b0,
    };
    apus_config c;

    REQUIRE_OK(read_golden(&c, "llama_gqa_tied_rope3", "config.json"));
    check_frequencies(&c, tiny, __LINE__);
    c.head_dim = 64;
    c.rope.factor = 32;
    c.rope.original_max = 8192;
    check_frequencies(&c, llama32, __LINE__);
}

TEST(yarn_frequencies)
{
    static const uint32_t tiny[] = { 0x3f800000, 0x3ccccccc, 0x3b23d709,
                                     0x3983126f, 0x37d1b713, 0x3627c5b0 };
    static const uint32_t untruncated[] = { 0x3f800000, 0x3ea1e89b, 0x3dcccccd, 0x3d0186e3,
                                            0x3bcbe0fd, 0x39e45df7, 0x3903126f, 0x3825cb60 };
    apus_config c;
    float inv_freq[64], scale;

    REQUIRE_OK(read_golden(&c, "qwen2_tied_yarn_f16", "config.json"));
    check_frequencies(&c, tiny, __LINE__);
    apus_rope_frequencies(&c, inv_freq, &scale);
    CHECK_NEAR((double)scale, 1.1386294361119891, 1e-7);
    c.rope.mscale = 2;
    c.rope.mscale_all_dim = 1;
    apus_rope_frequencies(&c, inv_freq, &scale);
    CHECK_NEAR((double)scale, 1.2772588722239782 / 1.1386294361119891, 1e-7);
    c.rope.attention_factor = 1.25;
    apus_rope_frequencies(&c, inv_freq, &scale);
    CHECK(scale == 1.25f);
    c = (apus_config) { .head_dim = 16,
                        .rope_theta = 10000,
                        .rope = { .kind = APUS_ROPE_YARN,
                                  .factor = 8,
                                  .original_max = 4096,
                                  .beta_fast = 16,
                                  .beta_slow = 2 } };
    check_frequencies(&c, untruncated, __LINE__);
}

TEST(yarn_of_a_128k_model)
{
    static const uint32_t some[][2] = {
        { 0, 0x3f800000 },  { 1, 0x3f4e4bad },  { 22, 0x3c0de12d },
        { 23, 0x3be4aa46 }, { 24, 0x3bb02377 }, { 30, 0x3a8b8207 },
        { 39, 0x38881d0a }, { 40, 0x383a7753 }, { 63, 0x34a68e4c }
    };
    apus_config c = { .head_dim = 128,
                      .rope_theta = 1e6,
                      .rope = { .kind = APUS_ROPE_YARN,
                                .factor = 4,
                                .original_max = 32768,
                                .beta_fast = 32,
                                .beta_slow = 1,
                                .truncate = true } };
    float inv_freq[64], scale;

    apus_rope_frequencies(&c, inv_freq, &scale);
    for (size_t i = 0; i < APUS_COUNT(some); i++) {
        uint32_t bits;

        memcpy(&bits, &inv_freq[some[i][0]], 4);
        harness_check(bits + 1 >= some[i][1] && bits <= some[i][1] + 1, __FILE__, __LINE__,
                      "pair %u: 0x%08x, expected 0x%08x", some[i][0], bits, some[i][1]);
    }
}

TEST(yarn_factor_comes_from_the_positions_if_absent)
{
    apus_config c;

    REQUIRE_OK(read_text(&c, "{\"model_type\": \"qwen2\", \"max_position_embeddings\": 1024, "
                             "\"rope_scaling\": {\"type\": \"yarn\", "
                             "\"original_max_position_embeddings\": 256}, " BASE "}"));
    CHECK(c.rope.factor == 4);
    CHECK_EQ_U64(c.rope.original_max, 256);
}
