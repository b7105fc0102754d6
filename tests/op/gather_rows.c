/* gather_rows.c - tests of apus_gather_rows and its gradient. */
#include "gather_rows.h"

#include <math.h>

#include "optest.h"

struct rows {
    uint32_t index[8], inverse[8];
};

#define NONE 0xffffffffu
static const struct rows some = { { 4, 0, NONE, 2 }, { 1, NONE, 3, NONE, 0, NONE } };
static const struct rows all = { { 2, 0, 1 }, { 1, 2, 0 } };
/* Three of five places are live: the other two name rows that may not be read. */
static const struct rows live = { { 3, 1, 6, 0, 2 }, { NONE, 1, NONE, 0, NONE, NONE, 2 } };

static void fill(optest *t)
{
    const struct rows *rows = t->params;

    t->in[1].u32 = (uint32_t *)rows->index;
    t->in[2].u32 = (uint32_t *)rows->inverse;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] = apus_gather_rows(g, in[0], in[1], in[2]);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct rows *rows = t->params;
    const uint32_t cols = t->in[0].dims[1];

    for (uint32_t i = 0; i < t->in[1].dims[0]; i++)
        for (uint32_t c = 0; c < cols; c++)
            out[0][i * cols + c] =
                rows->index[i] < t->in[0].dims[0] ? in[0][rows->index[i] * cols + c] : 0;
    (void)mag; /* zero: a copy is exact */
    *terms = 0;
}

#define CASE(text, p, r, n, cols, ...)                                                             \
    {                                                                                              \
        .name = text, .params = &p, .fill = fill, .build = build, .define = define,                \
        .out = { { "y" } }, .in = {                                                                \
            { "x", APUS_F32, 2, { r, cols } },                                                     \
            { "index", APUS_U32, 1, { n }, .step = true, __VA_ARGS__ },                            \
            { "inverse", APUS_U32, 1, { r }, .step = true }                                        \
        }                                                                                          \
    }

TEST(rows_and_back)
{
    static optest cases[] = {
        CASE("some rows, odd width", some, 6, 4, 7, ),
        CASE("all rows, a model's width", all, 3, 3, 576, ),
        CASE("live rows", live, 7, 5, 20, .rows = { APUS_VAR_OUT_ROWS, 0, 5, 1 }),
    };
    cases[2].vars[APUS_VAR_OUT_ROWS] = 3;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}
