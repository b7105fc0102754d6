/* matmul_group.c - tests of apus_matmul_group: several matrices, formats, a norm, adapters, a gate,
 * with every algorithm that takes a group. */
#include "matmul_group.h"

#include "args/lora.h"
#include "gates.h"
#include "optest.h"

enum {
    IN_X,
    IN_NORM,
    IN_B,
    IN_BIAS = IN_B + APUS_GROUP_MOST,
    IN_ACC,
    IN_TABLE,
    IN_INDEX,
    IN_DOWN,
    IN_UP
};

#define SLOTS 2 /* of the table; rows of slot 2 have no adapter */
#define RANK 11
#define TABLE_WORDS (APUS_GROUP_MOST * SLOTS * sizeof(struct apus_lora_entry) / 4)

struct params {
    uint32_t n;
    bool norm;
    uint32_t gate;
    bool extras;  /* a bias of the first result, something added to the second */
    bool adapted; /* all but the second, or both of a gate, have adapters */
};

static const float eps = 0.01f;
static uint32_t slots[8];

/* The second slot's adapters have fewer ranks. */
static uint32_t rank_of(uint32_t slot)
{
    return slot ? RANK - 4 : RANK;
}

static float scale_of(uint32_t module, uint32_t slot)
{
    return (slot ? -0.25f : 0.5f) * (float)(module + 1);
}

static bool is_adapted(const struct params *p, uint32_t i)
{
    return p->adapted && (i != 1 || p->gate);
}

static void fill(optest *t)
{
    for (uint32_t r = 0; r < t->in[IN_X].dims[0]; r++)
        slots[r] = (r + 1) % 3; /* the second, none, the first, .. */
    t->in[IN_INDEX].u32 = slots;
}

/* All modules read the same matrices, each with a scale of its own. */
static void fill_table(const optest *t, apus_tensor *const *in, uint8_t *const *bytes)
{
    (void)t;
    for (uint32_t i = 0; i < APUS_GROUP_MOST; i++)
        for (uint32_t s = 0; s < SLOTS; s++) {
            const struct apus_lora_entry e = { .a = in[IN_DOWN]->at,
                                               .b = in[IN_UP]->at,
                                               .scale = scale_of(i, s),
                                               .rank = rank_of(s) };
            memcpy(bytes[IN_TABLE] + (i * SLOTS + s) * sizeof(e), &e, sizeof(e));
        }
}

static apus_matmul_group_params params_of(const optest *t, apus_tensor *const *in)
{
    const struct params *p = t->params;
    apus_matmul_group_params g = { .n = p->n,
                                   .gate = p->gate,
                                   .norm = p->norm ? in[IN_NORM] : NULL,
                                   .eps = eps,
                                   .out = in[IN_X]->dtype };

    for (uint32_t i = 0; i < p->n; i++) {
        g.member[i].b = in[IN_B + i];
        g.member[i].adapted = is_adapted(p, i);
        g.member[i].module = i;
    }
    if (p->adapted)
        g.lora = (apus_lora_params) {
            .table = in[IN_TABLE], .index = in[IN_INDEX], .slots = SLOTS, .rank = RANK
        };
    g.member[0].bias = p->extras ? in[IN_BIAS] : NULL;
    g.member[1].acc = p->extras ? in[IN_ACC] : NULL;
    return g;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const apus_matmul_group_params p = params_of(t, in);
    apus_tensor *made[APUS_GROUP_MOST];

    apus_matmul_group(g, in[IN_X], &p, made);
    for (uint32_t i = 0; i < t->n_out; i++)
        outs[i] = made[i];
}

