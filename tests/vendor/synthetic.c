/* synthetic.c - writing model files of real shapes with weights of zero.  See synthetic.h. */
#include "synthetic.h"

#include <stdio.h>

#include "file.h"
#include "str.h"

const synthetic_shape synthetic_smollm2 = {
    "smollm2", "llama", 576, 2, 9, 3, 64, 1536, 49152, 8192, false, false,
};
const synthetic_shape synthetic_qwen2 = {
    "qwen2", "qwen2", 896, 2, 14, 2, 64, 4864, 151936, 32768, true, false,
};
const synthetic_shape synthetic_qwen3 = {
    "qwen3", "qwen3", 1024, 2, 16, 8, 128, 3072, 151936, 40960, false, true,
};

const synthetic_shape synthetic_llama_8b = {
    "llama8b", "llama", 4096, 2, 32, 8, 128, 14336, 128256, 8192, false, false,
};

typedef void tensor_visit(void *user, const char *hf, const char *gguf, uint32_t rows,
                          uint32_t cols);

static void each_tensor(const synthetic_shape *s, tensor_visit *visit, void *user)
{
    const uint32_t e = s->head_dim, q = s->heads * e, kv = s->kv_heads * e, d = s->hidden;
    const struct {
        const char *hf, *gguf;
        uint32_t rows, cols;
        bool there;
    } layer[] = {
        { "input_layernorm.weight", "attn_norm.weight", d, 0, true },
        { "self_attn.q_proj.weight", "attn_q.weight", q, d, true },
        { "self_attn.q_proj.bias", "attn_q.bias", q, 0, s->bias },
        { "self_attn.k_proj.weight", "attn_k.weight", kv, d, true },
        { "self_attn.k_proj.bias", "attn_k.bias", kv, 0, s->bias },
        { "self_attn.v_proj.weight", "attn_v.weight", kv, d, true },
        { "self_attn.v_proj.bias", "attn_v.bias", kv, 0, s->bias },
        { "self_attn.q_norm.weight", "attn_q_norm.weight", e, 0, s->qk_norm },
        { "self_attn.k_norm.weight", "attn_k_norm.weight", e, 0, s->qk_norm },
        { "self_attn.o_proj.weight", "attn_output.weight", d, q, true },
        { "post_attention_layernorm.weight", "ffn_norm.weight", d, 0, true },
        { "mlp.gate_proj.weight", "ffn_gate.weight", s->ffn, d, true },
        { "mlp.up_proj.weight", "ffn_up.weight", s->ffn, d, true },
        { "mlp.down_proj.weight", "ffn_down.weight", d, s->ffn, true },
    };
    char hf[96], gguf[96];

    visit(user, "model.embed_tokens.weight", "token_embd.weight", s->vocab, d);
    for (uint32_t l = 0; l < s->layers; l++)
        for (size_t i = 0; i < APUS_COUNT(layer); i++) {
            if (!layer[i].there)
                continue;
            snprintf(hf, sizeof(hf), "model.layers.%u.%s", l, layer[i].hf);
            snprintf(gguf, sizeof(gguf), "blk.%u.%s", l, layer[i].gguf);
            visit(user, hf, gguf, layer[i].rows, layer[i].cols);
        }
    visit(user, "model.norm.weight", "output_norm.weight", d, 0);
}

/* A head, then `zeros` bytes that take no room on the disk. */
static apus_status write_sparse(const char *path, const apus_str *head, uint64_t zeros)
{
    FILE *file = head->failed ? NULL : fopen(path, "wb");
    bool ok = file != NULL;

    ok = ok && fwrite(head->data, 1, head->len, file) == head->len;
    ok = ok && fseeko(file, (off_t)(head->len + zeros - 1), SEEK_SET) == 0;
    ok = ok && fputc(0, file) == 0;
    ok = (!file || fclose(file) == 0) && ok;
    return ok ? APUS_OK : apus_fail(APUS_ERR_IO, "%s cannot be written", path);
}

/* The text of a file's head, and the bytes of the tensors that it lists so far. */
typedef struct list {
    apus_str text;
    uint64_t at;
} list;

/* ---- a Hugging Face folder ---- */

static void add_hf(void *user, const char *hf, const char *gguf, uint32_t rows, uint32_t cols)
{
    list *h = user;
    const uint64_t bytes = 2 * (uint64_t)rows * (cols ? cols : 1);

    (void)gguf;
    apus_str_addf(&h->text, "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%u", h->at ? "," : "{", hf,
                  rows);
    if (cols)
        apus_str_addf(&h->text, ",%u", cols);
    apus_str_addf(&h->text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)h->at,
                  (unsigned long long)(h->at + bytes));
    h->at += bytes;
}

