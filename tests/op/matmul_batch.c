/* matmul_batch.c - tests of apus_matmul_batch: products of other sizes side by side, results and
 * gradients that are added up, with every algorithm that takes them. */
#include "matmul_batch.h"

#include <math.h>

#include "optest.h"

struct params {
    apus_matmul_kind kind;
    uint32_t n;
};

static const float alphas[] = { 1, -0.5f, 2 };

/* Inputs are a, b and, TN, into, of each product. */
static uint32_t per(const struct params *p)
{
    return p->kind == APUS_TN ? 3 : 2;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;
    apus_matmul_batch_params b = { .kind = p->kind, .n = p->n, .out = in[0]->dtype };
    apus_tensor *made[APUS_BATCH_MOST];

    for (uint32_t i = 0; i < p->n; i++) {
        b.product[i].a = in[per(p) * i];
        b.product[i].b = in[per(p) * i + 1];
        b.product[i].into = p->kind == APUS_TN ? in[per(p) * i + 2] : NULL;
        b.product[i].alpha = alphas[i];
    }
    apus_matmul_batch(g, &b, made);
    for (uint32_t i = 0; i < p->n; i++)
        outs[i] = p->kind == APUS_TN ? in[per(p) * i + 2] : made[i];
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;

    *terms = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        const uint32_t at = per(p) * i, *a = t->in[at].dims, *b = t->in[at + 1].dims;
        const uint32_t m = p->kind == APUS_TN ? a[1] : a[0], n = p->kind == APUS_NT ? b[0] : b[1];
        uint32_t k = p->kind == APUS_TN ? a[0] : a[1];
        if (p->kind == APUS_TN && t->in[at].rows.max)
            k = t->vars[t->in[at].rows.var];
        for (uint32_t e = 0; e < m * n; e++) {
            const uint32_t row = e / n, col = e % n;
            out[i][e] = p->kind == APUS_TN ? in[at + 2][e] : 0;
            mag[i][e] = fabs(out[i][e]);
            for (uint32_t x = 0; x < k; x++) {
                const double term = (double)alphas[i] *
                                    in[at][p->kind == APUS_TN ? x * m + row : row * k + x] *
                                    in[at + 1][p->kind == APUS_NT ? col * k + x : x * n + col];
                out[i][e] += term;
                mag[i][e] += fabs(term);
            }
        }
        *terms = k + 4 > *terms ? k + 4 : *terms;
    }
}

#define X(r, c)                                                                                    \
    {                                                                                              \
        "x", APUS_F32, 2, { r, c }, .fixed = true                                                  \
    }
#define B(r, c, type)                                                                              \
    {                                                                                              \
        "b", type, 2, { r, c }, .fixed = true                                                      \
    }
#define CASE(text, kind_, n_, ...)                                                                 \
    {                                                                                              \
        .name = text,                                                                              \
        .force = { "matmul:cpu", "matmul:row_cpu", "matmul:tile", "matmul:tile_wide",              \
                   "matmul:plain" },                                                               \
        .build = build, .define = define,                                                          \
        .out = { { "y" }, { "y1" }, { (n_) > 2 ? "y2" : NULL } },                                  \
        .params = &(const struct params) { kind_, n_ }, .in = {                                    \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

TEST(results)
{
    optest cases[] = {
        CASE("low-rank halves of one x", APUS_NT, 3, X(37, 64), B(8, 64, APUS_F32), X(37, 64),
             B(8, 64, APUS_F32), X(37, 64), B(8, 64, APUS_F32)),
        CASE("other ranks", APUS_NT, 2, X(9, 40), B(3, 40, APUS_F32), X(9, 40),
             B(20, 40, APUS_F32)),
        CASE("other lengths", APUS_NT, 2, X(33, 24), B(12, 24, APUS_F32), X(33, 72),
             B(12, 72, APUS_F32)),
        CASE("quantized", APUS_NT, 2, X(17, 96), B(16, 96, APUS_Q8_0), X(17, 96),
             B(8, 96, APUS_Q8_0)),
        CASE("nn of other k", APUS_NN, 3, X(37, 64), B(64, 8, APUS_F32), X(37, 24),
             B(24, 8, APUS_F32), X(37, 12), B(12, 8, APUS_F32)),
        CASE("nn, other columns", APUS_NN, 2, X(65, 16), B(16, 4, APUS_F32), X(65, 16),
             B(16, 36, APUS_F32)),
        CASE("nn, columns of 32", APUS_NN, 2, X(65, 16), B(16, 64, APUS_Q8_0), X(65, 16),
             B(16, 96, APUS_Q8_0)),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << 0 | 1u << 2 | 1u << 4);
}

TEST(gradients_that_are_added_up)
{
    optest cases[] = {
        CASE("of the first matrix", APUS_TN, 3, X(19, 8), X(19, 64), X(8, 64), X(19, 8), X(19, 64),
             X(8, 64), X(19, 8), X(19, 64), X(8, 64)),
        CASE("of the second", APUS_TN, 2, X(40, 64), X(40, 8), X(64, 8), X(40, 24), X(40, 8),
             X(24, 8)),
        CASE("odd ranks", APUS_TN, 2, X(7, 36), X(7, 3), X(36, 3), X(7, 4), X(7, 5), X(4, 5)),
        CASE("rows of 32, others of the result", APUS_TN, 2, X(40, 64), X(40, 32), X(64, 32),
             X(40, 32), X(40, 32), X(32, 32)),
        CASE("live rows", APUS_TN, 2, X(40, 16), X(40, 8), X(16, 8), X(40, 12), X(40, 8), X(12, 8)),
    };
    cases[4].vars[APUS_VAR_TOKENS] = 21;
    for (uint32_t i = 0; i < 2; i++)
        cases[4].in[3 * i].rows = cases[4].in[3 * i + 1].rows =
            (apus_rows) { APUS_VAR_TOKENS, 0, 40, 1 };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << 0 | 1u << 3 | 1u << 6);
}

TEST(what_does_not_go_together_is_refused)
{
    apus_graph g;
    apus_tensor *out[APUS_BATCH_MOST];

    if (!CHECK_OK(apus_graph_init(&g)))
        return;
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F32, 2, (uint32_t[]) { 9, 16 }, 256);
    apus_tensor *more = apus_graph_bound(&g, "more", APUS_F32, 2, (uint32_t[]) { 10, 16 }, 2048);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F32, 2, (uint32_t[]) { 8, 16 }, 4096);
    apus_tensor *half = apus_graph_bound(&g, "half", APUS_F16, 2, (uint32_t[]) { 8, 16 }, 8192);
    apus_tensor *into = apus_graph_bound(&g, "into", APUS_F32, 2, (uint32_t[]) { 9, 8 }, 16384);
    const apus_matmul_batch_params bad[] = {
        { .n = 0 },
        { .n = 2, .product = { { a, b, NULL, 1 }, { more, b, NULL, 1 } } },
        { .n = 2, .product = { { a, b, NULL, 1 }, { a, half, NULL, 1 } } },
        { .n = 2, .product = { { a, b, NULL, 1 }, { a, b, into, 1 } } },
        { .n = 1, .product = { { a, b, into, 1 } } },
    };

    for (size_t i = 0; i < APUS_COUNT(bad); i++) {
        CHECK(!apus_matmul_batch(&g, &bad[i], out));
        CHECK(g.status == APUS_ERR_SHAPE);
        g.status = APUS_OK;
    }
    apus_graph_release(&g);
}
