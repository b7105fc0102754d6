/* walk.c - 500 random steps (prefill, decode of one or several sequences, truncation, micro
 * batches,
 * updates) on recorded plans give the same bits as plans built anew for every step.  Lengths cross
 * borders of pages and buckets.  And the cache: forks share pages, decoding equals prefilling. */
#include <stdio.h>

#include "harness.h"
#include "session.h"
#include "step.h"

#define VOCAB 272u
#define SEQUENCES 3u

static uint32_t random_below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((*state >> 33) % n);
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

/* One of the two that walk side by side. */
typedef struct walker {
    apus_model *m;
    apus_session *s;
    apus_adapters *ad;
    apus_train_step *t;
    apus_sequence seq[SEQUENCES];
    uint64_t updates;
} walker;

static bool walker_open(walker *w, bool fresh)
{
    w->m = open_tiny();
    return w->m &&
           CHECK_OK(apus_session_create(&w->s, w->m,
                                        &(apus_session_params) { .tokens = 1024,
                                                                 .max_sequences = SEQUENCES,
                                                                 .fresh = fresh })) &&
           CHECK_OK(apus_adapters_create(&w->ad, w->m, 1, 8)) &&
           CHECK_OK(apus_adapters_new(w->ad, 0,
                                      &(apus_lora_config) { .rank = 4, .alpha = 8, .seed = 1 })) &&
           CHECK_OK(apus_train_step_create(&w->t, w->m,
                                           &(apus_train_step_params) { .adapters = w->ad,
                                                                       .max_sequences = 4,
                                                                       .beta1 = 0.9f,
                                                                       .beta2 = 0.95f,
                                                                       .eps = 1e-8f,
                                                                       .decay = 0.1f,
                                                                       .fresh = fresh }));
}

static void walker_close(walker *w)
{
    for (uint32_t i = 0; i < SEQUENCES && w->s; i++)
        apus_sequence_release(apus_session_cache(w->s), &w->seq[i]);
    apus_train_step_destroy(&w->t);
    apus_adapters_destroy(&w->ad);
    apus_session_destroy(&w->s);
    apus_model_close(&w->m);
}

/* A step, decided by `state` alone; what it yields goes to `out`. */
static bool walk(walker *w, uint64_t *state, float *out, size_t *n)
{
    const uint32_t kind = random_below(state, 10), i = random_below(state, SEQUENCES);
    uint32_t tokens[512], ids[SEQUENCES] = { 0 };
    int32_t labels[512];
    apus_session_item items[SEQUENCES];

    *n = 0;
    for (uint32_t k = 0; k < 512; k++) {
        tokens[k] = random_below(state, VOCAB);
        labels[k] = random_below(state, 3) ? (int32_t)tokens[k] : -100;
    }
    if (kind < 3) { /* prefill with all logits */
        const uint32_t len = 1 + random_below(state, 90);
        if (w->seq[i].length + len > 250)
            apus_cache_truncate(apus_session_cache(w->s), &w->seq[i], random_below(state, 100));
        *n = (size_t)len * VOCAB;
        return CHECK_OK(apus_session_logits(
            w->s,
            &(apus_session_item) {
                .sequence = &w->seq[i], .tokens = tokens, .n = len, .adapter = UINT32_MAX },
            out));
    }
    if (kind < 7) { /* a token of each */
        for (uint32_t k = 0; k < SEQUENCES; k++) {
            if (w->seq[k].length > 250)
                apus_cache_truncate(apus_session_cache(w->s), &w->seq[k], 63);
            items[k] = (apus_session_item) { .sequence = &w->seq[k],
                                             .tokens = &tokens[k],
                                             .n = 1,
                                             .slot = k,
                                             .adapter = UINT32_MAX };
        }
        const uint32_t some = 1 + random_below(state, SEQUENCES);
        if (!CHECK_OK(apus_session_run(w->s, items, some, ids, NULL)))
            return false;
        for (*n = 0; *n < some; ++*n)
            out[*n] = (float)ids[*n];
        return true;
    }
    if (kind < 9) { /* a micro batch */
        const uint32_t a = 2 + random_below(state, 80), b = 2 + random_below(state, 80);
        const apus_train_sequence seqs[] = {
            { .ids = tokens, .labels = labels, .n = a, .row_id = 1 },
            { .ids = tokens + 100, .labels = labels + 100, .n = b, .row_id = 2 }
        };
        return CHECK_OK(apus_train_micro(w->t, seqs, 1 + random_below(state, 2), 0.02,
                                         w->updates + 1, 7, NULL));
    }
    apus_train_numbers x;
    if (!CHECK_OK(apus_train_update(w->t, 1e-3, 1, ++w->updates)) ||
        !CHECK_OK(apus_train_read(w->t, &x)))
        return false;
    out[0] = (float)x.loss;
    out[1] = (float)x.norm;
    out[2] = (float)x.correct;
    *n = 3;
    return true;
}

