/* attention_coop.c - tests of apus_attention on matrix cores. */
#include "attention_cases.h"

#define MATRICES(text, bits, on, type, ...)                                                        \
    {                                                                                              \
        .name = text, DEFINED, .force = { on }, .narrow = bits, .in = { { "q" }, { "k", type } },  \
        .params = SHAPE(__VA_ARGS__, .cached = true)                                               \
    }
#define F16_MATRICES(text, ...) MATRICES(text, 11, "attention:coop", __VA_ARGS__)

/* Scores are rounded twice as much as what they are made of: attention_row counts with that. */
TEST(on_matrix_cores)
{
    optest cases[] = {
        F16_MATRICES("a prompt from nothing", APUS_F16, 9, 3, 64, .n = 1, .rows = { 37 },
                     .spare = 2),
        F16_MATRICES("prompts behind others, bf16", APUS_BF16, 4, 2, 16, .n = 3,
                     .before = { 5, 0, 36 }, .rows = { 11, 1, 24 }),
        F16_MATRICES("window", APUS_F32, 2, 2, 32, .p.window = 6, .n = 2, .before = { 43, 2 },
                     .rows = { 45, 9 }),
        F16_MATRICES("both ways, capped and sinks", APUS_F16, 4, 2, 16, .p.softcap = 3,
                     .p.bidirectional = true, .sinks = true, .n = 2, .rows = { 40, 3 }, .spare = 1),
        F16_MATRICES("blocks of three tokens", APUS_F32, 3, 1, 16, .n = 4,
                     .before = { 4, 0, 70, 9 }, .rows = { 8, 5, 2, 3 }, .block_tokens = 3),
        F16_MATRICES("heads of 128, one token", APUS_F16, 3, 1, 128, .n = 1, .before = { 66 },
                     .rows = { 1 }, .block_tokens = 1),
        MATRICES("bf16", 8, "attention:coop_bf16", APUS_BF16, 4, 2, 16, .n = 2, .before = { 5, 33 },
                 .rows = { 11, 34 }),
    };

    if (!optest_gpu())
        return;
    optest_run(cases, APUS_COUNT(cases));
    optest_run_stored(cases, 2, 1u << IN_Q);
}

/* Scores that grow with the keys: sums are rescaled again and again. */
static void growing(optest *t)
{
    const step_shape *p = t->params;

    attention_fill(t);
    optest_tensor *k = &t->in[IN_K], *q = &t->in[IN_Q];
    const uint32_t width = k->dims[1];
    uint64_t state = 3;
    k->value = apus_calloc((size_t)k->dims[0] * width, sizeof(double));
    q->value = apus_calloc((size_t)q->dims[0] * q->dims[1], sizeof(double));
    if (!CHECK(k->value && q->value))
        return;
    for (uint32_t i = 0; i < q->dims[0] * q->dims[1]; i++)
        q->value[i] = 0.5 + 0.25 * (double)(float)optest_random(&state);
    for (uint32_t j = 0; j < p->length[0]; j++)
        for (uint32_t i = 0; i < width; i++)
            k->value[step_key_row(p, 0, j) * width + i] = 0.125 * j;
}

TEST(sums_on_matrix_cores_are_rescaled)
{
    optest cases[] = {
        F16_MATRICES("growing scores", APUS_F32, 2, 1, 32, .p.scale = 0.25f, .n = 1,
                     .before = { 61 }, .rows = { 70 }),
    };

    if (!optest_gpu())
        return;
    cases[0].fill = growing;
    optest_run(cases, 1);
}
