/* cross_entropy.c - tests of apus_cross_entropy: loss, count of right answers, gradient in
 * place. */
#include "cross_entropy.h"

#include <math.h>

#include "args/train_state.h"
#include "optest.h"

enum { LOGITS, LABELS, WEIGHTS, STATE };

static uint32_t labels[64];
static double errors[2][300000]; /* of output o's element: what the functions' precision allows */
static bool gradient = true, no_gradient = false;

static uint32_t live_rows(const optest *t)
{
    const apus_rows *rows = &t->in[LOGITS].rows;
    uint32_t n;

    if (!rows->max)
        return t->in[LOGITS].dims[0];
    n = t->vars[rows->var] > rows->skip ? t->vars[rows->var] - rows->skip : 0;
    return n < rows->max ? n : rows->max;
}

static double loss_scale(const optest *t)
{
    float f;

    memcpy(&f, &t->vars[APUS_VAR_LOSS_SCALE], 4);
    return (double)f;
}

/* The label of row r: the first and last ids, ids past the vocabulary; a most likely id that is
 * alone, the first of two (right) or the second of two (wrong); else any. */
static uint32_t make_label(uint32_t r, double *z, uint32_t vocab, double most, uint64_t *state)
{
    const uint32_t any = (uint32_t)((optest_random(state) + 1) / 2 * vocab);

    if (r % 8 == 4)
        z[any] = most;
    if (r % 8 == 5 || r % 8 == 6)
        z[vocab / 3] = z[vocab - 1] = most;
    const uint32_t labels_of[8] = { 0,   vocab - 1, vocab + r, 0xffffffff,
                                    any, vocab / 3, vocab - 1, any };
    return labels_of[r % 8];
}

static void fill(optest *t)
{
    const uint32_t rows = t->in[LOGITS].dims[0], vocab = t->in[LOGITS].dims[1];
    const double scale = (double)t->in[LOGITS].scale;
    double *z = apus_calloc((uint64_t)rows * vocab, sizeof(double));
    const float loss = 0.37f;
    uint64_t state = 17;

    for (uint64_t i = 0; i < (uint64_t)rows * vocab; i++)
        z[i] = (double)(float)(optest_random(&state) * scale);
    for (uint32_t r = 0; r < rows; r++)
        labels[r] = make_label(r, z + (uint64_t)r * vocab, vocab, scale + 1, &state);
    t->in[LOGITS].value = z;
    t->in[LABELS].u32 = labels;
    memcpy(&t->vars[APUS_VAR_LOSS_SCALE], &loss, 4);
}

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    outs[0] =
        apus_cross_entropy(g, in[LOGITS],
                           &(apus_cross_entropy_params) { .labels = in[LABELS],
                                                          .weights = in[WEIGHTS],
                                                          .state = in[STATE],
                                                          .gradient = *(const bool *)t->params });
    outs[1] = in[STATE];
}

