/* swiglu_back.c - tests of apus_swiglu_back against the formula; tests/op/swiglu.c has the
 * differences. */
#include "swiglu_back.h"

#include <math.h>

#include "optest.h"

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    apus_swiglu_back(g, in[0], in[1], in[2]);
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
        const double s = 1 / (1 + exp(-in[0][i]));
        out[0][i] = in[2][i] * in[1][i] * s * (1 + in[0][i] * (1 - s));
        out[1][i] = in[2][i] * in[0][i] * s;
        mag[0][i] = fabs(in[2][i] * in[1][i] * s) * (1 + fabs(in[0][i]) * (1 - s));
        mag[1][i] = fabs(out[1][i]);
    }
    *terms = 4;
}

/* s is off by r of itself: exp by (3 + 2|x|) ulp, its weight in 1 + e is 1 - s, a division by
 * 2.5 ulp; 1 - s is then off by s * r.  Any product below 2^-126 may become 0. */
static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t i)
{
    const double gate = in[0][i], s = 1 / (1 + exp(-gate)), dy = in[2][i];
    const double slope = 1 + gate * (1 - s);
    const double r = ((1 - s) * (3 + 2 * fabs(gate)) + 2.5 + 0.5) * 0x1p-23, none = 0x1p-126;

    (void)t;
    if (o == 1)
        return fabs(dy * gate) * (s * r + none);
    return fabs(dy * in[1][i]) *
               ((s * r + none) * fabs(slope) + s * fabs(gate) * (s * r + 0x1p-24)) +
           none * fabs(slope);
}

static void extremes(optest *t)
{
    static const double gates[] = { 0, 20, -20, 87, -87, 88.8, -88.8, 100, -100, 1000, -1000 };
    uint64_t state = 5;

    t->in[0].value = apus_calloc(t->in[0].dims[0] * t->in[0].dims[1], sizeof(double));
    for (uint32_t i = 0; i < t->in[0].dims[0] * t->in[0].dims[1]; i++)
        t->in[0].value[i] = i < APUS_COUNT(gates) ? gates[i] : 6 * optest_random(&state);
}

#define CASE(text, r, c, live, ...)                                                                \
    {                                                                                              \
        .name = text, .build = build, .define = define, .extra = extra,                            \
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
