/* Tests of engine/io/checkpoint.c and gguf_config.c: folders of the golden models, folders that
 * lie, and GGUF files under Hugging Face names. */
#include <math.h>

#include "build.h"
#include "checkpoint.h"
#include "env.h"
#include "file.h"

static bytes file;

TEST(a_golden_folder)
{
    apus_checkpoint *ck;
    apus_config c;
    apus_tensor_info info;
    const apus_file_tensor *t;

    REQUIRE_OK(apus_checkpoint_open(&ck, golden("qwen2_bias/model")));
    CHECK_EQ_STR(apus_checkpoint_name(ck), "model");
    CHECK_EQ_STR(apus_checkpoint_path(ck), golden("qwen2_bias/model"));
    CHECK(!apus_checkpoint_is_gguf(ck));
    CHECK(!apus_checkpoint_gguf(ck));
    CHECK_EQ_U64(apus_checkpoint_count(ck), 27);
    CHECK_EQ_STR(apus_json_string(apus_checkpoint_config(ck), "model_type", ""), "qwen2");
    CHECK(apus_checkpoint_generation(ck) != NULL);
    CHECK_OK(apus_checkpoint_read_config(ck, &c));
    CHECK_EQ_U64(c.n_eos, 1);
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.1.self_attn.q_proj.bias", &t));
    CHECK_EQ_U64(t->dims[0], 48);
    CHECK_FAILS(apus_checkpoint_need(ck, "nothing", &t), APUS_ERR_MISSING, "no tensor 'nothing'");
    apus_checkpoint_info(ck, 0, &info);
    CHECK_EQ_STR(info.name, "lm_head.weight");
    CHECK_EQ_STR(info.format, "BF16");
    CHECK(info.readable && info.n_dims == 2 && info.dims[0] == 272 && info.dims[1] == 48);
    CHECK_EQ_U64(info.bytes, 272 * 48 * 2);
    apus_checkpoint_close(&ck);
    CHECK(!ck);
    apus_checkpoint_close(&ck);
}

TEST(a_golden_folder_in_shards)
{
    apus_checkpoint *ck;
    const apus_file_tensor *t;
    uint64_t bytes_in_all = 0;
    float sum = 0, v;

    REQUIRE_OK(apus_checkpoint_open(&ck, golden("llama_untied_f32_sharded/model/")));
    CHECK_EQ_U64(apus_checkpoint_count(ck), 30);
    for (size_t i = 0; i < apus_checkpoint_count(ck); i++)
        bytes_in_all += apus_checkpoint_at(ck, i)->bytes;
    CHECK_EQ_U64(bytes_in_all, 354624); /* total_size of the index */
    CHECK_EQ_STR(apus_checkpoint_name(ck), "model");
    REQUIRE_OK(apus_checkpoint_need(ck, "model.layers.2.mlp.up_proj.weight", &t));
    CHECK_EQ_U64(t->dtype, APUS_F32);
    CHECK_EQ_U64(t->dims[0], 80);
    for (uint64_t i = 0; i < t->bytes; i += 4) {
        memcpy(&v, t->data + i, 4);
        sum += v * v;
    }
    CHECK(isfinite(sum) && sum > 0);
    apus_checkpoint_close(&ck);
}

/* A fresh folder with a config.json and other files of the given texts. */
static const char *folder_with(const char *name, const char *text)
{
    static char dir[4096];
    char path[4200];

    snprintf(dir, sizeof(dir), "%s/model", harness_folder());
    apus_path_remove(dir);
    CHECK_OK(apus_dir_create(dir));
    snprintf(path, sizeof(path), "%s/config.json", dir);
    CHECK_OK(apus_file_write(path, "{\"model_type\": \"x\"}", 19));
    if (name) {
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        CHECK_OK(apus_file_write(path, text, strlen(text)));
    }
    return dir;
}

static void add_file(const char *dir, const char *name, const void *data, size_t n)
{
    char path[4200];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    CHECK_OK(apus_file_write(path, data, n));
}

