/* tiny_step.h - a micro batch of two rows for the tiny model, and the model opened for it. */
#ifndef TINY_STEP_H
#define TINY_STEP_H

#include "harness.h"
#include "step.h"

#define N 40u

/* All tokens are labels; the second row is shorter. */
typedef struct tiny_rows {
    uint32_t ids[2 * N];
    int32_t labels[2 * N];
    apus_train_sequence at[2];
} tiny_rows;

static inline void tiny_rows_make(tiny_rows *r, uint32_t vocab)
{
    for (uint32_t i = 0; i < 2 * N; i++) {
        r->ids[i] = (i * 37 + 11) % vocab;
        r->labels[i] = (int32_t)r->ids[i];
    }
    r->at[0] = (apus_train_sequence) { .ids = r->ids, .labels = r->labels, .n = N, .row_id = 3 };
    r->at[1] = (apus_train_sequence) {
        .ids = r->ids + N, .labels = r->labels + N, .n = N - 7, .row_id = 4
    };
}

/* NULL: it failed, or was skipped. */
static inline apus_model *tiny_open(const apus_model_params *params)
{
    apus_model *m = NULL;
    const apus_status st = apus_model_open(&m, harness_fixture("tiny"), params);

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return m;
}

#endif
