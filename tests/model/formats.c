/* formats.c - a model whose matrices have every block format against its twin, the same weights as
 * f32: what differs is decoding in kernels, and the order of sums.  And what inspect says of it. */
#include <math.h>
#include <stdlib.h>

#include "../io/build.h"
#include "file.h"
#include "half.h"
#include "rng.h"
#include "session.h"
#include "str.h"

enum { HIDDEN = 256, KV = 128, VOCAB = 64, LAYERS = 2, TOKENS = 24 };

typedef struct matrix {
    const char *name; /* %u: the layer; NULL as the format: a vector of ones */
    apus_dtype format[LAYERS];
    uint32_t rows;
} matrix;

static const matrix matrices[] = {
    { "token_embd.weight", { APUS_Q6_K }, VOCAB },
    { "output.weight", { APUS_Q5_1 }, VOCAB },
    { "blk.%u.attn_q.weight", { APUS_Q4_K, APUS_Q4_0 }, HIDDEN },
    { "blk.%u.attn_k.weight", { APUS_Q5_0, APUS_Q5_1 }, KV },
    { "blk.%u.attn_v.weight", { APUS_Q8_0, APUS_Q6_K }, KV },
    { "blk.%u.attn_output.weight", { APUS_Q5_0, APUS_Q4_1 }, HIDDEN },
    { "blk.%u.ffn_gate.weight", { APUS_Q5_1, APUS_Q4_K }, HIDDEN },
    { "blk.%u.ffn_up.weight", { APUS_Q5_0, APUS_Q5_0 }, HIDDEN },
    { "blk.%u.ffn_down.weight", { APUS_Q6_K, APUS_Q4_K }, HIDDEN },
};
static const char *const norms[] = { "blk.%u.attn_norm.weight", "blk.%u.ffn_norm.weight" };

static bytes head;
static bool no_bytes; /* the device has no products of bytes */
static apus_str data;

static uint8_t draw(uint64_t *state)
{
    const uint32_t key[2] = { 3, 5 }, counter[4] = { (uint32_t)*state, 0, 0, 0 };
    uint32_t out[4];

    ++*state;
    apus_philox(key, counter, out);
    return (uint8_t)out[0];
}

/* Weights of up to 0.2: d is what it takes for the format's largest quant (and second scale). */
static void random_block(apus_dtype type, uint64_t *state, uint8_t *p)
{
    const double most = type == APUS_Q8_0   ? 127
                        : type == APUS_Q4_K ? 945
                        : type == APUS_Q6_K ? 4096
                                            : 16;
    const uint32_t n = apus_dtype_of(type)->block_bytes;
    const uint16_t d = apus_f32_to_f16((float)(0.2 / most));
    const uint16_t m = apus_f32_to_f16(type == APUS_Q4_K ? 0.1f / 63 : -0.1f);

    for (uint32_t i = 0; i < n; i++)
        p[i] = draw(state);
    memcpy(p + (type == APUS_Q6_K ? n - 2 : 0), &d, 2);
    if (type == APUS_Q4_1 || type == APUS_Q5_1 || type == APUS_Q4_K)
        memcpy(p + 2, &m, 2);
}

static void add_matrix(const char *name, apus_dtype type, uint32_t rows, bool decoded,
                       uint64_t *state)
{
    const apus_dtype_info *info = apus_dtype_of(type);
    uint8_t block[256];
    float x[256];

    put_tensor(&head, name, 2, HIDDEN, rows, decoded ? 0 : (uint32_t)info->gguf, data.len);
    for (uint32_t b = 0; b < rows * HIDDEN / info->block; b++) {
        random_block(type, state, block);
        apus_dtype_decode(type, block, info->block, x);
        if (decoded)
            apus_str_add_bytes(&data, x, 4 * info->block);
        else
            apus_str_add_bytes(&data, block, info->block_bytes);
    }
    while (data.len % 32)
        apus_str_add_bytes(&data, "", 1);
}

static void add_ones(const char *name)
{
    const float one = 1;

    put_tensor(&head, name, 1, HIDDEN, 0, 0, data.len);
    for (int i = 0; i < HIDDEN; i++)
        apus_str_add_bytes(&data, &one, 4);
}

/* The file, in block formats or decoded; the same blocks in both. */
static char *make(bool decoded)
{
    char *path = apus_path_join(harness_folder(), decoded ? "f32.gguf" : "blocks.gguf");
    uint64_t state = 1;
    char name[64];

    put_gguf(&head, 3, 2 + 7 * LAYERS + 2 * LAYERS + 1, 9);
    put_string(&head, "general.architecture", "llama");
    put_u32(&head, "llama.block_count", LAYERS);
    put_u32(&head, "llama.context_length", 64);
    put_u32(&head, "llama.embedding_length", HIDDEN);
    put_u32(&head, "llama.feed_forward_length", HIDDEN);
    put_u32(&head, "llama.attention.head_count", 4);
    put_u32(&head, "llama.attention.head_count_kv", 2);
    put_f32(&head, "llama.rope.freq_base", 10000);
    put_f32(&head, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < APUS_COUNT(matrices); i++)
        for (uint32_t l = 0; l < (strchr(matrices[i].name, '%') ? LAYERS : 1); l++) {
            snprintf(name, sizeof(name), matrices[i].name, l);
            add_matrix(name, matrices[i].format[l], matrices[i].rows, decoded, &state);
        }
    for (size_t i = 0; i < APUS_COUNT(norms); i++)
        for (uint32_t l = 0; l < LAYERS; l++) {
            snprintf(name, sizeof(name), norms[i], l);
            add_ones(name);
        }
    add_ones("output_norm.weight");
    put_padding(&head, 32);
    apus_str file = { 0 };
    apus_str_add_bytes(&file, head.at, head.n);
    apus_str_add_bytes(&file, data.data, data.len);
    CHECK(!file.failed && !data.failed);
    CHECK_OK(apus_file_write(path, file.data, file.len));
    apus_str_release(&file);
    apus_str_release(&data);
    return path;
}

