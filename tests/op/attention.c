/* attention.c - tests of apus_attention: values, log-sum-exp and gradients, keys of the step and keys
 * of a paged cache. */
#include "attention.h"

#include <math.h>

#include "optest.h"
#include "sequences.h"

enum { IN_Q, IN_K, IN_V, IN_SEQS };

static void fill(optest *t)
{
    step_shape *p = (step_shape *)(uintptr_t)t->params;
    const apus_attention_params *a = &p->p;
    const uint32_t rows = step_rows(p), max = rows + p->spare, key_rows = step_key_rows(p);
    const apus_dtype kv = p->cached ? t->in[IN_K].dtype : APUS_F32;
    const apus_rows live = { APUS_VAR_TOKENS, 0, max, 1 };

    t->in[IN_Q] = (optest_tensor) { "q", APUS_F32, 2, { max, a->heads * a->head_dim }, .scale = 2, .rows = live,
                                    .fixed = p->cached };
    t->in[IN_K] = (optest_tensor) { "k", kv, 2, { key_rows, a->kv_heads * a->head_dim }, .scale = 2,
                                    .fixed = p->cached };
    t->in[IN_V] = (optest_tensor) { "v", kv, 2, { key_rows, a->kv_heads * a->head_dim }, .fixed = p->cached };
    if (!p->cached)
        t->in[IN_K].rows = t->in[IN_V].rows = live;
    step_inputs(t, p, IN_SEQS);
    t->n_in = IN_SEQS + 6;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const step_shape *p = t->params;
    const apus_sequences s = step_sequences(p, in, IN_SEQS);

    outs[0] = apus_attention(g, in[IN_Q], in[IN_K], in[IN_V], &s, &p->p, &outs[1]);
}

static bool sees(const apus_attention_params *a, uint32_t pos, uint32_t key)
{
    return (a->bidirectional || key <= pos) && (a->window == 0 || (double)pos - key < a->window);
}

/* One row and head: o (head_dim), the log-sum-exp, and for both the size of what is summed. */
static void row_of(const step_shape *p, const double *q, const double *const *in, uint32_t row, uint32_t kv_head,
                   double *o, double *o_mag, double *lse, double *lse_mag)
{
    const apus_attention_params *a = &p->p;
    const uint32_t e = a->head_dim, s = p->seq[row], width = a->kv_heads * e;
    const double scale = a->scale != 0 ? (double)a->scale : 1 / sqrt(e);
    double *score = apus_calloc(p->length[s], sizeof(double)), top = -INFINITY, sum = 0, size = 0;

    for (uint32_t j = 0; j < p->length[s]; j++) {
        const double *k = in[IN_K] + (size_t)step_key_row(p, s, j) * width + kv_head * e;
        double all = 0;
        if (!sees(a, p->pos[row], j))
            continue;
        for (uint32_t i = 0; i < e; i++) {
            score[j] += scale * q[i] * k[i];
            all += fabs(scale * q[i] * k[i]);
        }
        top = fmax(top, score[j]);
        size = fmax(size, all);
    }
    for (uint32_t j = 0; j < p->length[s]; j++)
        sum += sees(a, p->pos[row], j) ? exp(score[j] - top) : 0;
    for (uint32_t i = 0; i < e; i++)
        o[i] = o_mag[i] = 0;
    for (uint32_t j = 0; j < p->length[s]; j++) {
        const double *v = in[IN_V] + (size_t)step_key_row(p, s, j) * width + kv_head * e;
        const double share = exp(score[j] - top) / sum;
        if (!sees(a, p->pos[row], j))
            continue;
        for (uint32_t i = 0; i < e; i++) {
            o[i] += share * v[i];
            o_mag[i] += fabs(share * v[i]) * (1 + 2 * size); /* an error of a score is one of exp(score) */
        }
    }
    *lse = top + log(sum);
    *lse_mag = 1 + size + fabs(*lse);
    apus_free(score);
}

static void define(const optest *t, const double *const *in, double **out, double **mag, uint32_t *terms)
{
    const step_shape *p = t->params;
    const apus_attention_params *a = &p->p;
    const uint32_t e = a->head_dim, group = a->heads / a->kv_heads;
    uint32_t most = 0;

    for (uint32_t row = 0; row < step_rows(p); row++)
        for (uint32_t h = 0; h < a->heads; h++) {
            const size_t at = (size_t)row * a->heads + h;
            row_of(p, in[IN_Q] + at * e, in, row, h / group, out[0] + at * e, mag[0] + at * e, &out[1][at],
                   &mag[1][at]);
        }
    for (uint32_t s = 0; s < p->n; s++)
        most = p->length[s] > most ? p->length[s] : most;
    *terms = most + e + 8;
}

