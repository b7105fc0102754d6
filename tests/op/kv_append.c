/* kv_append.c - tests of apus_kv_append: queries, which rows are written, what stays, rounding,
 * norms, rotation. */
#include "kv_append.h"

#include <math.h>

#include "embed.h"
#include "half.h"
#include "optest.h"
#include "sequences.h"

enum {
    IN_ARRAYS = IN_V + 1, /* of the step */
    IN_EVERY = IN_ARRAYS + 6,
    IN_K_CACHE,
    IN_V_CACHE,
    IN_TABLE,
    IN_Q_NORM,
    IN_K_NORM,
    N_IN
};

#define POSITIONS 64

static const float eps = 0.01f;
static uint32_t every_row[ROOM];

/* q, k, v, the arrays of the step, all rows of the cache, the caches, the table, the norms. */
static void fill(optest *t)
{
    step_shape *p = (step_shape *)(uintptr_t)t->params;
    const uint32_t max = step_rows(p) + p->spare, e = p->p.head_dim, width = p->p.kv_heads * e,
                   rows = step_key_rows(p);
    const apus_rows live = { APUS_VAR_TOKENS, 0, max, 1 };
    const apus_dtype type = t->in[1].dtype;

    t->in[IN_Q] =
        (optest_tensor) { "q", APUS_F32, 2, { max, p->p.heads * e }, .rows = live, .fixed = true };
    t->in[IN_K] = (optest_tensor) { "k", APUS_F32, 2, { max, width }, .rows = live, .fixed = true };
    t->in[IN_V] = (optest_tensor) { "v", APUS_F32, 2, { max, width }, .rows = live, .fixed = true };
    step_inputs(t, p, IN_ARRAYS);
    t->in[IN_EVERY] =
        (optest_tensor) { "every", APUS_U32, 1, { rows }, .step = true, .u32 = every_row };
    t->in[IN_K_CACHE] = (optest_tensor) { "k_cache", type, 2, { rows, width }, .fixed = true };
    t->in[IN_V_CACHE] = (optest_tensor) { "v_cache", type, 2, { rows, width }, .fixed = true };
    t->in[IN_TABLE] = (optest_tensor) { "table", APUS_F32, 2, { POSITIONS, e }, .fixed = true };
    t->in[IN_Q_NORM] = (optest_tensor) { "q_norm", APUS_F32, 1, { e }, .fixed = true };
    t->in[IN_K_NORM] = (optest_tensor) { "k_norm", APUS_F32, 1, { e }, .fixed = true };
    t->n_in = N_IN;
    for (uint32_t i = 0; i < ROOM; i++)
        every_row[i] = i;
    CHECK(rows <= ROOM);
}

/* Two of the numbers of attention are of no other use here. */
static bool turns(const step_shape *p)
{
    return p->p.scale != 0;
}

static bool norms(const step_shape *p)
{
    return p->p.window != 0;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const step_shape *p = t->params;
    const apus_sequences s = step_sequences(p, in, IN_ARRAYS);

    outs[0] = apus_kv_append(g, in[IN_Q], in[IN_K], in[IN_V], in[IN_K_CACHE], in[IN_V_CACHE], &s,
                             &(apus_kv_append_params) { .head_dim = p->p.head_dim,
                                                        .kv_heads = p->p.kv_heads,
                                                        .table = turns(p) ? in[IN_TABLE] : NULL,
                                                        .q_norm = norms(p) ? in[IN_Q_NORM] : NULL,
                                                        .k_norm = norms(p) ? in[IN_K_NORM] : NULL,
                                                        .eps = eps });
    outs[1] = apus_embed(g, in[IN_EVERY], in[IN_K_CACHE], NULL, APUS_F32); /* caches as f32 */
    outs[2] = apus_embed(g, in[IN_EVERY], in[IN_V_CACHE], NULL, APUS_F32);
}

static double rounded(apus_dtype type, double x)
{
    if (type == APUS_F32)
        return (double)(float)x;
    return type == APUS_F16 ? (double)apus_f16_to_f32(apus_f32_to_f16((float)x))
                            : (double)apus_bf16_to_f32(apus_f32_to_bf16((float)x));
}