/* Element (m, n) of the product with matrix i, of x normalized where that is asked for. */
static double product(const optest *t, const double *const *in, uint32_t i, uint32_t m, uint32_t n,
                      double *size)
{
    const struct params *p = t->params;
    const uint32_t k = t->in[IN_X].dims[1];
    const double *x = in[IN_X] + (size_t)m * k, *b = in[IN_B + i] + (size_t)n * k;
    double squares = 0, sum = 0, all = 0;

    for (uint32_t c = 0; c < k; c++)
        squares += x[c] * x[c];
    const double scale = p->norm ? 1 / sqrt(squares / k + (double)eps) : 1;
    for (uint32_t c = 0; c < k; c++) {
        const double term = scale * x[c] * (p->norm ? in[IN_NORM][c] : 1) * b[c];
        sum += term;
        all += fabs(term);
    }
    const uint32_t slot = slots[m], rank = rank_of(slot);
    for (uint32_t r = 0; r < (is_adapted(p, i) && slot < SLOTS ? rank : 0); r++) {
        const double up = (double)scale_of(i, slot) * in[IN_UP][n * rank + r];
        for (uint32_t c = 0; c < k; c++) {
            const double term =
                scale * x[c] * (p->norm ? in[IN_NORM][c] : 1) * in[IN_DOWN][r * k + c] * up;
            sum += term;
            all += fabs(term);
        }
    }
    *size = all;
    return sum;
}

/* Errors of both factors together are below 2^-12 of either. */
static double gated(const optest *t, const double *const *in, uint32_t m, uint32_t n, double *size)
{
    double gate_size, up_size;
    const double gate = product(t, in, 0, m, n, &gate_size), up = product(t, in, 1, m, n, &up_size),
                 act = gate * gate_share(((const struct params *)t->params)->gate, gate);

    *size =
        GATE_STEEPEST * fabs(up) * gate_size + fabs(act) * up_size + gate_size * up_size * 0x1p-12;
    return act * up;
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;
    const uint32_t rows = t->in[IN_X].dims[0], k = t->in[IN_X].dims[1];

    for (uint32_t i = 0; i < t->n_out; i++) {
        const uint32_t cols = t->in[IN_B + i].dims[0];
        for (uint32_t e = 0; e < rows * cols; e++) {
            if (p->gate) {
                out[i][e] = gated(t, in, e / cols, e % cols, &mag[i][e]);
                continue;
            }
            out[i][e] = product(t, in, i, e / cols, e % cols, &mag[i][e]);
            const double more = !p->extras ? 0
                                : i == 0   ? in[IN_BIAS][e % cols]
                                : i == 1   ? in[IN_ACC][e]
                                           : 0;
            out[i][e] += more;
            mag[i][e] += fabs(more);
        }
    }
    *terms = (p->norm ? 2 * k : k) + (p->adapted ? RANK + 2 : 0) + 6;
}

static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t e)
{
    const struct params *p = t->params;
    const uint32_t cols = t->in[IN_B].dims[0];
    double size;

    (void)o;
    if (!p->gate)
        return 0;
    const double gate = product(t, in, 0, (uint32_t)(e / cols), (uint32_t)(e % cols), &size),
                 up = product(t, in, 1, (uint32_t)(e / cols), (uint32_t)(e % cols), &size),
                 s = gate_share(p->gate, gate);
    return fabs(gate * s * up) * gate_error(p->gate, gate) + fabs(gate * up) * (0x1p-126 + 0x1p-52);
}

#define X_ACC (1u << IN_X | 1u << IN_ACC) /* what is stored as activations are */
#define MATRIX(n, k, type)                                                                         \
    {                                                                                              \
        "b", type, 2, { n, k }, .fixed = true                                                      \
    }
