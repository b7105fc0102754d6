/* matmul.c - tests of apus_matmul: every kind, every format, every algorithm (what else goes into a
 * result: matmul_sums.c). */
#include "matmul_cases.h"

#define MANY_COLUMNS                                                                               \
    {                                                                                              \
        "matmul:vec", "matmul:vec_cpu", "matmul:dot_cpu", "matmul:cpu"                             \
    }

TEST(every_kind_and_shape)
{
    optest cases[] = {
        CASE("one element", APUS_NT, 1, 1, 8, APUS_F32, 0),
        CASE("nothing divides", APUS_NT, 5, 7, 3, APUS_F32, 0),
        CASE("one row: mat-vec", APUS_NT, 1, 48, 64, APUS_F32, 0),
        CASE("one more than a tile", APUS_NT, 65, 33, 40, APUS_F32, 0),
        CASE("whole tiles, scaled", APUS_NT, 64, 64, 64, APUS_F32, .alpha = 0.37f),
        CASE("long sum", APUS_NT, 9, 17, 1096, APUS_F32, 0),
        CASE("more than the largest tile", APUS_NT, 130, 141, 21, APUS_F32, 0),
        CASE("gradient of an input", APUS_NN, 33, 36, 20, APUS_F32, 0),
        CASE("gradient of an input, odd", APUS_NN, 3, 5, 7, APUS_F32, 0),
        CASE("gradient of an input, large", APUS_NN, 129, 132, 36, APUS_F32, .alpha = -2.0f),
        CASE("gradient of an input, rows of 32", APUS_NN, 41, 64, 28, APUS_F32, .alpha = 0.5f),
        CASE("gradient of an input, one row", APUS_NN, 1, 96, 8, APUS_F32, 0),
        CASE("gradient of a weight", APUS_TN, 36, 20, 37, APUS_F32, 0),
        CASE("gradient of a weight, odd", APUS_TN, 7, 3, 5, APUS_F32, 0),
        CASE("gradient of a weight, large", APUS_TN, 132, 131, 19, APUS_F32, 0),
        CASE("gradient of a weight, rows of 32", APUS_TN, 44, 64, 37, APUS_F32, 0),
        CASE("gradient of a weight, rows of 32, odd", APUS_TN, 35, 32, 19, APUS_F32, 0),
        CASE("gradient of an input, rows of 32, odd", APUS_NN, 9, 64, 22, APUS_F32, 0),
        CASE("gradient of an adapter, rank 2", APUS_TN, 2, 24, 19, APUS_F32, 0),
        CASE("gradient of an adapter, rank 8", APUS_TN, 72, 8, 70, APUS_F32, 0),
        CASE("rows of fours", APUS_NT, 37, 36, 44, APUS_F32, 0),
        CASE("result in f32", APUS_NT, 7, 36, 64, APUS_F32, .wide = true),
        CASE("result in f32, odd", APUS_NT, 1, 39, 64, APUS_F32, .wide = true),
        CASE("gradient of a weight in f32", APUS_TN, 36, 20, 37, APUS_F32, .wide = true),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}

/* What a layer's gradient needs: both factors stored, results in f32 or of other storage than a. */
TEST(both_factors_stored)
{
    optest cases[] = {
        CASE("gradient of a weight", APUS_TN, 36, 20, 37, APUS_F32, .wide = true),
        CASE("gradient of a weight, odd", APUS_TN, 7, 3, 5, APUS_F32, .wide = true),
        CASE("gradient of a weight, rows of 32", APUS_TN, 44, 64, 37, APUS_F32, .wide = true),
        CASE("gradient of an adapter, rank 8", APUS_TN, 72, 8, 70, APUS_F32, .wide = true),
        NARROW("on matrix cores", 11, COOP_F16, APUS_TN, 36, 20, 37, APUS_F32, .wide = true),
        NARROW("in bf16", 8, COOP_BF16, APUS_TN, 36, 20, 37, APUS_F32, .wide = true),
    };
    optest into[] = {
        CASE("to f16", APUS_NN, 33, 36, 20, APUS_F16, .to = APUS_F16),
        CASE("to f16, rows of 32", APUS_NN, 33, 96, 20, APUS_F16, .to = APUS_F16),
        CASE("to bf16", APUS_NN, 33, 36, 20, APUS_F16, .to = APUS_BF16),
        CASE("one row to f16", APUS_NT, 1, 40, 64, APUS_Q4_1, .to = APUS_F16),
        CASE("one row to bf16", APUS_NT, 1, 40, 64, APUS_Q8_0, .to = APUS_BF16),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 3);
    optest_run(into, APUS_COUNT(into));
}

TEST(few_rows)
{
    optest cases[] = {
        CASE("two rows", APUS_NT, 2, 37, 136, APUS_F32, 0),
        CASE("three rows", APUS_NT, 3, 22, 64, APUS_F16, 0),
        CASE("four rows", APUS_NT, 4, 21, 288, APUS_Q8_0, 0),
        CASE("five rows", APUS_NT, 5, 19, 64, APUS_BF16, 0),
        CASE("seven rows", APUS_NT, 7, 33, 96, APUS_Q4_0, 0),
        CASE("eight rows", APUS_NT, 8, 18, 160, APUS_Q4_1, 0),
        CASE("nine rows", APUS_NT, 9, 18, 96, APUS_Q8_0, 0),
        CASE("one row, a turn and a bit", APUS_NT, 1, 41, 1056, APUS_Q4_1, 0),
        CASE("one row of bytes", APUS_NT, 1, 42, 672, APUS_Q8_0, 0),
        CASE("one row of halves", APUS_NT, 1, 43, 584, APUS_F16, 0),
        CASE("one row of halves, blocks", APUS_NT, 1, 43, 576, APUS_F16, 0),
        CASE("one row of bf16", APUS_NT, 1, 9, 96, APUS_BF16, 0),
        CASE("one row of nibbles", APUS_NT, 1, 7, 160, APUS_Q4_0, .alpha = 0.37f),
        CASE("one row and one column", APUS_NT, 1, 1, 32, APUS_Q8_0, 0),
        CASE("two rows of fours", APUS_NT, 2, 36, 136, APUS_F32, 0),
        CASE("five rows of fours", APUS_NT, 5, 20, 288, APUS_Q8_0, 0),
        CASE("eight rows of fours", APUS_NT, 8, 24, 160, APUS_Q4_1, 0),
        CASE("one row of fours", APUS_NT, 1, 44, 1056, APUS_Q4_0, 0),
        CASE("one row of fours, halves", APUS_NT, 1, 44, 584, APUS_F16, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}

/* More workgroups than half of what a grid's dimension may have, with lanes of 8: a grid of two
 * dimensions where a kernel takes that, and every row of b computed. */
TEST(many_columns)
{
    optest cases[] = {
        NARROW("a vocabulary", 0, MANY_COLUMNS, APUS_NT, 1, 262152, 32, APUS_Q8_0, 0),
    };

    cases[0].in[0].fixed = cases[0].in[1].fixed = true;
    optest_run(cases, APUS_COUNT(cases));
}

TEST(every_format)
{
    optest cases[] = {
        CASE("f16", APUS_NT, 13, 24, 64, APUS_F16, 0),
        CASE("f16, odd", APUS_NT, 13, 23, 61, APUS_F16, 0),
        CASE("bf16", APUS_NT, 13, 24, 64, APUS_BF16, 0),
        CASE("q8_0", APUS_NT, 13, 24, 96, APUS_Q8_0, 0),
        CASE("q4_0", APUS_NT, 70, 20, 96, APUS_Q4_0, 0),
        CASE("q4_1", APUS_NT, 13, 24, 64, APUS_Q4_1, 0),
        CASE("q4_1 one row", APUS_NT, 1, 40, 576, APUS_Q4_1, 0),
        CASE("f16 nn", APUS_NN, 13, 24, 64, APUS_F16, 0),
        CASE("f16 nn, rows of 32", APUS_NN, 13, 96, 64, APUS_F16, 0),
        CASE("bf16 nn, rows of 32", APUS_NN, 70, 32, 20, APUS_BF16, 0),
        CASE("bf16 nn, odd", APUS_NN, 13, 25, 62, APUS_BF16, 0),
        CASE("q8_0 nn", APUS_NN, 9, 96, 20, APUS_Q8_0, 0),
        CASE("q4_0 nn", APUS_NN, 35, 64, 24, APUS_Q4_0, 0),
        CASE("q4_1 nn", APUS_NN, 9, 96, 20, APUS_Q4_1, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}

/* Five and six bits, and scales of scales.  Decoding does not depend on the format of activations:
 * two cases stand for all. */
TEST(formats_of_two_levels)
{
    optest cases[] = {
        CASE("q5_0", APUS_NT, 13, 24, 96, APUS_Q5_0, 0),
        CASE("q6_K", APUS_NT, 13, 20, 768, APUS_Q6_K, 0),
        CASE("q5_0, one row", APUS_NT, 1, 41, 1088, APUS_Q5_0, 0),
        CASE("q5_0, two rows", APUS_NT, 2, 20, 96, APUS_Q5_0, 0),
        CASE("q5_0 nn", APUS_NN, 13, 96, 24, APUS_Q5_0, 0),
        CASE("q5_1", APUS_NT, 13, 20, 96, APUS_Q5_1, 0),
        CASE("q5_1, one row", APUS_NT, 1, 44, 576, APUS_Q5_1, .alpha = 0.37f),
        CASE("q5_1 nn", APUS_NN, 13, 64, 20, APUS_Q5_1, 0),
        CASE("q4_K", APUS_NT, 13, 24, 256, APUS_Q4_K, 0),
        CASE("q4_K, one row", APUS_NT, 1, 42, 1280, APUS_Q4_K, 0),
        CASE("q4_K, two rows", APUS_NT, 2, 20, 512, APUS_Q4_K, 0),
        CASE("q4_K nn", APUS_NN, 13, 512, 20, APUS_Q4_K, 0),
        CASE("q6_K, one row", APUS_NT, 1, 43, 1280, APUS_Q6_K, 0),
        CASE("q6_K, two rows", APUS_NT, 2, 18, 256, APUS_Q6_K, 0),
        CASE("q6_K nn", APUS_NN, 13, 256, 20, APUS_Q6_K, 0),
        CASE("q6_K nn, three blocks", APUS_NN, 13, 768, 20, APUS_Q6_K, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, 2, 1);
}

/* Matrix cores: the sums of absolute terms of gradients stay below 16 (see optest.c). */
TEST(rounded_to_f16)
{
    optest cases[] = {
        NARROW("one fragment", 11, COOP_F16, APUS_NT, 8, 8, 8, APUS_F32, 0),
        NARROW("nothing divides", 11, COOP_F16, APUS_NT, 5, 7, 3, APUS_F32, 0),
        NARROW("more than a block", 11, COOP_F16, APUS_NT, 67, 33, 40, APUS_F16, .alpha = 0.37f),
        NARROW("q8_0", 11, COOP_F16, APUS_NT, 13, 24, 96, APUS_Q8_0, 0),
        NARROW("q4_1", 11, COOP_F16, APUS_NT, 33, 20, 64, APUS_Q4_1, 0),
        NARROW("q5_1", 11, COOP_F16, APUS_NT, 13, 20, 96, APUS_Q5_1, 0),
        NARROW("q6_K", 11, COOP_F16, APUS_NT, 13, 24, 256, APUS_Q6_K, 0),
        NARROW("nn q4_K", 11, COOP_F16, APUS_NN, 9, 256, 24, APUS_Q4_K, 0),
        NARROW("nn f32", 11, COOP_F16, APUS_NN, 33, 36, 20, APUS_F32, 0),
        NARROW("nn bf16, odd", 11, COOP_F16, APUS_NN, 13, 25, 62, APUS_BF16, 0),
        NARROW("nn q4_0", 11, COOP_F16, APUS_NN, 35, 64, 24, APUS_Q4_0, 0),
        NARROW("nn two blocks", 11, COOP_F16, APUS_NN, 130, 132, 36, APUS_F16, 0),
        NARROW("tn", 11, COOP_F16, APUS_TN, 36, 20, 37, APUS_F32, 0),
        NARROW("tn, odd", 11, COOP_F16, APUS_TN, 67, 131, 19, APUS_F32, 0),
        NARROW("whole chunks", 11, COOP_F16, APUS_NT, 67, 72, 64, APUS_F16, 0),
        NARROW("nn whole chunks", 11, COOP_F16, APUS_NN, 67, 72, 64, APUS_F16, .alpha = 0.37f),
        NARROW("nn whole chunks of blocks", 11, COOP_F16, APUS_NN, 35, 64, 32, APUS_Q8_0, 0),
    };
    optest beyond[] = {
        NARROW("beyond the range of f16", 11, COOP_F16, APUS_NT, 9, 12, 40, APUS_F32, .wide = true,
               .ends = true),
    };
    beyond[0].in[0].scale = 3e5f;
    beyond[0].in[0].fixed = beyond[0].in[1].fixed = true;
    beyond[0].in[1].trained = false;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
    optest_run(beyond, 1);
}

TEST(rounded_to_bf16)
{
    optest cases[] = {
        NARROW("more than a block", 8, COOP_BF16, APUS_NT, 67, 33, 40, APUS_BF16, 0),
        NARROW("nn q8_0", 8, COOP_BF16, APUS_NN, 9, 96, 20, APUS_Q8_0, 0),
        NARROW("nn q5_0", 8, COOP_BF16, APUS_NN, 9, 96, 20, APUS_Q5_0, 0),
        NARROW("tn, odd", 8, COOP_BF16, APUS_TN, 67, 131, 19, APUS_F32, 0),
        NARROW("rows of fours", 8, COOP_BF16, APUS_NT, 67, 36, 40, APUS_BF16, 0),
        NARROW("whole chunks", 8, COOP_BF16, APUS_NT, 67, 72, 64, APUS_BF16, 0),
        NARROW("nn whole chunks", 8, COOP_BF16, APUS_NN, 67, 72, 64, APUS_BF16, 0),
    };
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, APUS_COUNT(cases), 1);
}

/* With a bias, a residual: the rest of the inputs. */
