/* embed.c - tests of apus_embed: every format, ids past the table, the gradient of a trained
 * table. */
#include "embed.h"

#include "op.h"
#include "optest.h"

enum { IDS, TABLE, UNIQUE, STARTS, ORDER };

static apus_dtype result; /* the format of the rows */

/* 11 rows of 7 ids; 40 lies past every table here.  The order is that of a host: distinct ids,
 * where each one's rows begin, the rows. */
static uint32_t ids[] = { 3, 0, 3, 40, 5, 3, 0, 1, 17, 1, 16 };
static uint32_t unique[] = { 0, 1, 3, 5, 16, 17, 40 };
static uint32_t starts[] = { 0, 2, 4, 7, 8, 9, 10, 11 };
static uint32_t order[] = { 1, 6, 7, 9, 0, 2, 5, 4, 10, 8, 3 };

static void fill(optest *t)
{
    t->in[IDS].u32 = ids;
    t->in[UNIQUE].u32 = unique;
    t->in[STARTS].u32 = starts;
    t->in[ORDER].u32 = order;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const apus_embed_order rows = { in[UNIQUE], in[STARTS], in[ORDER] };

    outs[0] = apus_embed(g, in[IDS], in[TABLE], t->in[TABLE].trained ? &rows : NULL, result);
}

/* A row of a table is exact, but a block format's q * d + m may be rounded twice. */
static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t cols = t->in[TABLE].dims[1];

    for (uint32_t r = 0; r < t->in[IDS].dims[0]; r++)
        for (uint32_t c = 0; c < cols; c++) {
            const bool there = ids[r] < t->in[TABLE].dims[0];
            out[0][r * cols + c] = there ? in[TABLE][ids[r] * cols + c] : 0;
            /* q * d <= 31 * 1.2 / 16 and m <= 1, see the runner's blocks. */
            mag[0][r * cols + c] = there && apus_dtype_is_quant(t->in[TABLE].dtype) ? 4 : 0;
        }
    *terms = 0;
}

#define CASE(text, type, v, d, ...)                                                                \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .out = { { "y" } }, .in = {  \
            { "ids", APUS_U32, 1, { 11 }, .step = true, __VA_ARGS__ },                             \
            { "table", type, 2, { v, d } },                                                        \
            { "unique", APUS_U32, 1, { 7 }, .step = true, .rows = { APUS_VAR_UNIQUE, 0, 7, 1 } },  \
            { "starts", APUS_U32, 1, { 8 }, .step = true },                                        \
            { "order", APUS_U32, 1, { 11 }, .step = true }                                         \
        }                                                                                          \
    }

TEST(every_format)
{
    static optest cases[] = {
        CASE("f32", APUS_F32, 18, 4, ),
        CASE("f32, a model's width", APUS_F32, 18, 576, ),
        CASE("f16", APUS_F16, 18, 12, ),
        CASE("bf16", APUS_BF16, 18, 12, ),
        CASE("q8_0", APUS_Q8_0, 18, 96, ),
        CASE("q8_0, two blocks", APUS_Q8_0, 18, 64, ),
        CASE("q4_0", APUS_Q4_0, 18, 96, ),
        CASE("q4_0, one block", APUS_Q4_0, 18, 32, ),
        CASE("q4_1", APUS_Q4_1, 18, 96, ),
        CASE("q5_0", APUS_Q5_0, 18, 96, ),
        CASE("q5_1", APUS_Q5_1, 18, 64, ),
        CASE("q4_K", APUS_Q4_K, 18, 512, ),
        CASE("q6_K", APUS_Q6_K, 18, 256, ),
        CASE("q6_K, three blocks", APUS_Q6_K, 18, 768, ),
        CASE("live rows", APUS_F32, 18, 20, .rows = { APUS_VAR_TOKENS, 0, 11, 1 }),
    };
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].in[TABLE].fixed = true;
        cases[i].vars[APUS_VAR_TOKENS] = 6;
    }
    for (result = APUS_F32; result <= APUS_BF16; result++)
        optest_run(cases, APUS_COUNT(cases));
}

TEST(gradient_of_the_table)
{
    static optest cases[] = {
        CASE("trained", APUS_F32, 18, 8, ),
        CASE("trained, one more than a workgroup", APUS_F32, 18, 68, ),
        CASE("trained, a small table", APUS_F32, 4, 12, ),
    };
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].in[TABLE].trained = true;
        cases[i].vars[APUS_VAR_UNIQUE] = 7;
    }
    for (result = APUS_F32; result <= APUS_BF16; result++)
        optest_run(cases, APUS_COUNT(cases));
}

TEST(a_trained_table_needs_an_order)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *rows = apus_graph_step(&g, "ids", APUS_U32, 3, APUS_ROWS_ALL);
    apus_tensor *w = apus_graph_bound(&g, "w", APUS_F32, 2, (uint32_t[]) { 5, 4 }, 4096);
    w->wants_grad = true;
    w->grad_into = apus_graph_bound(&g, "into", APUS_F32, 2, (uint32_t[]) { 5, 4 }, 8192);
    apus_tensor *y = apus_embed(&g, rows, w, NULL, APUS_F32);
    y->grad = apus_graph_bound(&g, "dy", APUS_F32, 2, (uint32_t[]) { 3, 4 }, 16384);
    y->producer->op->backward(&g, y->producer);
    CHECK_FAILS(apus_graph_status(&g), APUS_ERR_ARG, "order");
    apus_graph_release(&g);
}
