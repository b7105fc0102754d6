/* faults.c - on a tiny model: the n-th device allocation, host allocation and file call failing,
 * for every n until the work succeeds, gives a status with a text, and never a crash; a barrier
 * taken out of a recorded list of SmolLM2's layer pattern is named. */
#include <stdio.h>

#include "apus/generate.h"
#include "apus/train.h"
#include "barrier.h"
#include "env.h"
#include "harness.h"
#include "session.h"
#include "step.h"

static apus_status generate_once(void)
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

static apus_status train_once(void)
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

/* Fail the n-th call for n = 1, 1 + stride, ... until the work succeeds without the fault
 * firing. */
static void every(apus_fault kind, apus_status (*work)(void), uint64_t stride, uint64_t most)
{
    apus_status st = work();

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    if (!CHECK_OK(st))
        return;
    uint64_t failed = 0;
    for (uint64_t n = 1; n < most; n += stride) {
        apus_fault_set(kind, n);
        st = work();
        const bool fired = !apus_fault_pending(kind);
        apus_fault_set(kind, 0);
        if (!fired)
            break; /* fewer calls than n: every one was tried */
        failed += st != APUS_OK;
        if (st != APUS_OK)
            CHECK(apus_error_text()[0] != 0);
    }
    printf("    %llu of the faults were failures\n", (unsigned long long)failed);
    CHECK(failed >= 3);
}

TEST(device_allocations)
{
    every(APUS_FAULT_GPU_ALLOC, generate_once, 1, 200);
    every(APUS_FAULT_GPU_ALLOC, train_once, 1, 200);
}

TEST(files)
{
    every(APUS_FAULT_FILE, generate_once, 1, 400);
    every(APUS_FAULT_FILE, train_once, 1, 400);
}

TEST(host_allocations)
{
    every(APUS_FAULT_HOST_ALLOC, generate_once, 37, 100000);
    every(APUS_FAULT_HOST_ALLOC, train_once, 211, 1000000);
}

/* Take each barrier out of a list in turn: the checker must name a hazard. */
static void check_barriers(const apus_list *recorded, const char *what)
{
    apus_list list = *recorded; /* shares everything but the flags, which are put back */
    uint32_t n = 0, missed = 0;

    CHECK_OK(apus_hazards_check(&list));
    for (uint32_t i = 0; i < list.n_items; i++) {
        if (!list.items[i].barrier)
            continue;
        list.items[i].barrier = false;
        n++;
        if (apus_hazards_check(&list) == APUS_OK ||
            !strstr(apus_error_text(), "no barrier between"))
            missed++;
        list.items[i].barrier = true;
    }
    printf("    %s: %u barriers, %u not missed\n", what, n, missed);
    CHECK(n > 10);
    CHECK_EQ_U64(missed, 0);
}

TEST(every_barrier_is_needed)
{
    apus_model *m = NULL;
    apus_session *s = NULL;
    apus_adapters *ad = NULL;
    apus_train_step *t = NULL;
    apus_plan *plan;

    const apus_status st =
        apus_model_open(&m, harness_fixture("tiny"), &(apus_model_params) { .max_positions = 64 });
    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    if (st != APUS_OK)
        return;
    if (CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = 64 })) &&
        CHECK_OK(apus_session_plan(s, 1, 1, &plan)))
        check_barriers(apus_plan_list(plan), "decode");
    if (CHECK_OK(apus_adapters_create(&ad, m, 1, 8)) &&
        CHECK_OK(apus_adapters_new(ad, 0, &(apus_lora_config) { .rank = 4, .alpha = 8 })) &&
        CHECK_OK(apus_train_step_create(
            &t, m,
            &(apus_train_step_params) {
                .adapters = ad, .max_sequences = 1, .eps = 1e-8f, .recompute = true })) &&
        CHECK_OK(apus_train_plan(t, 48, 1, &plan)))
        check_barriers(apus_plan_list(plan), "training");
    apus_train_step_destroy(&t);
    apus_adapters_destroy(&ad);
    apus_session_destroy(&s);
    apus_model_close(&m);
}