TEST(folders_that_lie)
{
    apus_checkpoint *ck;
    const char *index = "model.safetensors.index.json";
    const char *dir;

    CHECK_FAILS(apus_checkpoint_open(&ck, "/nowhere/at/all"), APUS_ERR_MISSING, "/nowhere/at/all");
    CHECK(!ck);
    CHECK_FAILS(apus_checkpoint_open(&ck, golden("qwen3")), APUS_ERR_MISSING, "config.json");
    CHECK_FAILS(apus_checkpoint_open(&ck, golden("qwen3/model/config.json")), APUS_ERR_FORMAT,
                "not a GGUF file");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(NULL, "")), APUS_ERR_MISSING,
                "neither model.safetensors nor");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with("pytorch_model.bin", "")), APUS_ERR_SUPPORT,
                "Python pickles");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with("config.json", "[1]")), APUS_ERR_FORMAT,
                "not a JSON object");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with("model.safetensors", "x")), APUS_ERR_FORMAT,
                "too few");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(index, "{}")), APUS_ERR_FORMAT,
                "no \"weight_map\"");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(index, "{\"weight_map\": {\"a\": 3}}")),
                APUS_ERR_FORMAT, "'a' is not given a file's name");
    CHECK_FAILS(
        apus_checkpoint_open(&ck, folder_with(index, "{\"weight_map\": {\"a\": \"../x\"}}")),
        APUS_ERR_FORMAT, "'a' is not given a file's name");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(index, "{\"weight_map\": {\"a\": \"..\"}}")),
                APUS_ERR_FORMAT, "'a' is not given a file's name");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(index, "{\"weight_map\": {\"a\": \"x/y\"}}")),
                APUS_ERR_FORMAT, "'a' is not given a file's name");
    CHECK_FAILS(apus_checkpoint_open(&ck, folder_with(index, "{\"weight_map\": {\"a\": \"x\"}}")),
                APUS_ERR_MISSING, "/x");
    dir = folder_with(index, "{\"weight_map\": {\"a\": \"x\", \"b\": \"x\"}}");
    put_safetensors(&file, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1);
    add_file(dir, "x", file.at, file.n);
    CHECK_FAILS(apus_checkpoint_open(&ck, dir), APUS_ERR_FORMAT, "tensor 'b' is not in 'x'");
    dir = folder_with(index, "{\"weight_map\": {\"a\": \"x\", \"a\": \"y\"}}");
    add_file(dir, "x", file.at, file.n);
    add_file(dir, "y", file.at, file.n);
    CHECK_FAILS(apus_checkpoint_open(&ck, dir), APUS_ERR_FORMAT, "tensor 'a' is there twice");
    dir = folder_with(index, "{\"weight_map\": {}}");
    CHECK_OK(apus_checkpoint_open(&ck, dir));
    apus_config c;
    CHECK_FAILS(apus_checkpoint_read_config(ck, &c), APUS_ERR_FORMAT,
                "config.json: \"hidden_size\" is missing");
    apus_checkpoint_close(&ck);
}

typedef struct made {
    const char *arch;
    uint32_t heads, key_length, experts, split;
    const char *rope_type;
    const float *freqs; /* 8 of them */
    uint32_t q_format;
    bool output, q_bias, second_eos, plain_name;
} made;

static void put_own_u32(bytes *b, const made *m, const char *key, uint32_t v)
{
    char own[128];

    snprintf(own, sizeof(own), "%s.%s", m->arch, key);
    put_u32(b, own, v);
}

static void put_own_f32(bytes *b, const made *m, const char *key, float v)
{
    char own[128];

    snprintf(own, sizeof(own), "%s.%s", m->arch, key);
    put_f32(b, own, v);
}

/* A GGUF model of one layer, hidden 32, 2 heads of 16, 1 key-value head; its tensors overlap, which
 * the format does not forbid. */