TEST(recorded_plans_equal_fresh_ones)
{
    walker a = { 0 }, b = { 0 };
    float *x = apus_alloc(4 * 100 * VOCAB), *y = apus_alloc(4 * 100 * VOCAB);
    uint64_t state = 2024;
    size_t nx = 0, ny = 0;

    if (walker_open(&a, false) && walker_open(&b, true))
        for (int step = 0; step < 500; step++) {
            uint64_t same = state;
            if (!walk(&a, &state, x, &nx) || !walk(&b, &same, y, &ny))
                break;
            if (!harness_check(nx == ny && !memcmp(x, y, 4 * nx), __FILE__, __LINE__,
                               "step %d differs", step))
                break;
        }
    walker_close(&a);
    walker_close(&b);
    apus_free(x);
    apus_free(y);
}

TEST(decoding_equals_prefilling_and_forks_share)
{
    apus_model *m = open_tiny();
    apus_session *s = NULL;
    apus_sequence one = { 0 }, two = { 0 }, fork = { 0 };
    uint32_t tokens[100];
    float *all = apus_alloc(4 * 100 * VOCAB), *last = apus_alloc(4 * VOCAB);
    uint64_t state = 5;

    if (!m || !CHECK_OK(apus_session_create(
                  &s, m, &(apus_session_params) { .tokens = 1024, .max_sequences = 1 })))
        goto done;
    for (uint32_t i = 0; i < 100; i++)
        tokens[i] = random_below(&state, VOCAB);
    CHECK_OK(apus_session_logits(
        s,
        &(apus_session_item) {
            .sequence = &one, .tokens = tokens, .n = 100, .adapter = UINT32_MAX },
        all));
    for (uint32_t i = 0; i < 100; i++) {
        if (i == 70)
            CHECK_OK(apus_cache_fork(apus_session_cache(s), &two, &fork));
        CHECK_OK(apus_session_logits(
            s,
            &(apus_session_item) {
                .sequence = &two, .tokens = &tokens[i], .n = 1, .adapter = UINT32_MAX },
            last));
        for (uint32_t v = 0; v < VOCAB; v++)
            CHECK_NEAR((double)last[v], (double)all[i * VOCAB + v], 1e-4);
    }
    /* The fork goes on from token 70 although the other has written behind it. */
    CHECK_OK(apus_session_logits(
        s,
        &(apus_session_item) {
            .sequence = &fork, .tokens = tokens + 70, .n = 30, .adapter = UINT32_MAX },
        all));
    for (uint32_t v = 0; v < VOCAB; v++)
        CHECK_NEAR((double)all[29 * VOCAB + v], (double)last[v], 1e-4);
done:
    if (s) {
        apus_sequence_release(apus_session_cache(s), &one);
        apus_sequence_release(apus_session_cache(s), &two);
        apus_sequence_release(apus_session_cache(s), &fork);
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
    apus_free(all);
    apus_free(last);
}
