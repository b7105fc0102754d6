/* matmul_int8.c - tests of apus_matmul with rows that are rounded to bytes. */
#include <stdio.h>

#include "matmul_cases.h"

#define TILES                                                                                      \
    {                                                                                              \
        "matmul:int8", "matmul:int8/64x128", "matmul:int8/32x64", "matmul:int8/16x64"              \
    }
#define BYTES(text, m, n, k, type, ...)                                                            \
    {                                                                                              \
        .name = text, .force = TILES, SHAPES(APUS_NT, m, n, k, type), .extra = bound,              \
        .params = &(const struct params)                                                           \
        {                                                                                          \
            .kind = APUS_NT, __VA_ARGS__                                                           \
        }                                                                                          \
    }

/* Of 32 elements of a row of a each is off by half of what a byte counts, their largest over 127,
 * and by as much again of its own rounding as 2^-10 of that.  What is rounded in f32 are, a block,
 * d sum(q p) and m sum(q), of which neither is beyond 4 times the largest of b in the block by the
 * sum of a (a quant counts up to 63 from the least value of the block), and their sums. */
static double bound(const optest *t, const double *const *in, uint32_t o, uint64_t e)
{
    const struct params *p = t->params;
    const uint32_t k = t->in[0].dims[1], n = t->in[1].dims[0];
    const double *a = in[0] + e / n * k, *b = in[1] + e % n * k;
    const double alpha = p->alpha == 0 ? 1 : fabs((double)p->alpha);
    double error = 0;

    (void)o;
    for (uint32_t x = 0; x < k; x += 32) {
        double most_a = 0, most_b = 0, all_a = 0, all_b = 0;
        for (uint32_t i = x; i < x + 32; i++) {
            most_a = fmax(most_a, fabs(a[i]));
            most_b = fmax(most_b, fabs(b[i]));
            all_a += fabs(a[i]);
            all_b += fabs(b[i]);
        }
        error += most_a / 254 * (1 + 0x1p-10) * all_b;
        error += (8 + k / 32) * 0x1p-24 * 8 * most_b * (all_a + 32 * most_a / 254);
    }
    return alpha * error;
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

/* Sizes of neighbouring blocks of a do not touch each other; a block of zeros stays one. */
static void steps(optest *t)
{
    optest_tensor *a = &t->in[0];
    const uint32_t k = a->dims[1];
    uint64_t state = 7;

    a->value = apus_calloc((size_t)a->dims[0] * k, sizeof(double));
    for (uint32_t i = 0; a->value && i < a->dims[0] * k; i++) {
        const uint32_t block = i % k / 32;
        a->value[i] = block == 1 ? 0 : (double)(float)ldexp(optest_random(&state), 12 * (int)block);
    }
}

TEST(every_block_has_its_scale)
{
    optest cases[] = {
        BYTES("blocks of other sizes", 21, 36, 128, APUS_Q4_1, .bias = true),
        BYTES("live rows", 40, 36, 64, APUS_Q8_0, 0),
    };

    cases[0].fill = steps;
    cases[0].in[0].fixed = true;
    cases[0].in[2] = (optest_tensor) { "bias", APUS_F32, 1, { 36 }, .fixed = true };
    cases[1].in[0].rows = (apus_rows) { APUS_VAR_TOKENS, 0, 40, 1 };
    cases[1].vars[APUS_VAR_TOKENS] = 19;
    optest_run(cases, APUS_COUNT(cases));
}
