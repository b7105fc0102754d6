/* swiglu.c - tests of apus_swiglu. */
#include "swiglu.h"

#include <math.h>

#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] = apus_swiglu(g, in[0], in[1]);
}

static uint64_t count(const optest *t)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < t->in[0].n_dims; i++)
        n *= t->in[0].dims[i];
    return n;
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    for (uint64_t i = 0; i < count(t); i++) {
        out[0][i] = in[0][i] / (1 + exp(-in[0][i])) * in[1][i];
        mag[0][i] = fabs(out[0][i]);
    }
    *terms = 1;
}

/* Vulkan: exp is off by (3 + 2|x|) ulp, a division by 2.5 ulp, and results below 2^-126 may be
 * 0; the error of e in 1 + e weighs e / (1 + e) = 1 - s. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const double gate = in[0][i], s = 1 / (1 + exp(-gate)), y = gate * s * in[1][i];

    (void)t;
    (void)o;
    return fabs(y) * ((1 - s) * (3 + 2 * fabs(gate)) + 2.5) * 0x1p-23 +
           fabs(gate * in[1][i]) * 0x1p-126;
}

/* Gates at which exp overflows and underflows stand among the random ones. */
static void extremes(optest *t)
{
    static const double gates[] = { 0,     -1,  20,   -20,  87,    -87,  88.8,
                                    -88.8, 100, -100, 1000, -1000, 1e-30 };
    uint64_t state = 5;

    t->in[0].value = apus_calloc(count(t), sizeof(double));
    for (uint64_t i = 0; i < count(t); i++)
        t->in[0].value[i] = i < APUS_COUNT(gates) ? gates[i] : 6 * optest_random(&state);
}

#define CASE(text, ...)                                                                            \
    {                                                                                              \
        .name = text, .build = build, .define = define, .extra = extra, .out = { { "y" } },        \
        __VA_ARGS__                                                                                \
    }

TEST(gates_and_gradients)
{
    static optest cases[] = {
        CASE("one element",
             .in = { { "gate", APUS_F32, 2, { 1, 1 } }, { "up", APUS_F32, 2, { 1, 1 } } }),
        CASE("one more than a workgroup", .in = { { "gate", APUS_F32, 2, { 5, 13 }, .scale = 4 },
                                                  { "up", APUS_F32, 2, { 5, 13 } } }),
        CASE("one more than a workgroup of fours",
             .in = { { "gate", APUS_F32, 2, { 13, 20 }, .scale = 4 },
                     { "up", APUS_F32, 2, { 13, 20 } } }),
        CASE("three dimensions", .in = { { "gate", APUS_F32, 3, { 3, 2, 6 }, .scale = 4 },
                                         { "up", APUS_F32, 3, { 3, 2, 6 } } }),
        CASE("extremes", .fill = extremes,
             .in = { { "gate", APUS_F32, 2, { 4, 8 }, .fixed = true },
                     { "up", APUS_F32, 2, { 4, 8 } } }),
        CASE("live rows", .vars = { [APUS_VAR_TOKENS] = 5 },
             .in = { { "gate", APUS_F32, 2, { 9, 12 }, .rows = { APUS_VAR_TOKENS, 0, 9, 1 } },
                     { "up", APUS_F32, 2, { 9, 12 }, .rows = { APUS_VAR_TOKENS, 0, 9, 1 } } }),
        CASE("live rows, behind the first two", .vars = { [APUS_VAR_TOKENS] = 6 },
             .in = { { "gate", APUS_F32, 2, { 5, 7 }, .rows = { APUS_VAR_TOKENS, 2, 5, 1 } },
                     { "up", APUS_F32, 2, { 5, 7 }, .rows = { APUS_VAR_TOKENS, 2, 5, 1 } } }),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 3);
}
