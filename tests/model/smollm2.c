/* smollm2.c - the real SmolLM2-135M-Instruct (GGUF, q4_1 and q8_0) against values computed from
 * the same blocks in f32: log-probabilities of the next token, greedy tokens, the mean negative
 * log-likelihood of 512 tokens of two texts; and a chat's answer.  Skipped where the file is
 * absent. */
#include "json.h"
#include "real_model.h"

#define VOCAB 49152u
#define WINDOW 512u

static apus_model *open_real(void)
{
    return real_open("smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf");
}

static const real_row rows[] = {
    { { 504, 3575, 282, 4649, 314 },
      5,
      { 7042, 260, 4528 },
      { -0.2581, -2.7407, -4.3844 },
      { 7042, 30, 198, 198, 504 },
      5 },
    { { 6403, 1980, 253, 655, 28, 665, 436, 253, 1838 },
      9,
      { 8180, 3102, 6560 },
      { -0.9594, -1.4525, -3.4460 },
      { 8180, 3365, 20391, 617, 5732 },
      5 },
    { { 1604, 3987, 46477, 24, 94, 727 },
      6,
      { 472, 198, 3805 },
      { -0.0629, -4.1067, -4.8026 },
      { 472, 585, 304, 1758, 216 },
      5 },
};

TEST(next_tokens_and_greedy)
{
    real_check_rows(open_real(), rows, APUS_COUNT(rows), NULL);
}

/* What GPUs take for quantized weights: the golden cases have none. */
TEST(next_tokens_and_greedy_by_algorithms_of_gpus)
{
    real_check_rows(open_real(), rows, APUS_COUNT(rows), "matmul:vec,matmul:tile,attention:split");
}

/* The ids of one text of windows.json. */
static bool read_window(const cJSON *text, uint32_t ids[WINDOW])
{
    const cJSON *id;
    uint32_t n = 0;

    cJSON_ArrayForEach(id, apus_json_get(text, "ids"))
    {
        if (n < WINDOW)
            ids[n] = (uint32_t)id->valuedouble;
        n++;
    }
    return CHECK_EQ_U64(n, WINDOW);
}

/* All logits of a window, from one run or from runs of `piece` tokens: the cached path. */
static void check_window(apus_session *s, const uint32_t *ids, uint32_t piece, double want)
{
    apus_sequence seq = { 0 };
    float *z = apus_alloc((size_t)piece * VOCAB * 4);
    double sum = 0;

    for (uint32_t at = 0; z && at < WINDOW; at += piece) {
        const apus_session_item item = {
            .sequence = &seq, .tokens = ids + at, .n = piece, .adapter = UINT32_MAX
        };
        if (!CHECK_OK(apus_session_logits(s, &item, z)))
            break;
        for (uint32_t i = 0; i < piece && at + i + 1 < WINDOW; i++)
            sum -= real_log_prob(z + (size_t)i * VOCAB, VOCAB, ids[at + i + 1]);
    }
    printf("    %u at a time: %.6f, recorded %.5f\n", piece, sum / (WINDOW - 1), want);
    CHECK_NEAR(sum / (WINDOW - 1), want, 1e-3);
    apus_sequence_release(apus_session_cache(s), &seq);
    apus_free(z);
}

TEST(mean_nll_of_texts)
{
    apus_model *m = open_real();
    apus_session *s = NULL;
    cJSON *windows = NULL;
    const cJSON *text;
    uint32_t ids[WINDOW] = { 0 }, n = 0;

    if (m && CHECK_OK(apus_json_read(&windows, harness_fixture("model/windows.json"))) &&
        CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = WINDOW }))) {
        cJSON_ArrayForEach(text, windows)
        {
            const double want = apus_json_number(text, "nll", (double)NAN);
            if (read_window(text, ids))
                check_window(s, ids, n++ ? 128 : WINDOW, want);
        }
    }
    CHECK(!m || n == 2);
    apus_session_destroy(&s);
    apus_model_close(&m);
    cJSON_Delete(windows);
}

/* "What is 2+2? Answer with one number." in the model's own template, with its system prompt: the
 * recorded answer is "The answer is 4." */
TEST(answer_of_a_chat)
{
    static const uint32_t prompt[] = {
        1,    9690, 198, 2683,  359,  253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28,
        7018, 411,  407, 19712, 8182, 2,   198,  1,    4093,  198,  1780, 314, 216,   34,
        27,   34,   47,  19842, 351,  582, 1230, 30,   2,     198,  1,    520, 9531,  198,
    };
    static const uint32_t answer[] = { 504, 2988, 314, 216, 36, 30, 2 };
    apus_model *m = open_real();
    apus_session *s = NULL;
    apus_sequence seq = { 0 };
    apus_session_item item = {
        .sequence = &seq, .tokens = prompt, .n = APUS_COUNT(prompt), .adapter = UINT32_MAX
    };

    if (m && CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = 128 }))) {
        for (size_t i = 0; i < APUS_COUNT(answer); i++) {
            uint32_t id = UINT32_MAX;
            CHECK_OK(apus_session_run(s, &item, 1, &id, NULL));
            CHECK_EQ_U64(id, answer[i]);
            item.tokens = &answer[i];
            item.n = 1;
        }
        apus_sequence_release(apus_session_cache(s), &seq);
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
}
