/* matmul_sums.c - tests of apus_matmul: what is added to a product, a sum in parts, a second
 * product, live rows. */
#include "matmul_cases.h"

#define WITH(text, force_, bits, m, n, k, type, params_, ...)                                      \
    {                                                                                              \
        .name = text, .force = force_, .narrow = bits, .build = build, .define = define,           \
        .params = &(params_), .out = { { "y" } }, .in = {                                          \
            { "a", APUS_F32, 2, { m, k } },                                                        \
            { "b", type, 2, { n, k }, .trained = true },                                           \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

TEST(bias_and_accumulation)
{
    static const struct params bias = { .bias = true }, acc = { .acc = true },
                               both = { .bias = true, .acc = true, .alpha = 0.5f };
    optest alone[] = {
        WITH("bias", EXACT, 0, 6, 12, 16, APUS_F32, bias,
             { "bias", APUS_F32, 1, { 12 }, .fixed = true }),
    };
    optest cases[] = {
        WITH("residual", EXACT, 0, 6, 12, 16, APUS_F16, acc, { "acc", APUS_F32, 2, { 6, 12 } }),
        WITH("both, scaled, odd", EXACT, 0, 6, 13, 40, APUS_F32, both,
             { "acc", APUS_F32, 2, { 6, 13 } }, { "bias", APUS_F32, 1, { 13 }, .fixed = true }),
        WITH("both, one row", EXACT, 0, 1, 20, 64, APUS_Q8_0, both,
             { "acc", APUS_F32, 2, { 1, 20 } }, { "bias", APUS_F32, 1, { 20 }, .fixed = true }),
        WITH("both on matrix cores", COOP_F16, 11, 6, 13, 40, APUS_F32, both,
             { "acc", APUS_F32, 2, { 6, 13 } }, { "bias", APUS_F32, 1, { 13 }, .fixed = true }),
        WITH("both on matrix cores, fours", COOP_F16, 11, 6, 12, 40, APUS_F32, both,
             { "acc", APUS_F32, 2, { 6, 12 } }, { "bias", APUS_F32, 1, { 12 }, .fixed = true }),
    };
    optest_run(alone, 1);
    optest_run_stored(alone, 1, 1);
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << 0 | 1u << 2);
}

/* ---- the sum in parts ---- */

#define BLOCKS                                                                                     \
    {                                                                                              \
        "matmul:plain", "matmul:cpu", "matmul:tile"                                                \
    }
#define PARTS(text, force_, bits, kind_, m, n, k, type, ...)                                       \
    {                                                                                              \
        .name = text, .force = force_, .narrow = bits,                                             \
        .params = &(const struct params) { .kind = kind_, __VA_ARGS__ },                           \
        SHAPES(kind_, m, n, k, type)                                                               \
    }

/* Parts of as many chunks, a last one that is shorter, fewer chunks than parts, and one chunk. */
TEST(sums_in_parts)
{
    static const struct params both = { .bias = true, .acc = true, .alpha = 0.5f, .parts = 3 };
    optest cases[] = {
        PARTS("two halves", BLOCKS, 0, APUS_NT, 37, 24, 128, APUS_F16, .parts = 2),
        PARTS("the last is short", BLOCKS, 0, APUS_NT, 19, 68, 200, APUS_F32, .parts = 3),
        PARTS("k of no whole chunks", BLOCKS, 0, APUS_NT, 33, 36, 104, APUS_BF16, .parts = 4),
        PARTS("more parts than chunks", BLOCKS, 0, APUS_NT, 5, 12, 40, APUS_F32, .parts = 8),
        PARTS("one chunk", BLOCKS, 0, APUS_NT, 9, 20, 16, APUS_F32, .parts = 4),
        PARTS("blocks of four bits", BLOCKS, 0, APUS_NT, 70, 40, 288, APUS_Q4_0, .parts = 4),
        PARTS("nn", BLOCKS, 0, APUS_NN, 21, 64, 96, APUS_Q8_0, .parts = 2, .alpha = 0.3f),
        PARTS("on matrix cores", COOP_F16, 11, APUS_NT, 70, 72, 256, APUS_F16, .parts = 3),
        PARTS("nn on matrix cores", COOP_BF16, 8, APUS_NN, 67, 64, 96, APUS_Q4_1, .parts = 3),
        WITH("bias, added, scaled", BLOCKS, 0, 6, 12, 100, APUS_F16, both,
             { "acc", APUS_F32, 2, { 6, 12 } }, { "bias", APUS_F32, 1, { 12 }, .fixed = true }),
        WITH("the same on matrix cores", COOP_F16, 11, 6, 12, 100, APUS_F32, both,
             { "acc", APUS_F32, 2, { 6, 12 } }, { "bias", APUS_F32, 1, { 12 }, .fixed = true }),
    };
    optest odd[] = {
        PARTS("on matrix cores, odd", COOP_F16, 11, APUS_NT, 35, 36, 101, APUS_F32, .parts = 2),
        PARTS("odd k", BLOCKS, 0, APUS_NT, 35, 36, 101, APUS_F32, .parts = 5),
    };

    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << 0 | 1u << 2);
    optest_run(odd, APUS_COUNT(odd));
}