/* M rows of K against matrices of n0, n1 and n2 rows. */
#define CASE(text, m, k, n0, t0, n1, t1, n2, t2, outs, ...)                                        \
    {                                                                                              \
        .name = text, .force = { "matmul:vec", "matmul:vec_cpu", "matmul:dot_cpu" },               \
        .picky = true, .fill = fill, .link = fill_table, .build = build, .define = define,         \
        .extra = extra, .out = { outs },                                                           \
        .in = { { "x", APUS_F32, 2, { m, k }, .fixed = true },                                     \
                { "norm", APUS_F32, 1, { k }, .fixed = true },                                     \
                MATRIX(n0, k, t0),                                                                 \
                MATRIX(n1, k, t1),                                                                 \
                MATRIX(n2, k, t2),                                                                 \
                { "bias", APUS_F32, 1, { n0 }, .fixed = true },                                    \
                { "acc", APUS_F32, 2, { m, n1 }, .fixed = true },                                  \
                { "table", APUS_U32, 1, { TABLE_WORDS } },                                         \
                { "index", APUS_U32, 1, { m }, .step = true },                                     \
                { "down", APUS_F32, 2, { RANK, k }, .fixed = true },                               \
                { "up", APUS_F32, 2, { 80, RANK }, .fixed = true } },                              \
        .params = &(const struct params)                                                           \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ONE                                                                                        \
    {                                                                                              \
        "y"                                                                                        \
    }
#define TWO                                                                                        \
    ONE,                                                                                           \
    {                                                                                              \
        "y1"                                                                                       \
    }
#define THREE                                                                                      \
    TWO,                                                                                           \
    {                                                                                              \
        "y2"                                                                                       \
    }

#define F32 APUS_F32
#define F16 APUS_F16

TEST(several_matrices)
{
    optest cases[] = {
        CASE("q, k, v", 1, 576, 72, F16, 24, F16, 24, F16, THREE, .n = 3),
        CASE("odd rows, bias, something added", 1, 64, 41, F32, 7, F32, 3, F32, THREE, .n = 3,
             .extras = true),
        CASE("two of three formats", 1, 256, 20, APUS_Q4_K, 12, APUS_Q6_K, 16, APUS_Q4_K, THREE,
             .n = 3),
        CASE("two rows", 2, 96, 20, APUS_Q8_0, 9, APUS_Q8_0, 8, F32, TWO, .n = 2),
        CASE("eight rows, three formats", 8, 64, 12, APUS_Q4_0, 8, APUS_Q8_0, 4, APUS_Q4_1, THREE,
             .n = 3, .extras = true),
        CASE("a group of one", 1, 160, 19, APUS_Q5_0, 8, F32, 8, F32, ONE, .n = 1),
        CASE("fours", 3, 288, 20, APUS_Q5_1, 8, APUS_Q5_1, 4, APUS_Q5_1, THREE, .n = 3),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), X_ACC);
}

TEST(live_rows)
{
    optest cases[] = {
        CASE("few of eight", 8, 64, 20, F16, 8, F16, 4, F16, THREE, .n = 3, .extras = true),
        CASE("gated, normalized", 4, 64, 20, APUS_Q8_0, 20, APUS_Q8_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU, .norm = true),
        CASE("with adapters", 6, 96, 20, F32, 8, F32, 4, F32, THREE, .n = 3, .adapted = true),
        CASE("the only row is not live", 1, 64, 12, F32, 8, F32, 4, F32, TWO, .n = 2),
    };
    const uint32_t live[] = { 5, 3, 2, 0 };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].in[IN_X].rows = (apus_rows) { APUS_VAR_TOKENS, 0, cases[i].in[IN_X].dims[0], 1 };
        cases[i].vars[APUS_VAR_TOKENS] = live[i];
    }
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), X_ACC);
}

TEST(normalized_on_the_way)
{
    optest cases[] = {
        CASE("a model's width", 1, 576, 40, F16, 24, F16, 24, F16, THREE, .n = 3, .norm = true),
        CASE("odd rows, bias", 1, 96, 41, F32, 7, F32, 8, F32, TWO, .n = 2, .norm = true,
             .extras = true),
        CASE("formats", 1, 512, 20, APUS_Q4_K, 12, APUS_Q6_K, 16, APUS_Q8_0, THREE, .n = 3,
             .norm = true),
        CASE("rows of their own scale", 5, 64, 12, APUS_Q8_0, 8, APUS_Q8_0, 8, F32, TWO, .n = 2,
             .norm = true),
        CASE("one matrix", 1, 64, 16, APUS_Q4_1, 8, F32, 8, F32, ONE, .n = 1, .norm = true),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), X_ACC);
}