static const char *make(const made *m)
{
    static char path[4096];
    char own[128];

    put_gguf(&file, 3, 4u + (m->freqs != NULL) + m->output + m->q_bias + m->plain_name,
             13u + m->second_eos + (m->rope_type != NULL) * 3 + (m->experts > 0) + (m->split > 0));
    put_string(&file, "general.architecture", m->arch);
    put_string(&file, "general.name", m->plain_name ? "" : "A Name");
    put_own_u32(&file, m, "embedding_length", 32);
    put_own_u32(&file, m, "block_count", 1);
    put_own_u32(&file, m, "context_length", 512);
    put_own_u32(&file, m, "feed_forward_length", 64);
    put_own_u32(&file, m, "attention.head_count", m->heads);
    put_own_u32(&file, m, "attention.head_count_kv", 1);
    put_own_u32(&file, m, "attention.key_length", m->key_length);
    put_own_f32(&file, m, "attention.layer_norm_rms_epsilon", 1e-5f);
    put_own_f32(&file, m, "rope.freq_base", 500000.0f);
    put_u32(&file, "tokenizer.ggml.bos_token_id", 1);
    put_u32(&file, "tokenizer.ggml.eos_token_id", 2);
    if (m->second_eos)
        put_u32(&file, "tokenizer.ggml.eot_token_id", 3);
    if (m->experts)
        put_own_u32(&file, m, "expert_count", m->experts);
    if (m->split)
        put_u32(&file, "split.count", m->split);
    if (m->rope_type) {
        snprintf(own, sizeof(own), "%s.rope.scaling.type", m->arch);
        put_string(&file, own, m->rope_type);
        put_own_f32(&file, m, "rope.scaling.factor", 4);
        put_own_u32(&file, m, "rope.scaling.original_context_length", 128);
    }
    put_tensor(&file, "token_embd.weight", 2, 32, 10, 0, 0);
    put_tensor(&file, "blk.0.attn_q.weight", 2, 32, 32, m->q_format, 0);
    put_tensor(&file, "blk.0.attn_k.weight", 2, 32, 16, 0, 0);
    put_tensor(&file, "blk.0.attn_v.weight", 2, 32, 16, 0, 0);
    if (m->output)
        put_tensor(&file, "output.weight", 2, 32, 10, 0, 0);
    if (m->q_bias)
        put_tensor(&file, "blk.0.attn_q.bias", 1, 32, 0, 0, 0);
    if (m->plain_name)
        put_tensor(&file, "lm_head.weight", 2, 32, 10, 0, 0);
    if (m->freqs)
        put_tensor(&file, "rope_freqs.weight", 1, 8, 0, 0, 4096);
    put_padding(&file, 32);
    for (int i = 0; i < 4096; i++)
        put_number(&file, 0, 1);
    if (m->freqs)
        put(&file, m->freqs, 32);
    snprintf(path, sizeof(path), "%s/some-model.gguf", harness_folder());
    CHECK_OK(apus_file_write(path, file.at, file.n));
    return path;
}

TEST(gguf_under_hugging_face_names)
{
    const made m = { "llama", 2, 16, .second_eos = true, .q_bias = true };
    apus_checkpoint *ck;
    apus_config c;
    const apus_file_tensor *t;

    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    CHECK(apus_checkpoint_is_gguf(ck));
    CHECK_EQ_STR(apus_checkpoint_name(ck), "A Name");
    CHECK_EQ_U64(apus_checkpoint_count(ck), 5);
    CHECK_OK(apus_checkpoint_need(ck, "model.embed_tokens.weight", &t));
    CHECK_EQ_U64(t->pair_heads, 0);
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.0.self_attn.q_proj.weight", &t));
    CHECK_EQ_U64(t->pair_heads, 2);
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.0.self_attn.q_proj.bias", &t));
    CHECK_EQ_U64(t->pair_heads, 2);
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.0.self_attn.k_proj.weight", &t));
    CHECK_EQ_U64(t->pair_heads, 1);
    CHECK_EQ_U64(t->dims[0], 16);
    CHECK_EQ_U64(t->dims[1], 32);
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.0.self_attn.v_proj.weight", &t));
    CHECK_EQ_U64(t->pair_heads, 0);
    REQUIRE_OK(apus_checkpoint_read_config(ck, &c));
    CHECK_EQ_STR(c.model_type, "llama");
    CHECK(c.hidden == 32 && c.layers == 1 && c.heads == 2 && c.kv_heads == 1 && c.head_dim == 16);
    CHECK(c.ffn == 64 && c.vocab == 10 && c.max_pos == 512);
    CHECK(c.rms_eps == 1e-5f && c.rope_theta == 500000.0);
    CHECK(c.tied && c.attention_bias);
    CHECK(c.n_eos == 2 && c.eos[0] == 2 && c.eos[1] == 3 && c.bos == 1 && c.pad == APUS_NO_ID);
    char *text = apus_json_text(apus_json_get(apus_checkpoint_config(ck), "rms_norm_eps"), 0);
    CHECK_EQ_STR(text, "1e-05");
    apus_free(text);
    apus_checkpoint_close(&ck);
}