/* ---- a second product ---- */

enum { IN_A2 = 2, IN_B2, IN_ACC };

struct second {
    apus_matmul_kind kind;
    float beta;
    bool acc;
    uint32_t parts;
};

static void build_second(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct second *p = t->params;

    outs[0] = apus_matmul(g, in[0], in[1],
                          &(apus_matmul_params) { .kind = p->kind,
                                                  .out = in[0]->dtype,
                                                  .a2 = in[IN_A2],
                                                  .b2 = in[IN_B2],
                                                  .beta = p->beta,
                                                  .parts = p->parts,
                                                  .acc = p->acc ? in[IN_ACC] : NULL });
}

/* Adds factor * a op(b) to element (m, n). */
static void add_product(const optest *t, const double *const *in, uint32_t a, bool nt,
                        double factor, uint32_t m, uint32_t n, double *sum, double *all)
{
    const uint32_t k = t->in[a].dims[1], cols = t->in[a + 1].dims[1];

    for (uint32_t x = 0; x < k; x++) {
        const double b = nt ? in[a + 1][n * k + x] : in[a + 1][x * cols + n];
        *sum += factor * in[a][m * k + x] * b;
        *all += fabs(factor * in[a][m * k + x] * b);
    }
}

static void define_second(const optest *t, const double *const *in, double **out, double **mag,
                          uint32_t *terms)
{
    const struct second *p = t->params;
    const bool nt = p->kind == APUS_NT;
    const uint32_t rows = t->in[0].dims[0], cols = t->in[1].dims[nt ? 0 : 1];

    for (uint32_t e = 0; e < rows * cols; e++) {
        out[0][e] = p->acc ? in[IN_ACC][e] : 0;
        mag[0][e] = fabs(out[0][e]);
        add_product(t, in, 0, nt, 1, e / cols, e % cols, &out[0][e], &mag[0][e]);
        add_product(t, in, IN_A2, nt, (double)p->beta, e / cols, e % cols, &out[0][e], &mag[0][e]);
    }
    *terms = t->in[0].dims[1] + t->in[IN_A2].dims[1] + 4 + p->parts;
}

#define SECOND(text, force_, bits, kind_, m, n, k, k2, type, ...)                                  \
    {                                                                                              \
        .name = text, .force = force_, .narrow = bits, .build = build_second,                      \
        .define = define_second, .out = { { "y" } },                                               \
        .params = &(const struct second) { kind_, __VA_ARGS__ }, .in = {                           \
            { "a", APUS_F32, 2, { m, k }, .fixed = true },                                         \
            { "b",                                                                                 \
              type,                                                                                \
              2,                                                                                   \
              { (kind_) == APUS_NT ? n : k, (kind_) == APUS_NT ? k : n },                          \
              .fixed = true },                                                                     \
            { "a2", APUS_F32, 2, { m, k2 }, .fixed = true },                                       \
            { "b2",                                                                                \
              APUS_F32,                                                                            \
              2,                                                                                   \
              { (kind_) == APUS_NT ? n : k2, (kind_) == APUS_NT ? k2 : n },                        \
              .fixed = true },                                                                     \
            { "acc", APUS_F32, 2, { m, n }, .fixed = true }                                        \
        }                                                                                          \
    }

