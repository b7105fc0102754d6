/* matmul_int8.c - tests of apus_matmul with rows that are rounded to bytes. */
#include <stdio.h>

#include "matmul_cases.h"

/* The bytes of one block of a, and what each counts; a multiple of a half may be rounded either
 * way, if f32 is not sure of it: then `unsure`. */
static double round_block(const double *a, double q[32], bool unsure[32])
{
    double most = 0;

    for (uint32_t i = 0; i < 32; i++)
        most = fmax(most, fabs(a[i]));
    for (uint32_t i = 0; i < 32; i++) {
        const double x = most > 0 ? a[i] / most * 127 : 0;
        q[i] = round(x);
        unsure[i] = fabs(fabs(x - q[i]) - 0.5) < 127 * 8 * 0x1p-24;
    }
    return most / 127;
}

static void define_bytes(const optest *t, const double *const *in, double **out, double **mag,
                         uint32_t *terms)
{
    const struct params *p = t->params;
    const uint32_t m = t->in[0].dims[0], k = t->in[0].dims[1], n = t->in[1].dims[0];
    const double alpha = p->alpha == 0 ? 1 : (double)p->alpha;
    double q[32];
    bool unsure[32];

    for (uint32_t e = 0; e < m * n; e++) {
        out[0][e] = p->bias ? in[2][e % n] : 0;
        mag[0][e] = fabs(out[0][e]);
        for (uint32_t x = 0; x < k; x += 32) {
            const double s = round_block(in[0] + e / n * k + x, q, unsure);
            for (uint32_t i = 0; i < 32; i++) {
                const double term = alpha * s * q[i] * in[1][e % n * k + x + i];
                out[0][e] += term;
                mag[0][e] += fabs(term);
            }
        }
    }
    *terms = k / 8 + 8; /* four additions of a block, where halves have scales of their own */
}

/* What is rounded in f32 are, a block, d sum(q p) and m sum(q), of which neither is beyond 4 times
 * the largest of b in the block by the sum of a (a quant counts up to 63 from the least value of
 * the block), and their sums. */
static double bound(const optest *t, const double *const *in, uint32_t o, uint64_t e)
{
    const struct params *p = t->params;
    const uint32_t k = t->in[0].dims[1], n = t->in[1].dims[0];
    const double *a = in[0] + e / n * k, *b = in[1] + e % n * k;
    double error = 0, q[32];
    bool unsure[32];

    (void)o;
    for (uint32_t x = 0; x < k; x += 32) {
        const double s = round_block(a + x, q, unsure);
        double most_b = 0, all_a = 0;
        for (uint32_t i = 0; i < 32; i++) {
            most_b = fmax(most_b, fabs(b[x + i]));
            all_a += s * fabs(q[i]);
            error += unsure[i] ? s * fabs(b[x + i]) : 0;
        }
        error += (8 + k / 8) * 0x1p-24 * 8 * most_b * all_a;
    }
    return (p->alpha == 0 ? 1 : fabs((double)p->alpha)) * error;
}

#define TILES                                                                                      \
    {                                                                                              \
        "matmul:int8", "matmul:int8/64x128", "matmul:int8/32x64", "matmul:int8/16x64"              \
    }
#define BYTES(text, m, n, k, type, ...)                                                            \
    {                                                                                              \
        .name = text, .force = TILES, .build = build, .define = define_bytes, .out = { { "y" } },  \
        .in = { { "a", APUS_F32, 2, { m, k }, .fixed = true },                                     \
                { "b", type, 2, { n, k }, .fixed = true } },                                       \
        .extra = bound, .params = &(const struct params)                                           \
        {                                                                                          \
            .kind = APUS_NT, __VA_ARGS__                                                           \
        }                                                                                          \
    }

TEST(every_format)
{
    optest cases[] = {
        BYTES("q8_0", 67, 132, 96, APUS_Q8_0, 0),
        BYTES("q8_0, odd columns", 33, 67, 64, APUS_Q8_0, .alpha = 0.37f),
        BYTES("q4_0", 70, 68, 96, APUS_Q4_0, 0),
        BYTES("q4_1, one block", 13, 24, 32, APUS_Q4_1, 0),
        BYTES("q5_0", 35, 20, 160, APUS_Q5_0, 0),
        BYTES("q5_1, one row", 1, 40, 64, APUS_Q5_1, 0),
        BYTES("q4_K", 65, 20, 512, APUS_Q4_K, 0),
        BYTES("q6_K", 65, 24, 256, APUS_Q6_K, 0),
        BYTES("q6_K, odd columns", 17, 21, 768, APUS_Q6_K, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(&cases[2], 2, 1);
}

/* Blocks that are large in another row each, so that each one's own scale counts there; and one of
 * zeros. */
static void steps(optest *t)
{
    optest_tensor *a = &t->in[0];
    const uint32_t k = a->dims[1], blocks = k / 32;
    uint64_t state = 7;

    a->value = apus_calloc((size_t)a->dims[0] * k, sizeof(double));
    for (uint32_t i = 0; a->value && i < a->dims[0] * k; i++) {
        const uint32_t place = (i % k / 32 + i / k) % blocks;
        a->value[i] = place == 1 ? 0 : (double)(float)ldexp(optest_random(&state), 6 * (int)place);
    }
}

TEST(every_block_has_its_scale)
{
    optest cases[] = {
        BYTES("blocks of other sizes", 21, 36, 128, APUS_Q4_1, .bias = true),
        BYTES("live rows", 40, 36, 64, APUS_Q8_0, 0),
    };

    cases[0].fill = steps;
    cases[0].in[2] = (optest_tensor) { "bias", APUS_F32, 1, { 36 }, .fixed = true };
    cases[1].in[0].rows = (apus_rows) { APUS_VAR_TOKENS, 0, 40, 1 };
    cases[1].vars[APUS_VAR_TOKENS] = 19;
    optest_run(cases, APUS_COUNT(cases));
}

/* What is not finite makes its own row NaN, and no other. */
static void spoilt(optest *t)
{
    optest_tensor *a = &t->in[0];
    const uint32_t k = a->dims[1];

    a->value = apus_calloc((size_t)a->dims[0] * k, sizeof(double));
    for (uint32_t i = 0; a->value && i < a->dims[0] * k; i++)
        a->value[i] = i == k + 40 ? (double)NAN : i == 3 * k ? (double)INFINITY : 1;
}

static void define_spoilt(const optest *t, const double *const *in, double **out, double **mag,
                          uint32_t *terms)
{
    const uint32_t m = t->in[0].dims[0], k = t->in[0].dims[1], n = t->in[1].dims[0];

    for (uint32_t e = 0; e < m * n; e++) {
        out[0][e] = mag[0][e] = 0;
        for (uint32_t x = 0; x < k; x++) {
            out[0][e] += in[1][e % n * k + x];
            mag[0][e] += 8 * fabs(in[1][e % n * k + x]);
        }
        if (e / n == 1 || e / n == 3)
            out[0][e] = (double)NAN;
    }
    *terms = k;
}

TEST(what_is_not_finite_stays_so)
{
    optest cases[] = {
        BYTES("NaN and infinity", 5, 20, 64, APUS_Q8_0, 0),
        BYTES("of halves", 5, 20, 256, APUS_Q6_K, 0),
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        cases[i].fill = spoilt;
        cases[i].define = define_spoilt;
        cases[i].extra = NULL;
    }
    optest_run(cases, APUS_COUNT(cases));
}