TEST(gguf_of_other_architectures)
{
    made m = { "qwen2", 2, 16, .output = true, .q_bias = true };
    apus_checkpoint *ck;
    apus_config c;
    const apus_file_tensor *t;

    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    CHECK_OK(apus_checkpoint_need(ck, "model.layers.0.self_attn.q_proj.weight", &t));
    CHECK_EQ_U64(t->pair_heads, 0);
    CHECK_OK(apus_checkpoint_need(ck, "lm_head.weight", &t));
    REQUIRE_OK(apus_checkpoint_read_config(ck, &c));
    CHECK(!c.tied && !c.attention_bias);
    CHECK_EQ_STR(c.model_type, "qwen2");
    apus_checkpoint_close(&ck);
    m = (made) { "rwkv\x7f", 2, 16 };
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_SUPPORT, "architecture 'rwkv?'");
    m = (made) { "llama", 2, 16, .experts = 8 };
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_SUPPORT, "8 experts");
    m = (made) { "llama", 2, 16, .split = 2 };
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_SUPPORT, "one of 2 parts");
    m = (made) { "llama", 3, 16 };
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_FORMAT,
                "'blk.0.attn_q.weight' does not hold the rows of 3 heads");
    m = (made) { "llama", 2, 16, .output = true, .plain_name = true };
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_FORMAT,
                "tensor 'lm_head.weight' is there twice");
    m = (made) { "qwen3", 2, 16, .plain_name = true };
    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    CHECK_EQ_STR(apus_checkpoint_name(ck), "some-model");
    apus_checkpoint_close(&ck);
    m = (made) { "llama", 2, 16, .q_format = 20 };
    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    CHECK_FAILS(apus_checkpoint_need(ck, "model.layers.0.self_attn.q_proj.weight", &t),
                APUS_ERR_SUPPORT, "q_proj.weight' has format iq4_nl: not supported yet");
    apus_checkpoint_close(&ck);
}

