/* answer.c - one answer of `apus infer`: prompt, tokens as they come, where the text stops. */
#include <stdio.h>

#include "base.h"
#include "infer.h"

/* Print what is not held back. */
static void show(apusi_infer *f)
{
    const size_t end = f->bytes - f->held;

    if (!f->show || end <= f->shown)
        return;
    fwrite(f->text + f->shown, 1, end - f->shown, stdout);
    fflush(stdout);
    f->shown = end;
}

/* A stop text that the answer ends with is taken off.  Where its end may be the start of one, those
 * bytes are held back from the screen. */
static bool look_for_stop(apusi_infer *f)
{
    f->held = 0;
    for (size_t i = 0; i < f->stops.n_texts; i++) {
        const char *stop = f->stops.texts[i];
        const size_t n = strlen(stop);

        for (size_t k = n < f->bytes ? n : f->bytes; k > 0; k--) {
            if (memcmp(f->text + f->bytes - k, stop, k) != 0)
                continue;
            if (k == n) {
                f->bytes -= n;
                f->text[f->bytes] = '\0';
                f->held = 0;
                return true;
            }
            f->held = k > f->held ? k : f->held;
            break;
        }
    }
    return false;
}

static apus_status add_text(apusi_infer *f, const char *text, size_t bytes)
{
    char *bigger = apus_realloc(f->text, f->bytes + bytes + 1);

    if (!bigger)
        return APUS_ERR_MEMORY;
    f->text = bigger;
    memcpy(f->text + f->bytes, text, bytes);
    f->bytes += bytes;
    f->text[f->bytes] = '\0';
    return APUS_OK;
}

static bool on_token(void *user, uint32_t prompt, uint32_t id)
{
    apusi_infer *f = user;
    const char *text;
    size_t bytes;
    bool stop;

    (void)prompt;
    f->failed = apus_detokenizer_add(f->detokenizer, id, &text, &bytes);
    if (f->failed == APUS_OK)
        f->failed = add_text(f, text, bytes);
    if (f->failed != APUS_OK)
        return false;
    stop = look_for_stop(f);
    show(f);
    return !stop;
}

static void params_of(apus_generate_params *p, apusi_infer *f)
{
    *p = (apus_generate_params) {
        .temperature = (float)f->drawing.temperature,
        .top_k = f->drawing.top_k,
        .top_p = (float)f->drawing.top_p,
        .min_p = (float)f->drawing.min_p,
        .repetition_penalty = (float)f->drawing.repetition_penalty,
        .seed = (uint32_t)f->o.seed,
        .max_new_tokens = (uint32_t)f->o.max_new_tokens,
        .stop_ids = f->stops.ids,
        .n_stop_ids = f->stops.n_ids,
        .adapter = f->o.adapters.n ? 0 : -1,
        .cancel = &f->cancel,
        .token = on_token,
        .user = f,
    };
}

apus_status apusi_infer_answer(apusi_infer *f, const apus_message *messages, size_t n,
                               const char *system)
{
    apus_status st;
    apus_encoded prompt = { 0 };
    apus_generate_params p;
    apus_generate_result r;
    const char *rest;
    size_t bytes;

    f->bytes = f->held = f->shown = 0;
    params_of(&p, f);
    APUS_TRY(add_text(f, "", 0));
    APUS_TRY(apus_encode_infer(&prompt, f->tokenizer, f->choice.tmpl, messages, n,
                               &(apus_encode_params) { .system = system }));
    APUS_TRY(apus_generate(f->generator, prompt.ids, prompt.n, &p, &r));
    APUS_TRY(f->failed);
    APUS_TRY(apus_detokenizer_finish(f->detokenizer, &rest, &bytes));
    APUS_TRY(add_text(f, rest, bytes));
    f->held = 0;
    show(f);
    f->prompt_tokens += r.prompt_tokens;
    f->reused_tokens += r.reused;
    f->new_tokens += r.new_tokens;
    f->prefill_s += r.prefill_s;
    f->decode_s += r.decode_s;
    f->answers++;
fail:
    apus_encoded_release(&prompt);
    return st;
}
