/* embed_back.c - tests of apus_embed_back: rows are added to what the buffer holds, each id
 * once. */
#include "embed_back.h"

#include <math.h>

#include "optest.h"

enum { DY, UNIQUE, STARTS, ORDER, INTO };

/* 130 rows; row r has id r * r % 23, so that ids repeat 5 to 12 times.  Id 18 is past the table
 * and is dropped. */
#define ROWS 130
#define VOCAB 17
static uint32_t unique[ROWS], starts[ROWS + 1], order[ROWS];

static uint32_t id_of(uint32_t row)
{
    return row * row % 23;
}

static void fill(optest *t)
{
    uint32_t n = 0, at = 0;

    for (uint32_t id = 0; id < 23; id++) {
        const uint32_t before = at;
        for (uint32_t r = 0; r < ROWS; r++)
            if (id_of(r) == id)
                order[at++] = r;
        if (at == before)
            continue;
        unique[n] = id;
        starts[n++] = before;
    }
    starts[n] = at;
    t->vars[APUS_VAR_UNIQUE] = n;
    t->in[UNIQUE].u32 = unique;
    t->in[STARTS].u32 = starts;
    t->in[ORDER].u32 = order;
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    apus_embed_back(g, in[DY], &(apus_embed_order) { in[UNIQUE], in[STARTS], in[ORDER] }, in[INTO]);
    outs[0] = in[INTO];
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint32_t cols = t->in[DY].dims[1];
    uint32_t rows_of[23] = { 0 };

    for (uint32_t i = 0; i < VOCAB * cols; i++) {
        out[0][i] = in[INTO][i];
        mag[0][i] = fabs(in[INTO][i]);
    }
    *terms = 1;
    for (uint32_t r = 0; r < ROWS; r++) {
        const uint32_t id = id_of(r);
        if (++rows_of[id] >= *terms)
            *terms = rows_of[id] + 1;
        for (uint32_t c = 0; c < cols && id < VOCAB; c++) {
            out[0][id * cols + c] += in[DY][r * cols + c];
            mag[0][id * cols + c] += fabs(in[DY][r * cols + c]);
        }
    }
    for (uint32_t i = 0; i < VOCAB * cols; i++)
        if (rows_of[i / cols] == 0)
            mag[0][i] = 0; /* rows that no id names stay as they were, bit for bit */
}

#define CASE(text, d)                                                                              \
    {                                                                                              \
        .name = text, .fill = fill, .build = build, .define = define, .out = { { "into" } },       \
        .in = {                                                                                    \
            { "dy", APUS_F32, 2, { ROWS, d }, .fixed = true },                                     \
            { "unique", APUS_U32, 1, { ROWS }, .step = true },                                     \
            { "starts", APUS_U32, 1, { ROWS + 1 }, .step = true },                                 \
            { "order", APUS_U32, 1, { ROWS }, .step = true },                                      \
            { "into", APUS_F32, 2, { VOCAB, d }, .fixed = true }                                   \
        }                                                                                          \
    }

TEST(rows_of_an_id_are_summed)
{
    static optest cases[] = { CASE("four columns", 4), CASE("one more than a workgroup", 68),
                              CASE("a model's width", 576) };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1u << DY);
}
