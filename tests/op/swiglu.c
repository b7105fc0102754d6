/* swiglu.c - tests of apus_swiglu and apus_geglu. */
#include "gates.h"

#include "optest.h"

static uint32_t gate_of(const optest *t)
{
    return *(const uint32_t *)t->params;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    outs[0] =
        gate_of(t) == APUS_GATE_SILU ? apus_swiglu(g, in[0], in[1]) : apus_geglu(g, in[0], in[1]);
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
        out[0][i] = in[0][i] * gate_share(gate_of(t), in[0][i]) * in[1][i];
        mag[0][i] = fabs(out[0][i]);
    }
    *terms = 1;
}

/* Results below 2^-126 may be 0; 1 + tanh has an error of its own here. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const double x = in[0][i], y = x * gate_share(gate_of(t), x) * in[1][i];

    (void)o;
    return fabs(y) * gate_error(gate_of(t), x) + fabs(x * in[1][i]) * (0x1p-126 + 0x1p-52);
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

static const uint32_t silu = APUS_GATE_SILU, gelu = APUS_GATE_GELU;

#define CASE(text, ...)                                                                            \
    {                                                                                              \
        .name = text, .build = build, .define = define, .extra = extra, .out = { { "y" } },        \
        .params = &silu, __VA_ARGS__                                                               \
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

TEST(gelu)
{
    static optest cases[] = {
        CASE("one more than a workgroup", .in = { { "gate", APUS_F32, 2, { 5, 13 }, .scale = 4 },
                                                  { "up", APUS_F32, 2, { 5, 13 } } }),
        CASE("extremes", .fill = extremes,
             .in = { { "gate", APUS_F32, 2, { 4, 8 }, .fixed = true },
                     { "up", APUS_F32, 2, { 4, 8 } } }),
        CASE("live rows", .vars = { [APUS_VAR_TOKENS] = 5 },
             .in = { { "gate", APUS_F32, 2, { 9, 12 }, .rows = { APUS_VAR_TOKENS, 0, 9, 1 } },
                     { "up", APUS_F32, 2, { 9, 12 }, .rows = { APUS_VAR_TOKENS, 0, 9, 1 } } }),
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        cases[i].params = &gelu;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 3);
}
