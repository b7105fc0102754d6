/* qwen2_coder.c - the real Qwen2.5-Coder-0.5B-Instruct (GGUF, q5_0, q8_0, q6_K and q4_K) against
 * values computed from the same blocks in f32: a plain forward in numpy, the weights dequantized by
 * PyPI's gguf 0.19.0.  Skipped where the file is absent. */
#include "real_model.h"

static const real_row rows[] = {
    /* The capital of France is */
    { { 785, 6722, 315, 9625, 374 },
      5,
      { 12095, 7148, 2598 },
      { -0.0985, -4.3118, -5.2972 },
      { 12095, 13, 12095, 374, 7407 },
      5 },
    /* Once upon a time, there was a little */
    { { 12522, 5193, 264, 882, 11, 1052, 572, 264, 2632 },
      9,
      { 8171, 3743, 10369 },
      { -1.1775, -1.7852, -3.4856 },
      { 8171 },
      1 },
    /* def fibonacci(n): */
    { { 750, 75698, 1445, 1648 },
      4,
      { 198, 715, 220 },
      { -0.5326, -1.5929, -2.3576 },
      { 198, 262, 421, 308, 2651 },
      5 },
};

static apus_model *open_real(void)
{
    return real_open("qwen2-coder", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
}

TEST(next_tokens_and_greedy)
{
    real_check_rows(open_real(), rows, APUS_COUNT(rows), NULL);
}

TEST(next_tokens_and_greedy_by_algorithms_of_gpus)
{
    real_check_rows(open_real(), rows, APUS_COUNT(rows), "matmul:vec,matmul:tile,attention:split");
}