#define RUNS .fill = fill, .build = build, .define = define, .out = { { "o" }, { "lse" } }
#define SHAPE(h, k, e, ...) \
    (&(step_shape) { .p.heads = h, .p.kv_heads = k, .p.head_dim = e, __VA_ARGS__ })
#define CASE(text, ...) { .name = text, RUNS, .in = { { "q" } }, .params = SHAPE(__VA_ARGS__) }
#define CACHED(text, type, ...)                                                                       \
    { .name = text, RUNS, .in = { { "q" }, { "k", type } }, .params = SHAPE(__VA_ARGS__, .cached = true) }

TEST(keys_of_the_step)
{
    optest cases[] = {
        CASE("one token", 1, 1, 16, .n = 1, .rows = { 1 }),
        CASE("packed, odd lengths, spare rows", 2, 1, 16, .n = 4, .rows = { 1, 9, 23, 6 }, .spare = 5),
        CASE("small heads", 4, 2, 12, .n = 2, .rows = { 17, 5 }),
        CASE("a model's heads", 9, 3, 64, .n = 2, .rows = { 33, 8 }, .spare = 1),
        CASE("no groups", 3, 3, 16, .n = 1, .rows = { 19 }),
        CASE("groups of eight", 8, 1, 16, .n = 2, .rows = { 7, 10 }),
        CASE("window", 3, 1, 16, .p.window = 5, .n = 2, .rows = { 29, 12 }),
        CASE("window of one", 2, 2, 16, .p.window = 1, .n = 1, .rows = { 11 }),
        CASE("bidirectional", 3, 1, 16, .p.bidirectional = true, .n = 3, .rows = { 13, 1, 20 }, .spare = 3),
        CASE("bidirectional window", 2, 1, 12, .p.bidirectional = true, .p.window = 4, .n = 2, .rows = { 21, 6 }),
        CASE("scale", 2, 1, 16, .p.scale = 0.5f, .n = 1, .rows = { 10 }),
        CASE("head size 80", 2, 1, 80, .n = 2, .rows = { 9, 3 }),
        CASE("head size 128", 3, 1, 128, .n = 1, .rows = { 18 }),
        CASE("head size 256", 2, 2, 256, .n = 1, .rows = { 6 }),
    };

    if (optest_gpu())
        optest_run(cases, APUS_COUNT(cases));
}

TEST(keys_of_a_cache)
{
    optest cases[] = {
        CACHED("decode of one", APUS_F32, 3, 1, 16, .n = 1, .before = { 20 }, .rows = { 1 }, .block_tokens = 1),
        CACHED("decode of four, f16", APUS_F16, 9, 3, 64, .n = 4, .before = { 0, 7, 8, 40 }, .rows = { 1, 1, 1, 1 },
               .block_tokens = 1),
        CACHED("decode, bf16", APUS_BF16, 8, 1, 128, .n = 2, .before = { 31, 32 }, .rows = { 1, 1 },
               .block_tokens = 1),
        CACHED("decode, window", APUS_F16, 2, 1, 16, .p.window = 9, .n = 2, .before = { 50, 3 }, .rows = { 1, 1 },
               .block_tokens = 1),
        CACHED("long pages, many keys", APUS_F16, 2, 1, 12, .n = 1, .before = { 150 }, .rows = { 1 },
               .page_tokens = 64, .block_tokens = 1),
        CACHED("a prompt from nothing", APUS_F16, 9, 3, 64, .n = 1, .rows = { 37 }, .spare = 2),
        CACHED("prompts behind others, bf16", APUS_BF16, 4, 2, 16, .n = 3, .before = { 5, 0, 16 },
               .rows = { 11, 1, 24 }),
        CACHED("prompt, window", APUS_F32, 2, 2, 16, .p.window = 6, .n = 2, .before = { 13, 2 }, .rows = { 15, 9 }),
        CACHED("blocks of three tokens", APUS_F32, 3, 1, 16, .n = 2, .before = { 4, 0 }, .rows = { 8, 5 },
               .block_tokens = 3),
        CACHED("odd pages", APUS_F32, 2, 1, 16, .n = 2, .before = { 9, 0 }, .rows = { 8, 12 }, .page_tokens = 5),
    };

    if (optest_gpu())
        optest_run(cases, APUS_COUNT(cases));
}