TEST(gated)
{
    optest cases[] = {
        CASE("gate and up", 1, 64, 40, F16, 40, F16, 8, F32, ONE, .n = 2, .gate = APUS_GATE_SILU),
        CASE("odd rows", 1, 96, 41, F32, 41, F32, 8, F32, ONE, .n = 2, .gate = APUS_GATE_SILU),
        CASE("normalized", 1, 576, 48, APUS_Q8_0, 48, APUS_Q8_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU, .norm = true),
        CASE("two rows, normalized", 2, 64, 20, APUS_Q4_0, 20, APUS_Q4_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU, .norm = true),
        CASE("by gelu", 1, 96, 41, F32, 41, F32, 8, F32, ONE, .n = 2, .gate = APUS_GATE_GELU),
        CASE("by gelu, four rows", 4, 96, 40, APUS_Q8_0, 40, APUS_Q8_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_GELU),
        CASE("four rows", 4, 256, 12, APUS_Q4_K, 12, APUS_Q4_K, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), X_ACC);
}

TEST(with_adapters)
{
    optest cases[] = {
        CASE("q, k, v", 1, 64, 40, F16, 24, F16, 12, F16, THREE, .n = 3, .adapted = true),
        CASE("rows of other adapters, bias", 8, 96, 41, F32, 7, F32, 9, F32, THREE, .n = 3,
             .adapted = true, .extras = true),
        CASE("normalized, formats", 1, 256, 20, APUS_Q4_K, 12, APUS_Q6_K, 16, APUS_Q8_0, THREE,
             .n = 3, .adapted = true, .norm = true),
        CASE("gated", 1, 64, 40, APUS_Q8_0, 40, APUS_Q8_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU, .adapted = true),
        CASE("gated, normalized, rows", 4, 64, 20, APUS_Q4_0, 20, APUS_Q4_0, 8, F32, ONE, .n = 2,
             .gate = APUS_GATE_SILU, .norm = true, .adapted = true),
        CASE("one matrix", 3, 64, 16, F16, 8, F32, 8, F32, ONE, .n = 1, .adapted = true),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), X_ACC);
}

static void refused(const apus_matmul_group_params *p, apus_tensor *x, apus_graph *g)
{
    apus_tensor *out[APUS_GROUP_MOST];

    CHECK(!apus_matmul_group(g, x, p, out) && !out[0]);
    CHECK(g->status == APUS_ERR_SHAPE);
    g->status = APUS_OK;
}

TEST(shapes_are_checked)
{
    apus_graph g;

    if (!CHECK_OK(apus_graph_init(&g)))
        return;
    apus_tensor *x = apus_graph_bound(&g, "x", F32, 2, (uint32_t[]) { 1, 64 }, 256);
    apus_tensor *b = apus_graph_bound(&g, "b", F16, 2, (uint32_t[]) { 8, 64 }, 512);
    apus_tensor *half = apus_graph_bound(&g, "half", F16, 2, (uint32_t[]) { 8, 32 }, 1024);
    apus_tensor *bytes = apus_graph_bound(&g, "bytes", APUS_Q8_0, 2, (uint32_t[]) { 8, 64 }, 2048);
    apus_tensor *bias = apus_graph_bound(&g, "bias", F32, 1, (uint32_t[]) { 8 }, 4096);

    refused(&(apus_matmul_group_params) { .n = 0 }, x, &g);
    refused(&(apus_matmul_group_params) { .n = 2, .member = { { b }, { half } } }, x, &g);
    refused(&(apus_matmul_group_params) { .n = 2,
                                          .member = { { b }, { bytes } },
                                          .gate = APUS_GATE_SILU },
            x, &g);
    refused(&(apus_matmul_group_params) { .n = 2,
                                          .member = { { b, bias }, { b } },
                                          .gate = APUS_GATE_SILU },
            x, &g);
    refused(&(apus_matmul_group_params) { .n = 1, .member = { { b } }, .norm = bias }, x, &g);
    refused(&(apus_matmul_group_params) { .n = 1, .member = { { .b = b, .adapted = true } } }, x,
            &g);
    apus_graph_release(&g);
}