TEST(second_product)
{
    optest cases[] = {
        SECOND("an adapter", EXACT, 0, APUS_NT, 37, 24, 64, 8, APUS_F16, .beta = 4),
        SECOND("rank 5, added", EXACT, 0, APUS_NT, 65, 12, 32, 5, APUS_Q8_0, .beta = -0.5f,
               .acc = true),
        SECOND("rank 1, one row", EXACT, 0, APUS_NT, 1, 20, 64, 1, APUS_F32, .beta = 2),
        SECOND("longer than the first", EXACT, 0, APUS_NT, 9, 12, 8, 40, APUS_F32, .beta = 1),
        SECOND("odd", EXACT, 0, APUS_NT, 19, 13, 24, 3, APUS_F32, .beta = 1, .acc = true),
        SECOND("nn", EXACT, 0, APUS_NN, 37, 64, 24, 8, APUS_Q4_1, .beta = 0.25f, .acc = true),
        SECOND("nn, rows of 32", EXACT, 0, APUS_NN, 37, 32, 20, 3, APUS_Q8_0, .beta = 2),
        SECOND("nn, rank 3", EXACT, 0, APUS_NN, 66, 36, 20, 3, APUS_F16, .beta = 1),
        SECOND("nn, odd", EXACT, 0, APUS_NN, 5, 7, 11, 2, APUS_F32, .beta = 1),
        SECOND("on matrix cores", COOP_F16, 11, APUS_NT, 67, 36, 40, 8, APUS_F16, .beta = 2,
               .acc = true),
        SECOND("whole chunks on matrix cores", COOP_F16, 11, APUS_NT, 67, 72, 64, 8, APUS_F16,
               .beta = 2),
        SECOND("in parts", BLOCKS, 0, APUS_NT, 37, 24, 64, 8, APUS_F16, .beta = 4, .acc = true,
               .parts = 3),
        SECOND("in parts on matrix cores", COOP_F16, 11, APUS_NT, 67, 36, 104, 8, APUS_F16,
               .beta = 2, .parts = 2),
        SECOND("nn on matrix cores", COOP_BF16, 8, APUS_NN, 35, 64, 24, 16, APUS_Q4_0, .beta = 1),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << 0 | 1u << IN_ACC);
}

TEST(second_products_of_other_shapes_are_refused)
{
    apus_graph g;

    if (!CHECK_OK(apus_graph_init(&g)))
        return;
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F32, 2, (uint32_t[]) { 9, 16 }, 256);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F32, 2, (uint32_t[]) { 12, 16 }, 2048);
    apus_tensor *h = apus_graph_bound(&g, "h", APUS_F32, 2, (uint32_t[]) { 9, 4 }, 4096);
    apus_tensor *up = apus_graph_bound(&g, "up", APUS_F32, 2, (uint32_t[]) { 4, 12 }, 8192);

    CHECK(!apus_matmul(&g, a, b, &(apus_matmul_params) { .kind = APUS_NT, .a2 = h, .b2 = up }));
    CHECK(g.status == APUS_ERR_SHAPE);
    g.status = APUS_OK;
    CHECK(!apus_matmul(&g, a, b, &(apus_matmul_params) { .kind = APUS_NT, .a2 = h }));
    CHECK(g.status == APUS_ERR_SHAPE);
    apus_graph_release(&g);
}

TEST(live_rows)
{
    optest cases[] = {
        CASE("live rows", APUS_NT, 64, 12, 32, APUS_Q8_0, 0),
        CASE("live rows, whole blocks dead", APUS_NT, 200, 40, 32, APUS_F32, 0),
        CASE("live rows of few", APUS_NT, 8, 12, 32, APUS_Q4_0, 0),
        CASE("the only row is not live", APUS_NT, 1, 12, 32, APUS_Q4_0, 0),
        CASE("live rows nn", APUS_NN, 200, 36, 8, APUS_F32, 0),
        CASE("live sum", APUS_TN, 16, 12, 64, APUS_F32, 0),
        CASE("no live sum", APUS_TN, 16, 12, 64, APUS_F32, 0),
        NARROW("live rows on matrix cores", 11, COOP_F16, APUS_NT, 200, 40, 32, APUS_F32, 0),
        NARROW("live sum on matrix cores", 11, COOP_F16, APUS_TN, 16, 12, 64, APUS_F32, 0),
        CASE("live rows in parts", APUS_NT, 200, 12, 128, APUS_F16, .parts = 3),
        CASE("no live rows in parts", APUS_NT, 64, 12, 128, APUS_F16, .parts = 3),
        NARROW("live rows in parts on matrix cores", 11, COOP_F16, APUS_NT, 200, 36, 128, APUS_F32,
               .parts = 2),
        CASE("live rows nn, rows of 32", APUS_NN, 70, 64, 8, APUS_F32, 0),
        CASE("live sum, rows of 32", APUS_TN, 16, 32, 64, APUS_F32, 0),
        CASE("short live sum, rows of 32", APUS_TN, 16, 32, 64, APUS_F32, 0),
        CASE("no live sum, rows of 32", APUS_TN, 16, 32, 64, APUS_F32, 0),
    };
    const uint32_t live[] = { 37, 61, 5, 0, 64, 37, 0, 61, 37, 61, 0, 61, 37, 61, 3, 0 };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].in[0].rows = (apus_rows) { APUS_VAR_TOKENS, 0, cases[i].in[0].dims[0], 1 };
        cases[i].vars[APUS_VAR_TOKENS] = live[i];
    }
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}
