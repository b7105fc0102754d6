/* lora.c - tests of apus_lora: tables of adapters with empty slots and several ranks, rows of
 * different adapters in one tile; the gradients of training, with dropout too. */
#include "lora.h"

#include <math.h>

#include "args/lora.h"
#include "optest.h"
#include "rng.h"

enum { X, Y, TABLE, INDEX, A0, B0 }; /* then a1, b1, a2, b2 */
enum { ROW_ID = B0 + 1, POS };       /* or these, in training */

#define SLOTS 4
#define MODULES 2
#define MODULE 1
#define NAME 77
#define TABLE_WORDS (MODULES * SLOTS * sizeof(struct apus_lora_entry) / 4)

typedef enum rows_kind { MIXED, TILES, ALL_FIRST } rows_kind;

struct params {
    uint32_t ranks[3]; /* of slots 0, 1, 2; slot 3 is empty */
    uint32_t rank;     /* columns of h */
    rows_kind rows;    /* each row another slot than the last; 16 rows a slot; all slot 0 */
    float p;           /* training: dropout */
};

static const float scales[3] = { 0.5f, 2, -1.25f };
static uint32_t slots[64], row_id[64], pos[64];

static uint32_t slot_of(const struct params *p, uint32_t row)
{
    static const uint32_t mixed[] = { 0, 1, 2, 3, 1, 7, 0xffffffff, 2 };

    if (p->rows == ALL_FIRST)
        return 0;
    return mixed[(p->rows == MIXED ? row : row / 16) % 8];
}

static void fill(optest *t)
{
    for (uint32_t r = 0; r < t->in[X].dims[0]; r++) {
        slots[r] = slot_of(t->params, r);
        row_id[r] = 9 + r / 5;
        pos[r] = r % 5;
    }
    t->in[INDEX].u32 = slots;
    if (t->in[B0].trained) {
        t->in[ROW_ID].u32 = row_id;
        t->in[POS].u32 = pos;
    }
}

static void fill_table(const optest *t, apus_tensor *const *in, uint8_t *const *bytes)
{
    const struct params *p = t->params;

    for (uint32_t s = 0; s < 3 && p->ranks[s]; s++) {
        const struct apus_lora_entry e = { .a = in[A0 + 2 * s]->at,
                                           .b = in[B0 + 2 * s]->at,
                                           .scale = scales[s],
                                           .rank = p->ranks[s] };
        memcpy(bytes[TABLE] + (MODULE * SLOTS + s) * sizeof(e), &e, sizeof(e));
    }
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const struct params *p = t->params;
    apus_lora_params lora = {
        .table = in[TABLE], .index = in[INDEX], .module = MODULE, .slots = SLOTS, .rank = p->rank
    };

    if (t->in[B0].trained) {
        lora.a = in[A0];
        lora.b = in[B0];
        lora.scale = scales[0];
        lora.p = p->p;
        lora.row_id = in[ROW_ID];
        lora.pos = in[POS];
        lora.name = NAME;
    }
    outs[0] = apus_lora(g, in[X], in[Y], &lora);
}

/* x[r,c] after dropout. */
static double dropped(const optest *t, const double *const *in, uint32_t r, uint32_t c)
{
    const struct params *p = t->params;
    const uint32_t key[2] = { t->vars[APUS_VAR_SEED], t->vars[APUS_VAR_STEP] };
    const uint32_t counter[4] = { c / 4, pos[r], row_id[r], NAME };
    const double x = in[X][r * t->in[X].dims[1] + c];
    uint32_t bits[4];

    if (p->p == 0)
        return x;
    apus_philox(key, counter, bits);
    return apus_uniform_f32(bits[c % 4]) >= p->p ? x / (1 - (double)p->p) : 0;
}

static void define_row(const optest *t, const double *const *in, uint32_t r, double *y, double *mag)
{
    const struct params *p = t->params;
    const uint32_t k = t->in[X].dims[1], n = t->in[Y].dims[1], s = slot_of(p, r);
    const uint32_t rank = s < 3 ? p->ranks[s] : 0;
    double h[64] = { 0 }, size[64] = { 0 };

    for (uint32_t i = 0; i < rank; i++)
        for (uint32_t c = 0; c < k; c++) {
            const double term = dropped(t, in, r, c) * in[A0 + 2 * s][i * k + c];
            h[i] += term;
            size[i] += fabs(term);
        }
    for (uint32_t c = 0; c < n; c++) {
        y[c] = in[Y][r * n + c];
        mag[c] = fabs(y[c]);
        for (uint32_t i = 0; i < rank; i++) {
            const double b = (double)scales[s] * in[B0 + 2 * s][c * rank + i];
            y[c] += h[i] * b;
            mag[c] += fabs(size[i] * b);
        }
    }
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t n = t->in[Y].dims[1];

    for (uint32_t r = 0; r < t->in[X].dims[0]; r++)
        define_row(t, in, r, out[0] + r * n, mag[0] + r * n);
    /* Two sums, the scale, and 1 / (1 - p): a division of 2.5 ulp. */
    *terms = t->in[X].dims[1] + ((const struct params *)t->params)->rank + 8;
}