static void define_row(const optest *t, const double *const *in, uint32_t r, double **out,
                       double **mag)
{
    const uint32_t vocab = t->in[LOGITS].dims[1], label = labels[r];
    const double *z = in[LOGITS] + (uint64_t)r * vocab, weight = in[WEIGHTS][r];
    const double scale = label < vocab ? weight * loss_scale(t) : 0;
    double top = -INFINITY, total = 0, off = 0;
    uint32_t best = 0;

    for (uint32_t v = 0; v < vocab; v++)
        if (z[v] > top)
            top = z[best = v];
    for (uint32_t v = 0; v < vocab; v++) {
        total += exp(z[v] - top);
        off += exp(z[v] - top) * (3 + 2.5 * (top - z[v]));
    }
    /* exp(x) is off by 3 + 2|x| ulp and x by |x|/2 ulp; a sum of n by n/2 ulp. */
    off = (off / total + vocab / 2.0) * 0x1p-23;
    if (label < vocab) {
        const double nll = log(total) - (z[label] - top);
        out[1][APUS_STATE_LOSS] += weight * nll;
        mag[1][APUS_STATE_LOSS] += fabs(weight * nll);
        /* log is off by 3 ulp, in [0.5, 2] by 2^-21; the two differences by half an ulp each. */
        errors[1][APUS_STATE_LOSS] += fabs(weight) * (off + 3 * 0x1p-23 * log(total) + 0x1p-21 +
                                                      0x1p-24 * (top - z[label] + nll));
    }
    out[1][APUS_STATE_CORRECT] += best == label;
    out[1][APUS_STATE_TOKENS] += 1;
    if (!*(const bool *)t->params)
        return;
    for (uint32_t v = 0; v < vocab; v++) {
        const double p = exp(z[v] - top) / total;
        const uint64_t e = (uint64_t)r * vocab + v;
        out[0][e] = scale * (p - (v == label));
        mag[0][e] = fabs(scale) * (p + (v == label));
        /* exp as above; the total; a division of 2.5 ulp; what is below 2^-126 may be 0. */
        errors[0][e] =
            fabs(scale) * p * (off + (3 + 2.5 * (top - z[v]) + 2.5) * 0x1p-23) + 0x1p-126;
    }
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const uint64_t n = (uint64_t)t->in[LOGITS].dims[0] * t->in[LOGITS].dims[1];

    memset(errors, 0, sizeof(errors));
    memcpy(out[0], in[LOGITS], n * sizeof(double));
    for (uint32_t i = 0; i < APUS_STATE_WORDS; i++) {
        out[1][i] = in[STATE][i];
        mag[1][i] = i <= APUS_STATE_TOKENS ? fabs(in[STATE][i]) : 0;
    }
    for (uint32_t r = 0; r < live_rows(t); r++)
        define_row(t, in, r, out, mag);
    mag[1][APUS_STATE_CORRECT] += out[1][APUS_STATE_CORRECT];
    mag[1][APUS_STATE_TOKENS] += out[1][APUS_STATE_TOKENS];
    *terms = 1 + live_rows(t);
}

static double extra(const optest *t, const double *const *in, uint32_t o, uint64_t e)
{
    (void)t;
    (void)in;
    return errors[o][e];
}

#define CASE(text, wanted, r, v, size, ...)                                                        \
    {                                                                                              \
        .name = text, .params = &wanted, .fill = fill, .build = build, .define = define,           \
        .extra = extra, .out = { { "gradient" }, { "state" } }, .in = {                            \
            { "logits", APUS_F32, 2, { r, v }, .fixed = true, .scale = size, __VA_ARGS__ },        \
            { "labels", APUS_U32, 1, { r }, .step = true },                                        \
            { "weights", APUS_F32, 1, { r }, .step = true },                                       \
            { "state", APUS_F32, 1, { APUS_STATE_WORDS }, .fixed = true }                          \
        }                                                                                          \
    }

TEST(loss_and_gradient)
{
    static optest cases[] = {
        CASE("one id", gradient, 4, 1, 1, ),
        CASE("odd, narrower than a subgroup", gradient, 16, 5, 3, ),
        CASE("fours", gradient, 16, 8, 3, ),
        CASE("one more than a turn of fours", gradient, 16, 68, 8, ),
        CASE("odd", gradient, 24, 1003, 8, ),
        CASE("fours, large logits", gradient, 24, 1004, 40, ),
        CASE("loss only", no_gradient, 16, 1004, 8, ),
        CASE("loss only, odd", no_gradient, 16, 103, 8, ),
        CASE("a model's vocabulary", gradient, 6, 49152, 12, ),
        CASE("more than 65536 ids", gradient, 2, 65537, 12, ),
        CASE("live rows", gradient, 13, 52, 8, .rows = { APUS_VAR_LOSS_ROWS, 0, 13, 1 }),
        CASE("a later chunk", gradient, 8, 52, 8, .rows = { APUS_VAR_LOSS_ROWS, 4, 8, 1 }),
        CASE("no live row", gradient, 8, 52, 8, .rows = { APUS_VAR_LOSS_ROWS, 9, 8, 1 }),
    };
    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        cases[i].vars[APUS_VAR_LOSS_ROWS] = 9;
    optest_run(cases, APUS_COUNT(cases));
}
