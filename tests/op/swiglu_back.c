/* swiglu_back.c - tests of apus_swiglu_back against the formula; tests/op/swiglu.c has the
 * differences. */
#include "swiglu_back.h"

#include "gates.h"

#include "optest.h"

static uint32_t gate_of(const optest *t)
{
    return *(const uint32_t *)t->params;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    apus_swiglu_back(g, gate_of(t), in[0], in[1], in[2]);
    for (int i = 0; i < 2; i++) {
        outs[i] = in[i]->grad;
        if (!outs[i])
            continue;
        outs[i]->wants_grad = in[i]->wants_grad = false; /* these are outputs here */
        in[i]->grad = NULL;
    }
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    for (uint32_t i = 0; i < t->in[0].dims[0] * t->in[0].dims[1]; i++) {
        const double x = in[0][i], s = gate_share(gate_of(t), x);
        const double bend = x * (1 - s) * gate_z_slope(gate_of(t), x);
        out[0][i] = in[2][i] * in[1][i] * s * (1 + bend);
        out[1][i] = in[2][i] * x * s;
        mag[0][i] = fabs(in[2][i] * in[1][i] * s) * (1 + fabs(bend));
        mag[1][i] = fabs(out[1][i]);
    }
    *terms = 8;
}

/* s is off by r of itself (gates.h), 1 - s is then off by s * r.  Any product below 2^-126 may
 * become 0; 1 + tanh has an error of its own here. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const double x = in[0][i], s = gate_share(gate_of(t), x), dy = in[2][i];
    const double slope = gate_z_slope(gate_of(t), x), whole = 1 + x * (1 - s) * slope;
    const double r = gate_error(gate_of(t), x) + 0.5 * 0x1p-23, none = 0x1p-126 + 0x1p-52;

    if (o == 1)
        return fabs(dy * x) * (s * r + none);
    return fabs(dy * in[1][i]) *
               ((s * r + none) * fabs(whole) + s * fabs(x) * slope * (s * r + 0x1p-24)) +
           none * fabs(whole);
}

static void extremes(optest *t)
{
    static const double gates[] = { 0, 20, -20, 87, -87, 88.8, -88.8, 100, -100, 1000, -1000 };
    uint64_t state = 5;

    t->in[0].value = apus_calloc(t->in[0].dims[0] * t->in[0].dims[1], sizeof(double));
    for (uint32_t i = 0; i < t->in[0].dims[0] * t->in[0].dims[1]; i++)
        t->in[0].value[i] = i < APUS_COUNT(gates) ? gates[i] : 6 * optest_random(&state);
}

static const uint32_t silu = APUS_GATE_SILU, gelu = APUS_GATE_GELU;

#define CASE(text, r, c, live, ...)                                                                \
    {                                                                                              \
        .name = text, .build = build, .define = define, .extra = extra, .params = &silu,           \
        __VA_ARGS__.out = { { "d_gate" }, { "d_up" } }, .in = {                                    \
            { "gate",                                                                              \
              APUS_F32,                                                                            \
              2,                                                                                   \
              { r, c },                                                                            \
              .scale = 5,                                                                          \
              .rows = { APUS_VAR_TOKENS, 0, live, 1 } },                                           \
            { "up", APUS_F32, 2, { r, c }, .rows = { APUS_VAR_TOKENS, 0, live, 1 } },              \
            { "dy",                                                                                \
              APUS_F32,                                                                            \
              2,                                                                                   \
              { r, c },                                                                            \
              .rows = { APUS_VAR_TOKENS, 0, live, 1 },                                             \
              .fixed = true }                                                                      \
        }                                                                                          \
    }

TEST(both_gradients)
{
    static optest cases[] = {
        CASE("one element", 1, 1, 0, ),
        CASE("odd", 7, 11, 0, ),
        CASE("one more than a workgroup of fours", 13, 20, 0, ),
        CASE("extremes", 3, 8, 0, .fill = extremes, ),
        CASE("live rows", 9, 12, 9, .vars = { [APUS_VAR_TOKENS] = 4 }, ),
        CASE("no live row", 3, 4, 3, .vars = { [APUS_VAR_TOKENS] = 0 }, ),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 7);
}

TEST(gelu_gradients)
{
    static optest cases[] = {
        CASE("odd", 7, 11, 0, ),
        CASE("extremes", 3, 8, 0, .fill = extremes, ),
        CASE("live rows", 9, 12, 9, .vars = { [APUS_VAR_TOKENS] = 4 }, ),
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        cases[i].params = &gelu;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 7);
}
