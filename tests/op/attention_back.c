/* attention_back.c - the gradient of attention is checked by the differences of
 * tests/op/attention.c;
 * here: that it adds to what tensors already have, for longer sequences too. */
#include "attention_back.h"

#include "optest.h"
#include "sequences.h"

/* The second use of q, k and v: another scale, no mask. */
static apus_attention_params other(const step_shape *p)
{
    return (apus_attention_params) { p->p.heads, p->p.kv_heads, p->p.head_dim, .scale = 0.25f,
                                     .bidirectional = true };
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const step_shape *p = t->params;
    const apus_sequences s = step_sequences(p, in, IN_SEQS);
    const apus_attention_params bent = other(p), first = attention_params(p, &p->p, in),
                                second = attention_params(p, &bent, in);
    apus_tensor *lse;

    outs[0] = apus_attention(g, in[IN_Q], in[IN_K], in[IN_V], &s, &first, &lse);
    outs[1] = apus_attention(g, in[IN_Q], in[IN_K], in[IN_V], &s, &second, &lse);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const step_shape *p = t->params;
    const apus_attention_params use[2] = { p->p, other(p) };
    double lse, lse_mag;

    for (uint32_t o = 0; o < 2; o++)
        for (uint32_t row = 0; row < step_rows(p); row++)
            for (uint32_t h = 0; h < p->p.heads; h++) {
                const size_t at = ((size_t)row * p->p.heads + h) * p->p.head_dim;
                attention_row(p, &use[o], in, row, h, out[o] + at, mag[o] + at, &lse, &lse_mag);
            }
    *terms = attention_terms(p);
}

#define RUN(text, lane, h, k, e, ...)                                                              \
    {                                                                                              \
        .name = text, .fill = attention_fill, .build = build, .define = define, .in = { { "q" } }, \
        .force = { "attention_back:split", lane }, .out = { { "o" }, { "o2" } },                   \
        .params = &(step_shape)                                                                    \
        {                                                                                          \
            .p.heads = h, .p.kv_heads = k, .p.head_dim = e, __VA_ARGS__                            \
        }                                                                                          \
    }
#define CASE(text, ...) RUN(text, "attention_back:lane", __VA_ARGS__)
/* Where tests/op/attention.c has the other one, which compiles slowly. */
#define SPLIT(text, ...) RUN(text, NULL, __VA_ARGS__)

TEST(gradients_add_up)
{
    optest cases[] = {
        CASE("one token", 2, 1, 16, .n = 1, .rows = { 1 }),
        CASE("used twice, spare rows", 3, 1, 16, .n = 3, .rows = { 10, 1, 27 }, .spare = 4),
        CASE("window on one use", 2, 2, 12, .p.window = 3, .n = 2, .rows = { 18, 7 }),
        CASE("a model's heads", 9, 3, 64, .n = 1, .rows = { 21 }),
        CASE("capped once, sinks twice", 4, 2, 16, .p.softcap = 1.5f, .sinks = true, .n = 2,
             .rows = { 9, 4 }, .spare = 2),
        CASE("more than a few registers hold", 2, 1, 128, .n = 2, .rows = { 4, 1 }, .spare = 1),
        CASE("read one by one", 2, 1, 256, .n = 1, .rows = { 3 }),
        SPLIT("head size 32", 2, 1, 32, .n = 1, .rows = { 5 }),
        SPLIT("head size 80, capped", 2, 1, 80, .p.softcap = 2, .n = 1, .rows = { 4 }),
        SPLIT("head size 96", 2, 2, 96, .n = 1, .rows = { 3 }),
        SPLIT("head size 192", 2, 1, 192, .n = 1, .rows = { 3 }),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    /* Some drivers take minutes to compile larger heads. */
    optest_run_stored(cases, 5, 1u << IN_Q | 1u << IN_K | 1u << IN_V);
}
