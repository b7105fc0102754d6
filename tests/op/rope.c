/* rope.c - tests of apus_rope and its gradient. */
#include "rope.h"

#include <math.h>

#include "optest.h"

enum { IN_X, IN_TABLE, IN_POS, IN_X2 };

static const apus_rope_params heads[] = { { 16, false }, { 12, false }, { 64, false },
                                          { 64, true },  { 2, false },  { 80, true } };

static void fill(optest *t)
{
    static uint32_t pos[64];

    for (uint32_t i = 0; i < 64; i++) /* not in order, the last row of the table among them */
        pos[i] = (5 * i + t->in[IN_TABLE].dims[0] - 1) % t->in[IN_TABLE].dims[0];
    t->in[IN_POS].u32 = pos;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    outs[0] = apus_rope(g, in[IN_X], in[IN_TABLE], in[IN_POS], t->params);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const apus_rope_params *a = t->params;
    const uint32_t n = t->in[IN_X].dims[0], h = t->in[IN_X].dims[1], e = a->head_dim;

    for (uint32_t row = 0; row < n * h; row++)
        for (uint32_t i = 0; i < e / 2; i++) {
            const double *turn = in[IN_TABLE] + (size_t)t->in[IN_POS].u32[row / h] * e + 2 * i;
            const double c = turn[0], s = a->inverse ? -turn[1] : turn[1];
            const size_t at = (size_t)row * e + i;
            const double x = in[IN_X][at], y = in[IN_X][at + e / 2];
            out[0][at] = x * c - y * s;
            out[0][at + e / 2] = y * c + x * s;
            mag[0][at] = fabs(x * c) + fabs(y * s);
            mag[0][at + e / 2] = fabs(y * c) + fabs(x * s);
        }
    *terms = 2;
}

#define CASE(text, which, n, h, p, ...)                                                            \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .params = &heads[which],     \
        .in = { { "x", APUS_F32, 3, { n, h, e_##which }, __VA_ARGS__ },                            \
                { "table", APUS_F32, 2, { p, e_##which }, .fixed = true },                         \
                { "pos", APUS_U32, 1, { n }, .step = true } },                                     \
        .out = {                                                                                   \
            { "y" }                                                                                \
        }                                                                                          \
    }
enum { e_0 = 16, e_1 = 12, e_2 = 64, e_3 = 64, e_4 = 2, e_5 = 80 };

/* The same tensor and one with other heads in one node. */
static void build_both(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const apus_tensor *first = apus_rope(g, in[IN_X], in[IN_TABLE], in[IN_POS], t->params);
    const apus_tensor *second = apus_rope(g, in[IN_X2], in[IN_TABLE], in[IN_POS], t->params);

    if (!first || !second)
        return;
    CHECK(apus_rope_alike(first->producer, second->producer));
    const apus_node *both = apus_rope_both(g, first->producer, second->producer);
    outs[0] = both ? both->out[0] : NULL;
    outs[1] = both ? both->out[1] : NULL;
}

static void define_both(const optest *t, const double *const *in, double **out, double **mag,
                        uint32_t *terms)
{
    optest second = *t;

    define(t, in, out, mag, terms);
    second.in[IN_X] = t->in[IN_X2];
    define(&second, (const double *const[]) { in[IN_X2], in[IN_TABLE], in[IN_POS] }, out + 1,
           mag + 1, terms);
}

#define BOTH(text, which, n, h, h2, p, ...)                                                        \
    {                                                                                              \
        .name = text, .fill = fill, .build = build_both, .define = define_both,                    \
        .params = &heads[which],                                                                   \
        .in = { { "x", APUS_F32, 3, { n, h, e_##which }, .fixed = true, __VA_ARGS__ },             \
                { "table", APUS_F32, 2, { p, e_##which }, .fixed = true },                         \
                { "pos", APUS_U32, 1, { n }, .step = true },                                       \
                { "x2", APUS_F32, 3, { n, h2, e_##which }, .fixed = true, __VA_ARGS__ } },         \
        .out = {                                                                                   \
            { "y" },                                                                               \
            { "y2" }                                                                               \
        }                                                                                          \
    }

TEST(queries_and_keys_together)
{
    optest cases[] = {
        BOTH("a model's heads", 2, 13, 9, 3, 64),
        BOTH("pairs not in fours", 1, 5, 2, 3, 7),
        BOTH("the opposite angle, one pair", 4, 4, 1, 3, 5),
        BOTH("the opposite angle", 5, 6, 1, 2, 9),
        BOTH("live rows", 0, 9, 2, 1, 11, .rows = { APUS_VAR_TOKENS, 0, 9, 1 }),
    };

    cases[4].vars[APUS_VAR_TOKENS] = 5;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << IN_X | 1u << IN_X2);
}

TEST(rotation_and_gradient)
{
    optest cases[] = {
        CASE("one token", 0, 1, 1, 3),
        CASE("pairs not in fours", 1, 5, 2, 7),
        CASE("a model's heads", 2, 33, 9, 64),
        CASE("the opposite angle", 3, 7, 3, 9),
        CASE("one pair", 4, 4, 3, 5),
        CASE("head size 80, the opposite angle", 5, 6, 1, 6),
        CASE("live rows", 0, 9, 2, 11, .rows = { APUS_VAR_TOKENS, 0, 9, 1 }),
    };

    cases[6].vars[APUS_VAR_TOKENS] = 5;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << IN_X);
}
