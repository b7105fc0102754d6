/* dropout.c - an adapter's dropout in training: it drops a part of what the adapter reads, another
 * part with another seed, the same with the same; an evaluation drops nothing. */
#include <math.h>
#include <stdio.h>

#include "harness.h"
#include "step.h"

#define TOKENS 60u

typedef struct bed {
    apus_model *m;
    apus_adapters *ad;
    apus_train_step *t;
    uint32_t ids[TOKENS];
    int32_t labels[TOKENS];
} bed;

/* A model with a trained adapter whose dropout is p. */
static bool bed_open(bed *b, double p)
{
    char folder[1024];
    apus_lora_config config;
    apus_status st;

    *b = (bed) { 0 };
    for (uint32_t i = 0; i < TOKENS; i++)
        b->labels[i] = (int32_t)(b->ids[i] = 3 + i * 7 % 250);
    snprintf(folder, sizeof(folder), "%s",
             harness_fixture("../golden/cases/llama_gqa_tied_rope3/lora"));
    st = apus_model_open(&b->m, harness_fixture("tiny"),
                         &(apus_model_params) { .torch_dtype = "float32", .max_positions = 256 });
    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return false;
    }
    if (!CHECK_OK(st) || !CHECK_OK(apus_adapter_peek(folder, &config)) ||
        !CHECK_OK(apus_adapters_create(&b->ad, b->m, 1, config.rank)) ||
        !CHECK_OK(apus_adapters_load(b->ad, 0, folder)))
        return false;
    b->ad->slots[0].dropout = p;
    return CHECK_OK(apus_train_step_create(
        &b->t, b->m,
        &(apus_train_step_params) {
            .adapters = b->ad, .max_sequences = 1, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f }));
}

static void bed_close(bed *b)
{
    apus_train_step_destroy(&b->t);
    apus_adapters_destroy(&b->ad);
    apus_model_close(&b->m);
}

/* The loss of a training step's forward, or of an evaluation; -1 after a failed check. */
static double loss(bed *b, bool evaluation, uint32_t seed)
{
    const apus_train_sequence s = { b->ids, b->labels, NULL, TOKENS, 1 };
    apus_train_numbers numbers = { 0 };
    const apus_status st = evaluation ? apus_train_eval(b->t, &s, 1, NULL)
                                      : apus_train_micro(b->t, &s, 1, 1.0 / TOKENS, 1, seed, NULL);

    if (!CHECK_OK(st) || !CHECK_OK(apus_train_read(b->t, &numbers)) ||
        !CHECK(numbers.tokens == TOKENS - 1))
        return -1;
    return numbers.loss / numbers.tokens;
}

TEST(a_part_is_dropped_and_only_in_training)
{
    bed whole, part;
    const bool open = bed_open(&whole, 0);

    if (open && bed_open(&part, 0.5)) {
        const double kept = loss(&whole, false, 7), dropped = loss(&part, false, 7);
        const double again = loss(&part, false, 7), other = loss(&part, false, 8);
        const double evaluated = loss(&part, true, 7);
        CHECK(kept > 0 && dropped > 0);
        CHECK_NEAR(evaluated, kept, 1e-5);
        CHECK(again == dropped);
        CHECK(fabs(dropped - kept) > 1e-3);
        CHECK(fabs(dropped - other) > 1e-3);
    }
    if (open)
        bed_close(&part);
    bed_close(&whole);
}
