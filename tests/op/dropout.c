/* dropout.c - tests of apus_dropout: the mask is Philox of C (engine/base/rng.c), whatever the
 * device, the packing and the order of rows; the gradient has the same mask. */
#include "dropout.h"

#include <math.h>

#include "add.h"
#include "optest.h"
#include "rng.h"

enum { X, ROW_ID, POS };

struct params {
    float p;
    uint32_t name;
    bool twice; /* x is used a second time: the gradient is added to what is there */
};

static uint32_t row_id[512], pos[512];

/* Two rows of the data set, the second one beginning at row 3; large numbers too. */
static void fill(optest *t)
{
    for (uint32_t r = 0; r < t->in[X].dims[0]; r++) {
        row_id[r] = r < 3 ? 7 : 0x80000001u;
        pos[r] = r < 3 ? r + 100 : r - 3;
    }
    t->in[ROW_ID].u32 = row_id;
    t->in[POS].u32 = pos;
}

/* The same rows in another order: what one row gets does not change (define() knows no order). */
static void fill_reversed(optest *t)
{
    fill(t);
    for (uint32_t r = 0, n = t->in[X].dims[0]; r < n / 2; r++) {
        const uint32_t id = row_id[r], at = pos[r];
        row_id[r] = row_id[n - 1 - r];
        pos[r] = pos[n - 1 - r];
        row_id[n - 1 - r] = id;
        pos[n - 1 - r] = at;
    }
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;

    outs[0] = apus_dropout(g, in[X], &(apus_dropout_params) { p->p, in[ROW_ID], in[POS], p->name });
    if (p->twice)
        outs[0] = apus_add(g, outs[0], in[X]);
}

static bool kept(const optest *t, uint32_t r, uint32_t c)
{
    const struct params *p = t->params;
    const uint32_t key[2] = { t->vars[APUS_VAR_SEED], t->vars[APUS_VAR_STEP] };
    const uint32_t counter[4] = { c / 4, pos[r], row_id[r], p->name };
    uint32_t bits[4];

    apus_philox(key, counter, bits);
    return apus_uniform_f32(bits[c % 4]) >= p->p;
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;
    const uint32_t cols = t->in[X].dims[1];

    for (uint32_t r = 0; r < t->in[X].dims[0]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const double x = in[X][r * cols + c];
            const double y = kept(t, r, c) ? x / (1 - (double)p->p) : 0;
            out[0][r * cols + c] = y + (p->twice ? x : 0);
            mag[0][r * cols + c] = fabs(y) + (p->twice ? fabs(x) : 0);
        }
    *terms = 6; /* 1 / (1 - p): a division of 2.5 ulp, that is 5 roundings */
}

#define CASE(text, r, d, prob, name_, ...)                                                         \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .out = { { "y" } },          \
        .params = &(const struct params) { prob, name_, false },                                   \
        .vars = { [APUS_VAR_SEED] = 42, [APUS_VAR_STEP] = 3, [APUS_VAR_TOKENS] = 5 }, .in = {      \
            { "x", APUS_F32, 2, { r, d }, __VA_ARGS__ },                                           \
            { "row_id", APUS_U32, 1, { r }, .step = true },                                        \
            { "pos", APUS_U32, 1, { r }, .step = true }                                            \
        }                                                                                          \
    }

TEST(mask_values_and_gradient)
{
    const struct params twice = { 0.3f, 6, true };
    optest cases[] = {
        CASE("four columns", 1, 4, 0.5f, 1, ),
        CASE("one more than a workgroup", 13, 20, 0.1f, 0xdeadbeef, ),
        CASE("a model's width", 7, 576, 0.05f, 5, ),
        CASE("nearly all dropped", 9, 32, 0.99f, 5, ),
        CASE("rows in another order", 7, 576, 0.05f, 5, ),
        CASE("another seed and step", 7, 576, 0.05f, 5, ),
        CASE("live rows", 9, 12, 0.3f, 6, .rows = { APUS_VAR_TOKENS, 0, 9, 1 }),
        CASE("x used twice", 9, 12, 0.3f, 6, ),
        CASE("x used twice, live rows", 9, 12, 0.3f, 6, .rows = { APUS_VAR_TOKENS, 0, 9, 1 }),
    };
    cases[4].fill = fill_reversed;
    cases[5].vars[APUS_VAR_SEED] = 0xffffffff;
    cases[5].vars[APUS_VAR_STEP] = 100000;
    cases[7].params = cases[8].params = &twice;
    cases[7].inner = cases[8].inner = 1;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << X);
}

/* Of the definition itself: the share that is kept, and that masks of names and steps differ. */
TEST(masks_are_fair_and_differ)
{
    const struct params p[2] = { { 0.1f, 1, false }, { 0.1f, 2, false } };
    optest t = { .vars = { [APUS_VAR_SEED] = 1 }, .in = { { "x", APUS_F32, 2, { 512, 64 } } } };
    uint32_t n = 0, other_name = 0, other_step = 0;

    fill(&t);
    for (uint32_t r = 0; r < 512; r++)
        for (uint32_t c = 0; c < 64; c++) {
            t.params = &p[0];
            t.vars[APUS_VAR_STEP] = 1;
            const bool k = kept(&t, r, c);
            n += k;
            t.vars[APUS_VAR_STEP] = 2;
            other_step += kept(&t, r, c) != k;
            t.vars[APUS_VAR_STEP] = 1;
            t.params = &p[1];
            other_name += kept(&t, r, c) != k;
        }
    /* 32,768 draws: the standard deviation of a share q is sqrt(q (1 - q) / n). */
    CHECK_NEAR(n / 32768.0, 0.9, 5 * sqrt(0.09 / 32768));
    CHECK_NEAR(other_step / 32768.0, 0.18, 5 * sqrt(0.18 * 0.82 / 32768));
    CHECK_NEAR(other_name / 32768.0, 0.18, 5 * sqrt(0.18 * 0.82 / 32768));
}

TEST(without_dropout_x_itself)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, (uint32_t[]) { 5, 4 }, 4096);
    apus_tensor *rows = apus_graph_step(&g, "rows", APUS_U32, 5, APUS_ROWS_ALL);
    CHECK(apus_dropout(&g, x, &(apus_dropout_params) { .p = 0 }) == x);
    CHECK_EQ_U64(g.n_nodes, 0);
    CHECK(!apus_dropout(&g, x, &(apus_dropout_params) { .p = 1, .row_id = rows, .pos = rows }));
    CHECK_FAILS(apus_graph_status(&g), APUS_ERR_ARG, "[0, 1)");
    apus_graph_release(&g);
}

TEST(rows_of_another_count_are_refused)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, (uint32_t[]) { 5, 4 }, 4096);
    apus_tensor *rows = apus_graph_step(&g, "rows", APUS_U32, 5, APUS_ROWS_ALL);
    apus_tensor *few = apus_graph_step(&g, "few", APUS_U32, 4, APUS_ROWS_ALL);
    CHECK(!apus_dropout(&g, x, &(apus_dropout_params) { .p = 0.1f, .row_id = rows, .pos = few }));
    CHECK_FAILS(apus_graph_status(&g), APUS_ERR_SHAPE, "dropout");
    apus_graph_release(&g);
}