static apus_status write_config(const synthetic_shape *s, const char *path)
{
    apus_str text = { 0 };

    apus_str_addf(&text,
                  "{\"model_type\": \"%s\", \"hidden_size\": %u, \"head_dim\": %u,\n"
                  "\"num_hidden_layers\": %u, \"num_attention_heads\": %u, "
                  "\"num_key_value_heads\": %u,\n\"intermediate_size\": %u, \"vocab_size\": %u, "
                  "\"max_position_embeddings\": %u,\n\"rms_norm_eps\": 1e-05, "
                  "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\",\n"
                  "\"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\"}\n",
                  s->family, s->hidden, s->head_dim, s->layers, s->heads, s->kv_heads, s->ffn,
                  s->vocab, s->max_pos);
    const apus_status st =
        text.failed ? APUS_ERR_MEMORY : apus_file_write(path, text.data, text.len);
    apus_str_release(&text);
    return st;
}

apus_status synthetic_folder(const synthetic_shape *s, const char *folder, char path[512])
{
    apus_status st;
    char file[600];
    list head = { 0 };
    uint64_t bytes;

    snprintf(path, 512, "%s/%s", folder, s->name);
    APUS_TRY(apus_dir_create(path));
    snprintf(file, sizeof(file), "%s/config.json", path);
    APUS_TRY(write_config(s, file));
    apus_str_add_bytes(&head.text, "01234567", 8); /* the length goes here */
    each_tensor(s, add_hf, &head);
    apus_str_add(&head.text, "}");
    while (head.text.len % 8)
        apus_str_add(&head.text, " ");
    if (head.text.failed)
        APUS_TRY(APUS_ERR_MEMORY);
    bytes = head.text.len - 8;
    memcpy(head.text.data, &bytes, 8);
    snprintf(file, sizeof(file), "%s/model.safetensors", path);
    APUS_TRY(write_sparse(file, &head.text, head.at));
fail:
    apus_str_release(&head.text);
    return st;
}

/* ---- GGUF, version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md ---- */

enum { GGUF_U32 = 4, GGUF_F32 = 6, GGUF_STRING = 8 };
enum { GGML_F32 = 0, GGML_Q4_1 = 3, GGML_Q8_0 = 8 };
enum { Q4_1_BYTES = 20, Q8_0_BYTES = 34 }; /* of a block of 32 */

static void add_u32(apus_str *t, uint32_t v)
{
    apus_str_add_bytes(t, &v, 4);
}

static void add_u64(apus_str *t, uint64_t v)
{
    apus_str_add_bytes(t, &v, 8);
}

static void add_text(apus_str *t, const char *text)
{
    add_u64(t, strlen(text));
    apus_str_add(t, text);
}

static void key_u32(apus_str *t, const char *key, uint32_t v)
{
    add_text(t, key);
    add_u32(t, GGUF_U32);
    add_u32(t, v);
}

static void key_f32(apus_str *t, const char *key, float v)
{
    add_text(t, key);
    add_u32(t, GGUF_F32);
    apus_str_add_bytes(t, &v, 4);
}

static void add_gguf(void *user, const char *hf, const char *gguf, uint32_t rows, uint32_t cols)
{
    list *h = user;
    const bool embedding = !strcmp(gguf, "token_embd.weight");
    const uint64_t blocks = (uint64_t)rows * cols / 32;
    const uint64_t bytes =
        cols ? blocks * (embedding ? Q8_0_BYTES : Q4_1_BYTES) : 4 * (uint64_t)rows;

    (void)hf;
    add_text(&h->text, gguf);
    add_u32(&h->text, cols ? 2 : 1);
    if (cols)
        add_u64(&h->text, cols);
    add_u64(&h->text, rows);
    add_u32(&h->text, !cols ? GGML_F32 : embedding ? GGML_Q8_0 : GGML_Q4_1);
    add_u64(&h->text, h->at);
    h->at += apus_round_up(bytes, 32);
}

static void count_one(void *user, const char *hf, const char *gguf, uint32_t rows, uint32_t cols)
{
    (void)hf, (void)gguf, (void)rows, (void)cols;
    ++*(uint64_t *)user;
}

apus_status synthetic_gguf(const synthetic_shape *s, const char *folder, char path[512])
{
    list head = { 0 };
    uint64_t n = 0;

    snprintf(path, 512, "%s/%s.gguf", folder, s->name);
    each_tensor(s, count_one, &n);
    apus_str_add(&head.text, "GGUF");
    add_u32(&head.text, 3);
    add_u64(&head.text, n);
    add_u64(&head.text, 9);
    add_text(&head.text, "general.architecture");
    add_u32(&head.text, GGUF_STRING);
    add_text(&head.text, s->family);
    key_u32(&head.text, "llama.block_count", s->layers);
    key_u32(&head.text, "llama.context_length", s->max_pos);
    key_u32(&head.text, "llama.embedding_length", s->hidden);
    key_u32(&head.text, "llama.feed_forward_length", s->ffn);
    key_u32(&head.text, "llama.attention.head_count", s->heads);
    key_u32(&head.text, "llama.attention.head_count_kv", s->kv_heads);
    key_f32(&head.text, "llama.rope.freq_base", 100000.0f);
    key_f32(&head.text, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    each_tensor(s, add_gguf, &head);
    while (head.text.len % 32)
        apus_str_add_bytes(&head.text, "", 1);
    const apus_status st = write_sparse(path, &head.text, head.at);
    apus_str_release(&head.text);
    return st;
}