#define SHARED(text, r0, r1, r2, most, rows_, p_)                                                  \
    .name = text, .fill = fill, .link = fill_table, .build = build, .define = define,              \
    .out = { { "y" } }, .params = &(const struct params) { { r0, r1, r2 }, most, rows_, p_ },      \
    .vars = { [APUS_VAR_SEED] = 5, [APUS_VAR_STEP] = 2, [APUS_VAR_TOKENS] = 19 },                  \
    .inner = (p_) > 0 /* x after dropout */

#define SERVE(text, t, k, n, r0, r1, r2, most, rows_)                                              \
    {                                                                                              \
        SHARED(text, r0, r1, r2, most, rows_, 0), .in = {                                          \
            { "x", APUS_F32, 2, { t, k }, .fixed = true },                                         \
            { "y", APUS_F32, 2, { t, n }, .fixed = true },                                         \
            { "table", APUS_U32, 1, { TABLE_WORDS } },                                             \
            { "index", APUS_U32, 1, { t }, .step = true },                                         \
            { "a0", APUS_F32, 2, { r0, k }, .fixed = true },                                       \
            { "b0", APUS_F32, 2, { n, r0 }, .fixed = true },                                       \
            { "a1", APUS_F32, 2, { r1, k }, .fixed = true },                                       \
            { "b1", APUS_F32, 2, { n, r1 }, .fixed = true },                                       \
            { "a2", APUS_F32, 2, { r2, k }, .fixed = true },                                       \
            { "b2", APUS_F32, 2, { n, r2 }, .fixed = true }                                        \
        }                                                                                          \
    }

static const apus_rows live = { APUS_VAR_TOKENS, 0, 40, 1 };

TEST(tables_of_adapters)
{
    optest cases[] = {
        SERVE("live rows", 40, 16, 24, 3, 8, 33, 33, MIXED),
        SERVE("live rows of one adapter", 40, 16, 24, 3, 8, 33, 33, ALL_FIRST),
        SERVE("one row", 1, 8, 5, 2, 3, 4, 4, ALL_FIRST),
        SERVE("decode of a few rows", 5, 24, 40, 8, 3, 16, 16, MIXED),
        SERVE("one adapter, one more than a tile", 17, 24, 40, 8, 3, 16, 16, ALL_FIRST),
        SERVE("one adapter, its rank below the largest", 33, 16, 24, 3, 8, 33, 33, ALL_FIRST),
        SERVE("rows of all adapters in a tile", 40, 16, 24, 3, 8, 33, 33, MIXED),
        SERVE("tiles of one adapter each", 64, 16, 24, 3, 8, 33, 33, TILES),
        SERVE("a model's width", 33, 576, 192, 8, 8, 8, 8, TILES),
    };
    for (size_t i = 0; i < 2; i++)
        cases[i].in[X].rows = cases[i].in[Y].rows = live;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << X | 1u << Y);
}

#define TRAIN(text, t, k, n, r, p_)                                                                \
    {                                                                                              \
        SHARED(text, r, 0, 0, r, ALL_FIRST, p_), .in = {                                           \
            { "x", APUS_F32, 2, { t, k } },                                                        \
            { "y", APUS_F32, 2, { t, n } },                                                        \
            { "table", APUS_U32, 1, { TABLE_WORDS } },                                             \
            { "index", APUS_U32, 1, { t }, .step = true },                                         \
            { "a", APUS_F32, 2, { r, k }, .trained = true },                                       \
            { "b", APUS_F32, 2, { n, r }, .trained = true },                                       \
            { "row_id", APUS_U32, 1, { t }, .step = true },                                        \
            { "pos", APUS_U32, 1, { t }, .step = true }                                            \
        }                                                                                          \
    }

TEST(gradients_of_training)
{
    optest cases[] = {
        TRAIN("live rows", 40, 16, 12, 4, 0),
        TRAIN("live rows, dropout", 40, 16, 12, 4, 0.25f),
        TRAIN("one row", 1, 8, 5, 2, 0),
        TRAIN("nothing divides", 19, 12, 7, 3, 0),
        TRAIN("a usual rank", 33, 64, 48, 8, 0),
        TRAIN("dropout", 19, 12, 7, 3, 0.25f),
        TRAIN("dropout, a usual rank", 33, 64, 48, 8, 0.05f),
    };
    for (size_t i = 0; i < 2; i++)
        cases[i].in[X].rows = cases[i].in[Y].rows = live;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << X | 1u << Y);
}

/* An adapter whose tensors do not fit its module is refused when the graph is built. */
TEST(adapters_that_do_not_fit)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, (uint32_t[]) { 5, 8 }, 4096);
    apus_tensor *y = apus_graph_bound(&g, "y", APUS_F32, 2, (uint32_t[]) { 5, 6 }, 8192);
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F32, 2, (uint32_t[]) { 3, 8 }, 12288);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F32, 2, (uint32_t[]) { 6, 4 }, 16384);
    apus_tensor *table = apus_graph_bound(&g, "table", APUS_U32, 1, (uint32_t[]) { 8 }, 20480);
    apus_tensor *index = apus_graph_step(&g, "index", APUS_U32, 5, APUS_ROWS_ALL);
    const apus_lora_params p = {
        .table = table, .index = index, .slots = 1, .rank = 3, .a = a, .b = b
    };

    CHECK(!apus_lora(&g, x, y, &p));
    CHECK_FAILS(apus_graph_status(&g), APUS_ERR_SHAPE, "adapter");
    apus_graph_release(&g);
}