/* One head x of position pos: y, and the size of what is added up. */
static void define_head(const step_shape *p, const double *x, const double *w, const double *table,
                        uint32_t pos, double *y, double *mag)
{
    const uint32_t e = p->p.head_dim;
    double sum = 0, normal[256];

    for (uint32_t i = 0; i < e; i++)
        sum += x[i] * x[i];
    for (uint32_t i = 0; i < e; i++)
        normal[i] = norms(p) ? x[i] * w[i] / sqrt(sum / e + (double)eps) : x[i];
    for (uint32_t i = 0; i < e / 2; i++) {
        const double *turn = table + (size_t)pos * e + 2 * i;
        const double c = turns(p) ? turn[0] : 1, s = turns(p) ? turn[1] : 0;
        const double a = normal[i], b = normal[e / 2 + i];
        y[i] = a * c - b * s;
        y[e / 2 + i] = b * c + a * s;
        mag[i] = fabs(a * c) + fabs(b * s);
        mag[e / 2 + i] = fabs(b * c) + fabs(a * s);
    }
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const step_shape *p = t->params;
    const uint32_t e = p->p.head_dim, kv = p->p.kv_heads, width = kv * e,
                   all = step_key_rows(p) * width;
    const apus_dtype type = t->in[IN_K_CACHE].dtype;

    for (uint32_t i = 0; i < all; i++) {
        out[1][i] = in[IN_K_CACHE][i];
        out[2][i] = in[IN_V_CACHE][i];
        mag[1][i] = fabs(out[1][i]);
    }
    for (uint32_t row = 0; row < step_rows(p); row++) {
        const size_t to = (size_t)step_key_row(p, p->seq[row], p->pos[row]) * width;
        for (uint32_t h = 0; h < p->p.heads; h++) {
            const size_t at = ((size_t)row * p->p.heads + h) * e;
            define_head(p, in[IN_Q] + at, in[IN_Q_NORM], in[IN_TABLE], p->pos[row], out[0] + at,
                        mag[0] + at);
        }
        for (uint32_t h = 0; h < kv; h++)
            define_head(p, in[IN_K] + (size_t)row * width + h * e, in[IN_K_NORM], in[IN_TABLE],
                        p->pos[row], out[1] + to + h * e, mag[1] + to + h * e);
        for (uint32_t c = 0; c < width; c++) {
            if (!turns(p) && !norms(p)) /* nothing but the rounding: exact */
                out[1][to + c] = rounded(type, in[IN_K][(size_t)row * width + c]);
            out[2][to + c] = rounded(type, in[IN_V][(size_t)row * width + c]);
        }
    }
    for (uint32_t i = 0; i < all; i++)
        mag[2][i] = fabs(out[2][i]);
    *terms = norms(p) ? e + 4 : 2;
}

#define CASE(text, type, bits, h, k, e, turn, norm, ...)                                           \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .narrow = bits,              \
        .in = { { "q" }, { "k", type } }, .out = { { "q_out" }, { "k_cache" }, { "v_cache" } },    \
        .params = &(step_shape)                                                                    \
        {                                                                                          \
            .p.heads = h, .p.kv_heads = k, .p.head_dim = e, .p.scale = turn, .p.window = norm,     \
            .cached = true, __VA_ARGS__                                                            \
        }                                                                                          \
    }

TEST(rows_reach_their_pages)
{
    optest cases[] = {
        CASE("one token", APUS_F32, 0, 1, 1, 16, 0, 0, .n = 1, .before = { 12 }, .rows = { 1 }),
        CASE("f16 is rounded", APUS_F16, 0, 3, 3, 64, 0, 0, .n = 1, .before = { 6 }, .rows = { 9 }),
        CASE("bf16 is rounded", APUS_BF16, 0, 2, 2, 12, 0, 0, .n = 2, .before = { 0, 3 },
             .rows = { 17, 2 }, .spare = 3),
        CASE("turned", APUS_F32, 0, 3, 1, 16, 1, 0, .n = 3, .before = { 9, 0, 31 },
             .rows = { 5, 11, 1 }, .spare = 2),
        CASE("turned, pairs not in fours", APUS_F32, 0, 2, 2, 12, 1, 0, .n = 1, .before = { 5 },
             .rows = { 8 }),
        CASE("turned, a model's heads, f16", APUS_F16, 11, 9, 3, 64, 1, 0, .n = 2,
             .before = { 40, 7 }, .rows = { 1, 1 }),
        CASE("turned, bf16", APUS_BF16, 8, 4, 2, 80, 1, 0, .n = 1, .rows = { 10 }),
        CASE("odd pages", APUS_F32, 0, 2, 2, 16, 1, 0, .n = 2, .before = { 9, 0 },
             .rows = { 8, 12 }, .page_tokens = 5),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 7);
}

TEST(heads_are_normalized)
{
    optest cases[] = {
        CASE("normalized", APUS_F32, 0, 2, 1, 20, 0, 1, .n = 1, .before = { 3 }, .rows = { 6 }),
        CASE("normalized and turned", APUS_F32, 0, 4, 2, 128, 1, 1, .n = 2, .before = { 9, 0 },
             .rows = { 1, 3 }, .spare = 2),
        CASE("normalized and turned, f16", APUS_F16, 11, 2, 1, 64, 1, 1, .n = 1, .before = { 5 },
             .rows = { 2 }),
        CASE("normalized, narrower than a subgroup", APUS_F32, 0, 1, 1, 4, 1, 1, .n = 1,
             .rows = { 3 }),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 7);
}
