/* faults.h - work on a tiny model in which calls are made to fail: generation of a text,
 * training of an adapter with its checkpoint. */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdio.h>

#include "apus/generate.h"
#include "apus/train.h"
#include "env.h"
#include "harness.h"

static inline apus_status generate_once(void)
{
    apus_model *m = NULL;
    apus_generator *g = NULL;
    apus_generate_result r;
    const uint32_t prompt[] = { 20, 30, 40 };
    apus_status st;

    APUS_TRY(
        apus_model_open(&m, harness_fixture("tiny"), &(apus_model_params) { .max_positions = 64 }));
    APUS_TRY(apus_generator_create(&g, m, &(apus_generator_params) { 0 }));
    APUS_TRY(apus_generate(g, prompt, 3,
                           &(apus_generate_params) { .max_new_tokens = 2, .adapter = -1 }, &r));
fail:
    apus_generator_destroy(&g);
    apus_model_close(&m);
    return st;
}

static inline apus_status train_once(void)
{
    static char rows[1024], model[1024], out[1024];
    static const char *const paths[] = { rows };
    apus_train_result result;

    snprintf(rows, sizeof(rows), "%s", harness_fixture("tiny/sft.jsonl"));
    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    snprintf(out, sizeof(out), "%s/faults", harness_folder());
    return apus_train(&(apus_train_params) { .model = model,
                                             .template_name = "chatml",
                                             .data = { .paths = paths, .n_paths = 1 },
                                             .lora_rank = 2,
                                             .lora_alpha = 4,
                                             .learning_rate = 1e-3,
                                             .adam_beta1 = 0.9,
                                             .adam_beta2 = 0.95,
                                             .adam_epsilon = 1e-8,
                                             .lr_scheduler = "constant",
                                             .max_steps = 1,
                                             .batch = 2,
                                             .accumulation = 1,
                                             .save_strategy = 1,
                                             .save_steps = 1,
                                             .logging_steps = 1,
                                             .output_dir = out },
                      NULL, &result);
}

/* Fail the n-th call for n = first, first + stride, ... until the work succeeds without the fault
 * firing: it must end with success or with the status of that kind of fault and a text.  At least
 * `least` of the faults must be failures. */
static inline void faults_each(apus_fault kind, apus_status (*work)(void), uint64_t first,
                               uint64_t stride, uint64_t least)
{
    const apus_status expected = kind == APUS_FAULT_FILE ? APUS_ERR_IO : APUS_ERR_MEMORY;
    uint64_t n = first, failed = 0, calls = 0;

    setenv("APUS_CACHE_DIR", harness_folder(), 1); /* not the user's */
    apus_status st = work();
    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    if (!CHECK_OK(st))
        return;
    for (;; n += stride, calls++) {
        apus_fault_set(kind, n);
        st = work();
        const bool fired = !apus_fault_pending(kind);
        apus_fault_set(kind, 0);
        if (!fired)
            break; /* fewer calls than n: every one was tried */
        failed += st != APUS_OK;
        harness_check(st == APUS_OK || (st == expected && apus_error_text()[0]), __FILE__, __LINE__,
                      "call %llu failing: status %d, \"%s\"", (unsigned long long)n, (int)st,
                      st == APUS_OK ? "" : apus_error_text());
    }
    printf("    %llu of %llu faults were failures\n", (unsigned long long)failed,
           (unsigned long long)calls);
    CHECK(failed >= least);
    CHECK_OK(st);
}

#endif
