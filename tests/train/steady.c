/* steady.c - once its plan is recorded, a step allocates nothing and opens no file: the next call
 * of each kind is set to fail, and steps do not notice.  (Building a graph, planning and recording
 * all allocate.) */
#include "env.h"
#include "harness.h"
#include "session.h"
#include "step.h"

/* The next call of each kind fails, but for submissions and waits, of which steps are made. */
static void arm(void)
{
    for (int kind = 0; kind < APUS_FAULT_GPU_LOST; kind++)
        apus_fault_set((apus_fault)kind, 1);
}

/* None has fired; they are switched off. */
static void disarm(void)
{
    for (int kind = 0; kind < APUS_FAULT_GPU_LOST; kind++) {
        CHECK(apus_fault_pending((apus_fault)kind));
        apus_fault_set((apus_fault)kind, 0);
    }
}

static apus_model *open_tiny(void)
{
    apus_model *m = NULL;
    const apus_status st =
        apus_model_open(&m, harness_fixture("tiny"),
                        &(apus_model_params) { .torch_dtype = "float32", .max_positions = 256 });

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return m;
}

/* Tokens one by one, over the border of a page. */
TEST(decoding)
{
    apus_model *m = open_tiny();
    apus_session *s = NULL;
    apus_sequence seq = { 0 };
    const apus_sampling sampling = { .temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .seed = 3 };
    uint32_t id = 7;

    if (!m || !CHECK_OK(apus_session_create(
                  &s, m, &(apus_session_params) { .tokens = 256, .max_sequences = 1 })))
        goto done;
    for (uint32_t i = 0; i < 150; i++) {
        const uint32_t token = id;
        const apus_session_item item = {
            .sequence = &seq, .tokens = &token, .n = 1, .adapter = UINT32_MAX, .sampling = &sampling
        };
        if (i == 1)
            arm();
        if (!CHECK_OK(apus_session_run(s, &item, 1, &id, NULL)))
            break;
    }
    disarm();
    apus_sequence_release(apus_session_cache(s), &seq);
done:
    apus_session_destroy(&s);
    apus_model_close(&m);
}

TEST(training)
{
    apus_model *m = open_tiny();
    apus_adapters *ad = NULL;
    apus_train_step *t = NULL;
    apus_train_numbers numbers = { 0 };
    uint32_t tokens[80];
    int32_t labels[80];

    for (uint32_t i = 0; i < APUS_COUNT(tokens); i++)
        labels[i] = (int32_t)(tokens[i] = 3 + i * 7 % 250);
    if (!m || !CHECK_OK(apus_adapters_create(&ad, m, 1, 8)) ||
        !CHECK_OK(apus_adapters_new(
            ad, 0, &(apus_lora_config) { .rank = 4, .alpha = 8, .dropout = 0.1f, .seed = 1 })) ||
        !CHECK_OK(apus_train_step_create(
            &t, m,
            &(apus_train_step_params) {
                .adapters = ad, .max_sequences = 2, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f })))
        goto done;
    for (uint64_t step = 1; step <= 10; step++) {
        const apus_train_sequence seqs[] = { { tokens, labels, NULL, 30, 1 },
                                             { tokens + 30, labels + 30, NULL, 50, 2 } };
        if (step == 2)
            arm();
        if (!CHECK_OK(apus_train_micro(t, seqs, 2, 1.0 / 78, step, 7, NULL)) ||
            !CHECK_OK(apus_train_update(t, 1e-3, 1, step)) ||
            !CHECK_OK(apus_train_read(t, &numbers)))
            break;
    }
    disarm();
    CHECK(numbers.tokens == 78 && numbers.norm > 0);
done:
    apus_train_step_destroy(&t);
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
}
