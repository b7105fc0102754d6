/* attention_sinks_back.c - tests of apus_attention_sinks_back: its sum, added to what is there.  As
 * the gradient of attention: tests/op/attention.c and attention_back.c. */
#include "attention_sinks_back.h"

#include <math.h>

#include "optest.h"

enum { IN_SINKS, IN_LSE, IN_DOT, IN_INTO };

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    in[IN_SINKS]->grad_into = in[IN_INTO];
    apus_attention_sinks_back(g, in[IN_SINKS], in[IN_LSE], in[IN_DOT]);
    outs[0] = in[IN_INTO];
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t heads = t->in[IN_SINKS].dims[0];
    const uint32_t rows = t->in[IN_LSE].rows.max ? t->vars[APUS_VAR_TOKENS] : t->in[IN_LSE].dims[0];

    for (uint32_t h = 0; h < heads; h++) {
        out[0][h] = in[IN_INTO][h];
        mag[0][h] = fabs(in[IN_INTO][h]);
        for (uint32_t r = 0; r < rows; r++) {
            const uint32_t at = r * heads + h;
            const double x = in[IN_SINKS][h] - in[IN_LSE][at], term = exp(x) * in[IN_DOT][at];
            out[0][h] -= term;
            mag[0][h] += fabs(term) * (1 + fabs(x)); /* an error of x is one of exp(x) */
        }
    }
    *terms = rows + 8;
}

#define VALUES(rows, heads, ...)                                                                   \
    .in = { { "sinks", APUS_F32, 1, { heads }, .scale = 3, .fixed = true },                        \
            { "lse", APUS_F32, 2, { rows, heads }, .scale = 4, .fixed = true, __VA_ARGS__ },       \
            { "dot", APUS_F32, 2, { rows, heads }, .fixed = true, __VA_ARGS__ },                   \
            { "into", APUS_F32, 1, { heads }, .fixed = true } }
#define CASE(text, ...)                                                                            \
    {                                                                                              \
        .name = text, .build = build, .define = define, .out = { { "into" } }, __VA_ARGS__         \
    }

TEST(adds_what_the_sinks_take)
{
    static optest cases[] = {
        CASE("one row, one head", VALUES(1, 1, .step = false)),
        CASE("one more than a subgroup", VALUES(17, 3, .step = false)),
        CASE("many rows", VALUES(4099, 2, .step = false)),
        CASE("live rows", .vars = { [APUS_VAR_TOKENS] = 21 },
             VALUES(40, 5, .rows = { APUS_VAR_TOKENS, 0, 40, 1 })),
        CASE("no live row", .vars = { [APUS_VAR_TOKENS] = 0 },
             VALUES(8, 4, .rows = { APUS_VAR_TOKENS, 0, 8, 1 })),
    };

    optest_run(cases, APUS_COUNT(cases));
}

TEST(a_missing_buffer_is_named)
{
    const uint32_t dims[] = { 4, 2 };
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *sinks = apus_graph_bound(&g, "layer.sinks", APUS_F32, 1, dims + 1, 256);
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, dims, 512);
    apus_attention_sinks_back(&g, sinks, x, x);
    CHECK_FAILS(apus_graph_status(&g), APUS_ERR_ARG, "layer.sinks has no buffer");
    apus_graph_release(&g);
}
