/* real_model.h - what the tests with real models share: the next tokens of recorded prompts against
 * log-probabilities and greedy tokens that were computed from the same weights in f32. */
#ifndef APUS_REAL_MODEL_H
#define APUS_REAL_MODEL_H

#include <math.h>
#include <stdio.h>

#include "harness.h"
#include "session.h"

typedef struct real_row {
    uint32_t ids[10], n;
    uint32_t top[3];
    double lp[3];
    uint32_t greedy[5], n_greedy;
} real_row;

/* NULL, and the test skipped, where the file is absent. */
static apus_model *real_open(const char *item, const char *file)
{
    const char *folder = harness_real_data(item);
    apus_model *m = NULL;
    char path[512];

    if (!folder)
        return NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, file);
    const apus_status st = apus_model_open(
        &m, path, &(apus_model_params) { .torch_dtype = "float32", .max_positions = 1024 });
    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return m;
}

/* log softmax(z)[id] in double. */
static double real_log_prob(const float *z, uint32_t n, uint32_t id)
{
    double most = (double)z[0], sum = 0;

    for (uint32_t i = 1; i < n; i++)
        most = (double)z[i] > most ? (double)z[i] : most;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)z[i] - most);
    return (double)z[id] - most - log(sum);
}

static void real_check_row(apus_session *s, const real_row *r, float *z, uint32_t vocab)
{
    apus_sequence seq = { 0 };
    apus_session_item item = {
        .sequence = &seq, .tokens = r->ids, .n = r->n, .adapter = UINT32_MAX
    };
    uint32_t id = 0;

    if (!CHECK_OK(apus_session_logits(s, &item, z)))
        return;
    for (int k = 0; k < 3; k++)
        CHECK_NEAR(real_log_prob(z + (size_t)(r->n - 1) * vocab, vocab, r->top[k]), r->lp[k], 1e-3);
    apus_cache_truncate(apus_session_cache(s), &seq, 0);
    for (uint32_t k = 0; k < r->n_greedy; k++) {
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

/* Closes m; `force`: algorithms, or NULL. */
static void real_check_rows(apus_model *m, const real_row *rows, size_t n, const char *force)
{
    apus_session *s = NULL;

    if (m && CHECK_OK(apus_session_create(
                 &s, m, &(apus_session_params) { .tokens = 512, .force = force }))) {
        const uint32_t vocab = m->dims.vocab;
        float *z = apus_alloc((size_t)APUS_COUNT(rows->ids) * vocab * 4);
        for (size_t i = 0; z && i < n; i++)
            real_check_row(s, &rows[i], z, vocab);
        apus_free(z);
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
}

#endif
