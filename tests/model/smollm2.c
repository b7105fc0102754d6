/* smollm2.c - the real SmolLM2-135M-Instruct (GGUF, q4_1 and q8_0) against values computed from
 * the same
 * blocks in f32: log-probabilities of the next token, greedy tokens.  Skipped where the file is
 * absent. */
#include <math.h>
#include <stdio.h>

#include "harness.h"
#include "session.h"

static apus_model *open_real(void)
{
    const char *folder = harness_real_data("smollm2");
    apus_model *m = NULL;
    char path[512];

    if (!folder)
        return NULL;
    snprintf(path, sizeof(path), "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    const apus_status st = apus_model_open(
        &m, path, &(apus_model_params) { .torch_dtype = "float32", .max_positions = 1024 });
    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return m;
}

/* log softmax(z)[id] in double. */
static double log_prob(const float *z, uint32_t n, uint32_t id)
{
    double most = (double)z[0], sum = 0;

    for (uint32_t i = 1; i < n; i++)
        most = (double)z[i] > most ? (double)z[i] : most;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)z[i] - most);
    return (double)z[id] - most - log(sum);
}

typedef struct row {
    uint32_t ids[10], n;
    uint32_t top[3];
    double lp[3];
    uint32_t greedy[5];
} row;

static const row rows[] = {
    { { 504, 3575, 282, 4649, 314 },
      5,
      { 7042, 260, 4528 },
      { -0.2581, -2.7407, -4.3844 },
      { 7042, 30, 198, 198, 504 } },
    { { 6403, 1980, 253, 655, 28, 665, 436, 253, 1838 },
      9,
      { 8180, 3102, 6560 },
      { -0.9594, -1.4525, -3.4460 },
      { 8180, 3365, 20391, 617, 5732 } },
    { { 1604, 3987, 46477, 24, 94, 727 },
      6,
      { 472, 198, 3805 },
      { -0.0629, -4.1067, -4.8026 },
      { 472, 585, 304, 1758, 216 } },
};

TEST(next_tokens_and_greedy)
{
    apus_model *m = open_real();
    apus_session *s = NULL;
    const uint32_t vocab = 49152;
    float *z = apus_alloc((size_t)16 * vocab * 4);

    if (!m)
        goto done;
    if (!CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = 512 })))
        goto done;
    for (size_t i = 0; i < APUS_COUNT(rows); i++) {
        const row *r = &rows[i];
        apus_sequence seq = { 0 };
        apus_session_item item = {
            .sequence = &seq, .tokens = r->ids, .n = r->n, .adapter = UINT32_MAX
        };
        uint32_t id = 0;
        if (!CHECK_OK(apus_session_logits(s, &item, z)))
            break;
        for (int k = 0; k < 3; k++)
            CHECK_NEAR(log_prob(z + (size_t)(r->n - 1) * vocab, vocab, r->top[k]), r->lp[k], 1e-3);
        apus_cache_truncate(apus_session_cache(s), &seq, 0);
        for (int k = 0; k < 5; k++) {
            const uint32_t last = id;
            if (k > 0) {
                item.tokens = &last;
                item.n = 1;
            }
            if (!CHECK_OK(apus_session_run(s, &item, 1, &id, NULL)))
                break;
            CHECK_EQ_U64(id, r->greedy[k]);
        }
        apus_sequence_release(apus_session_cache(s), &seq);
    }
done:
    apus_session_destroy(&s);
    apus_model_close(&m);
    apus_free(z);
}
