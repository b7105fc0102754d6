/* merge.c - an adapter merged into the weights gives the logits of the adapter applied beside
 * them, and the folder that is written is a whole model: config, tokenizer, weights. */
#include <stdio.h>

#include "adapters.h"
#include "apus/train.h"
#include "harness.h"
#include "session.h"

#define VOCAB 272u
#define TOKENS 21u

/* Logits of some tokens, with the adapter in `folder` where it is not NULL. */
static bool logits(const char *path, const char *folder, float *out)
{
    apus_model *m = NULL;
    apus_adapters *ad = NULL;
    apus_session *s = NULL;
    apus_adapt_hook hook;
    apus_sequence seq = { 0 };
    uint32_t tokens[TOKENS];
    bool ok = false;
    const apus_status st =
        apus_model_open(&m, path, &(apus_model_params) { .torch_dtype = "float32" });

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = 16 + i * 37 % 250;
    if (st == APUS_OK && folder) {
        if (!CHECK_OK(apus_adapters_create(&ad, m, 1, 64)) ||
            !CHECK_OK(apus_adapters_load(ad, 0, folder)))
            goto done;
        hook = apus_adapters_hook(ad);
    }
    if (st == APUS_OK &&
        CHECK_OK(apus_session_create(
            &s, m, &(apus_session_params) { .tokens = 64, .hook = folder ? &hook : NULL })))
        ok = CHECK_OK(apus_session_logits(
            s, &(apus_session_item) { .sequence = &seq, .tokens = tokens, .n = TOKENS }, out));
done:
    if (s)
        apus_sequence_release(apus_session_cache(s), &seq);
    apus_session_destroy(&s);
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
    return ok;
}

TEST(merged_equals_applied)
{
    char model[1024], adapter[1024], merged[1024];
    static float base[TOKENS * VOCAB], applied[TOKENS * VOCAB], got[TOKENS * VOCAB];
    apus_tokenizer *tokenizer = NULL;
    double moved = 0;

    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    snprintf(adapter, sizeof(adapter), "%s",
             harness_fixture("../golden/cases/llama_gqa_tied_rope3/lora"));
    snprintf(merged, sizeof(merged), "%s/merged", harness_folder());
    if (!logits(model, NULL, base) || !logits(model, adapter, applied))
        return;
    CHECK_OK(apus_merge_lora(model, adapter, NULL, "float32", merged));
    if (!logits(merged, NULL, got))
        return;
    for (uint32_t i = 0; i < TOKENS * VOCAB; i++) {
        CHECK_NEAR((double)got[i], (double)applied[i], 2e-4);
        const double d = (double)applied[i] - (double)base[i];
        moved = d * d > moved ? d * d : moved;
    }
    CHECK(moved > 0.01); /* the adapter does something */
    CHECK_OK(apus_tokenizer_open(&tokenizer, merged));
    apus_tokenizer_close(&tokenizer);
}
