/* kv_append.c - tests of apus_kv_append: which rows are written, what stays, rounding, rotation. */
#include "kv_append.h"

#include <math.h>

#include "embed.h"
#include "half.h"
#include "optest.h"
#include "sequences.h"

enum { IN_K_CACHE = 9, IN_V_CACHE, IN_TABLE };

#define POSITIONS 64

static uint32_t every_row[ROOM];

/* k, v, the arrays of the step, the caches, the table, all rows of the cache. */
static void fill(optest *t)
{
    step_shape *p = (step_shape *)(uintptr_t)t->params;
    const uint32_t max = step_rows(p) + p->spare, width = p->p.kv_heads * p->p.head_dim,
                   rows = step_key_rows(p);
    const apus_rows live = { APUS_VAR_TOKENS, 0, max, 1 };
    const apus_dtype type = t->in[1].dtype;

    t->in[0] = (optest_tensor) { "k", APUS_F32, 2, { max, width }, .rows = live, .fixed = true };
    t->in[1] = (optest_tensor) { "v", APUS_F32, 2, { max, width }, .rows = live, .fixed = true };
    step_inputs(t, p, 2);
    t->in[8] = (optest_tensor) { "every", APUS_U32, 1, { rows }, .step = true, .u32 = every_row };
    t->in[IN_K_CACHE] = (optest_tensor) { "k_cache", type, 2, { rows, width }, .fixed = true };
    t->in[IN_V_CACHE] = (optest_tensor) { "v_cache", type, 2, { rows, width }, .fixed = true };
    t->in[IN_TABLE] =
        (optest_tensor) { "table", APUS_F32, 2, { POSITIONS, p->p.head_dim }, .fixed = true };
    t->n_in = 12;
    for (uint32_t i = 0; i < ROOM; i++)
        every_row[i] = i;
    CHECK(rows <= ROOM);
}

static bool turns(const step_shape *p)
{
    return p->p.scale != 0; /* of no other use here */
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const step_shape *p = t->params;
    const apus_sequences s = step_sequences(p, in, 2);

    apus_kv_append(
        g, in[0], in[1], in[IN_K_CACHE], in[IN_V_CACHE], turns(p) ? in[IN_TABLE] : NULL, &s,
        &(apus_kv_append_params) { .head_dim = p->p.head_dim, .kv_heads = p->p.kv_heads });
    outs[0] = apus_embed(g, in[8], in[IN_K_CACHE], NULL, APUS_F32); /* the caches as f32 */
    outs[1] = apus_embed(g, in[8], in[IN_V_CACHE], NULL, APUS_F32);
}

static double rounded(apus_dtype type, double x)
{
    if (type == APUS_F32)
        return (double)(float)x;
    return type == APUS_F16 ? (double)apus_f16_to_f32(apus_f32_to_f16((float)x))
                            : (double)apus_bf16_to_f32(apus_f32_to_bf16((float)x));
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const step_shape *p = t->params;
    const uint32_t e = p->p.head_dim, width = p->p.kv_heads * e, all = step_key_rows(p) * width;
    const apus_dtype type = t->in[IN_K_CACHE].dtype;

    for (uint32_t i = 0; i < all; i++) {
        out[0][i] = in[IN_K_CACHE][i];
        out[1][i] = in[IN_V_CACHE][i];
    }
    for (uint32_t row = 0; row < step_rows(p); row++)
        for (uint32_t c = 0; c < width; c++) {
            const size_t to = (size_t)step_key_row(p, p->seq[row], p->pos[row]) * width + c;
            const uint32_t i = c % e % (e / 2);
            const double *turn = in[IN_TABLE] + (size_t)p->pos[row] * e + 2 * i;
            const double *k = in[0] + (size_t)row * width + c;
            out[1][to] = rounded(type, in[1][(size_t)row * width + c]);
            if (!turns(p))
                out[0][to] = rounded(type, *k);
            else if (c % e < e / 2)
                out[0][to] = k[0] * turn[0] - k[e / 2] * turn[1];
            else
                out[0][to] = k[0] * turn[0] + *(k - e / 2) * turn[1];
        }
    for (uint32_t i = 0; i < all; i++) {
        mag[0][i] = turns(p) ? 2 : fabs(out[0][i]);
        mag[1][i] = fabs(out[1][i]);
    }
    *terms = 2;
}

#define CASE(text, type, bits, k, e, turn, ...)                                                    \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .narrow = bits,              \
        .in = { { "k" }, { "v", type } }, .out = { { "k_cache" }, { "v_cache" } },                 \
        .params = &(step_shape)                                                                    \
        {                                                                                          \
            .p.heads = k, .p.kv_heads = k, .p.head_dim = e, .p.scale = turn, .cached = true,       \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

TEST(rows_reach_their_pages)
{
    optest cases[] = {
        CASE("one token", APUS_F32, 0, 1, 16, 0, .n = 1, .before = { 12 }, .rows = { 1 }),
        CASE("f16 is rounded", APUS_F16, 0, 3, 64, 0, .n = 1, .before = { 6 }, .rows = { 9 }),
        CASE("bf16 is rounded", APUS_BF16, 0, 2, 12, 0, .n = 2, .before = { 0, 3 },
             .rows = { 17, 2 }, .spare = 3),
        CASE("turned", APUS_F32, 0, 1, 16, 1, .n = 3, .before = { 9, 0, 31 }, .rows = { 5, 11, 1 },
             .spare = 2),
        CASE("turned, pairs not in fours", APUS_F32, 0, 2, 12, 1, .n = 1, .before = { 5 },
             .rows = { 8 }),
        CASE("turned, a model's heads, f16", APUS_F16, 11, 3, 64, 1, .n = 2, .before = { 40, 7 },
             .rows = { 1, 1 }),
        CASE("turned, bf16", APUS_BF16, 8, 2, 80, 1, .n = 1, .rows = { 10 }),
        CASE("odd pages", APUS_F32, 0, 2, 16, 1, .n = 2, .before = { 9, 0 }, .rows = { 8, 12 },
             .page_tokens = 5),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 3);
}