/* Logits of all tokens together, then of the last one again, alone, into row TOKENS. */
static bool logits(const char *path, const char *force, uint32_t host_layers, float *z)
{
    apus_model *m = NULL;
    apus_session *s = NULL;
    apus_sequence seq = { 0 };
    uint32_t ids[TOKENS];
    bool ok = false;

    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = i * 7 % VOCAB;
    if (CHECK_OK(apus_model_open(
            &m, path,
            &(apus_model_params) { .torch_dtype = "float32", .host_layers = host_layers })) &&
        CHECK_OK(
            apus_session_create(&s, m, &(apus_session_params) { .tokens = 64, .force = force }))) {
        apus_session_item item = {
            .sequence = &seq, .tokens = ids, .n = TOKENS, .adapter = UINT32_MAX
        };
        no_bytes = !apus_gpu_caps(m->gpu)->int8_dot;
        ok = CHECK_OK(apus_session_logits(s, &item, z));
        apus_cache_truncate(apus_session_cache(s), &seq, TOKENS - 1);
        item.tokens = ids + TOKENS - 1;
        item.n = 1;
        ok = ok && CHECK_OK(apus_session_logits(s, &item, z + (size_t)TOKENS * VOCAB));
        apus_sequence_release(apus_session_cache(s), &seq);
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
    return ok;
}

/* Both models sum the same f32 products: in their longest sums, of HIDDEN terms, an order changes
 * eps * HIDDEN of the sum of the absolute ones, and the five sums of a layer follow each other. */
#define EXACT (0x1p-24 * HIDDEN * 5 * LAYERS)

/* Logits differ by at least `least` and at most `bound` of the largest. */
static void check_twins(const char *force, double least, double bound)
{
    enum { N = (TOKENS + 1) * VOCAB };
    char *blocks = make(false), *decoded = make(true);
    float *z = apus_calloc(2 * N, sizeof(float));
    double most = 0, worst = 0;

    if (logits(blocks, force, 0, z) && logits(decoded, NULL, 0, z + N)) {
        for (uint32_t i = 0; i < N; i++) {
            most = fmax(most, fabs((double)z[N + i]));
            worst = fmax(worst, fabs((double)z[i] - (double)z[N + i]));
        }
        printf("    %s: logits up to %.3g differ by %.3g\n", force ? force : "chosen", most, worst);
        CHECK(most > 0.5);
        if (least > 0 && no_bytes)
            harness_skip("the device has no products of bytes");
        else
            CHECK(worst >= most * least && worst <= most * bound);
    }
    apus_free(z);
    apus_free(blocks);
    apus_free(decoded);
}

TEST(blocks_and_their_values)
{
    check_twins(NULL, 0, EXACT);
}

TEST(blocks_and_their_values_by_algorithms_of_gpus)
{
    check_twins("matmul:vec,matmul:tile", 0, EXACT);
}

/* Activations are off by at most 1/254 of the largest of 32 neighbours, in each of those sums. */
TEST(blocks_and_rows_of_bytes)
{
    check_twins("matmul:int8", EXACT, 5.0 * LAYERS / 254);
}

/* Copies of blocks, and a table of tokens that is read where it lies: the same bits. */
TEST(blocks_of_the_host_give_the_same_logits)
{
    enum { N = (TOKENS + 1) * VOCAB };
    char *path = make(false);
    float *z = apus_calloc(2 * N, sizeof(float));

    if (CHECK(z != NULL) && logits(path, NULL, 0, z) && logits(path, NULL, LAYERS, z + N))
        CHECK(z[0] != 0 && !memcmp(z, z + N, N * sizeof(float)));
    apus_free(z);
    apus_free(path);
}

TEST(inspect_lists_each_format)
{
    static const char *const lines[][2] = {
        { "lm_head.weight", "q5_1   64 x 256" },
        { "model.layers.0.mlp.up_proj.weight", "q5_0   256 x 256   (2 layers)" },
        { "model.layers.0.mlp.down_proj.weight", "q6_K   256 x 256   (1 layer)" },
        { "model.layers.1.mlp.down_proj.weight", "q4_K   256 x 256   (1 layer)" },
    };
    apus_model *m = NULL;
    char *path = make(false), *text = NULL;

    if (CHECK_OK(apus_model_open(
            &m, path, &(apus_model_params) { .torch_dtype = "float32", .count_only = true })) &&
        CHECK_OK(apus_model_inspect(m, 64, &text))) {
        for (size_t i = 0; i < APUS_COUNT(lines); i++) {
            char line[96];
            snprintf(line, sizeof(line), "  %-52s %s\n", lines[i][0], lines[i][1]);
            harness_check(strstr(text, line) != NULL, __FILE__, __LINE__, "no line '%s'", line);
        }
    }
    free(text);
    apus_model_close(&m);
    apus_free(path);
}