TEST(gguf_rotary_scaling)
{
    /* What a converter writes for factor 8, 1, 4 and 8192 over 500000 and 16 elements. */
    static const float llama3[8] = { 1, 1, 1, 1, 2.6945297f, 8, 8, 8 };
    static const float strange[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    made m = { "llama", 2, 16, .rope_type = "yarn" };
    apus_checkpoint *ck;
    apus_config c;

    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    REQUIRE_OK(apus_checkpoint_read_config(ck, &c));
    CHECK_EQ_U64(c.rope.kind, APUS_ROPE_YARN);
    CHECK(c.rope.factor == 4 && c.rope.original_max == 128 && c.rope.truncate);
    apus_checkpoint_close(&ck);
    m.rope_type = "linear";
    REQUIRE_OK(apus_checkpoint_open(&ck, make(&m)));
    REQUIRE_OK(apus_checkpoint_read_config(ck, &c));
    CHECK_EQ_U64(c.rope.kind, APUS_ROPE_LINEAR);
    CHECK(c.rope.factor == 4);
    apus_checkpoint_close(&ck);
    m.rope_type = "longrope";
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_SUPPORT, "rope type 'longrope'");
    m.rope_type = NULL;
    m.freqs = llama3;
    if (CHECK_OK(apus_checkpoint_open(&ck, make(&m)))) {
        CHECK_OK(apus_checkpoint_read_config(ck, &c));
        CHECK_EQ_U64(c.rope.kind, APUS_ROPE_LLAMA3);
        CHECK(c.rope.factor == 8 && c.rope.original_max == 8192);
        CHECK(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    }
    apus_checkpoint_close(&ck);
    m.freqs = strange;
    CHECK_FAILS(apus_checkpoint_open(&ck, make(&m)), APUS_ERR_SUPPORT, "are not Llama 3's");
}

TEST(every_failing_call_is_a_status)
{
    const made m = { "llama", 2, 16 };
    const char *const paths[] = { make(&m), golden("llama_untied_f32_sharded/model"),
                                  golden("qwen3/model") };

    for (size_t p = 0; p < APUS_COUNT(paths); p++)
        for (apus_fault kind = APUS_FAULT_HOST_ALLOC; kind <= APUS_FAULT_FILE; kind++) {
            apus_status st = APUS_ERR_IO;
            uint64_t n;

            for (n = 1; n < 3000 && st != APUS_OK; n++) {
                apus_checkpoint *ck;

                apus_fault_set(kind, n);
                st = apus_checkpoint_open(&ck, paths[p]);
                apus_fault_set(kind, 0);
                CHECK((st == APUS_OK) == (ck != NULL));
                harness_check(st == APUS_OK || st == APUS_ERR_MEMORY || st == APUS_ERR_IO, __FILE__,
                              __LINE__, "call %d of %s: %s", (int)n, paths[p], apus_error_text());
                apus_checkpoint_close(&ck);
            }
            CHECK(n > 2 && n < 3000);
        }
}

TEST(a_real_file)
{
    const char *folder = harness_real_data("smollm2");
    char path[4096];
    apus_checkpoint *ck;
    apus_config c;
    const apus_file_tensor *t;
    float row[576], sum = 0;

    if (!folder)
        return;
    snprintf(path, sizeof(path), "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    REQUIRE_OK(apus_checkpoint_open(&ck, path));
    CHECK_EQ_U64(apus_checkpoint_count(ck), 272);
    CHECK_EQ_STR(apus_checkpoint_name(ck), "Smollm2 135M 8k Lc100K Mix1 Ep2");
    REQUIRE_OK(apus_checkpoint_read_config(ck, &c));
    CHECK_EQ_STR(c.model_type, "llama");
    CHECK(c.hidden == 576 && c.layers == 30 && c.heads == 9 && c.kv_heads == 3);
    CHECK(c.head_dim == 64 && c.ffn == 1536 && c.vocab == 49152 && c.max_pos == 8192);
    CHECK(c.rms_eps == 1e-5f && c.rope_theta == 100000.0 && c.tied && !c.attention_bias);
    CHECK(c.bos == 1 && c.n_eos == 1 && c.eos[0] == 2 && c.pad == 2);
    for (size_t i = 0; i < apus_checkpoint_count(ck); i++) {
        const char *name = apus_checkpoint_at(ck, i)->name;

        harness_check(strncmp(name, "model.", 6) == 0, __FILE__, __LINE__, "name '%s'", name);
    }
    REQUIRE_OK(apus_checkpoint_need(ck, "model.layers.29.self_attn.k_proj.weight", &t));
    CHECK_EQ_U64(t->dtype, APUS_Q4_1);
    CHECK(t->dims[0] == 192 && t->dims[1] == 576 && t->pair_heads == 3);
    apus_dtype_decode(t->dtype, t->data, 576, row);
    for (int i = 0; i < 576; i++)
        sum += row[i] * row[i];
    CHECK(sqrtf(sum / 576) > 0.01f && sqrtf(sum / 576) < 1.0f); /* weights, not noise */
    apus_checkpoint_close(&ck);
}
