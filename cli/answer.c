/* answer.c - an answer of `apus infer`: prompt, tokens as they come, where the text stops. */
#include <stdio.h>

#include "base.h"
#include "infer.h"

/* ---- the text ---- */

/* Print what is not held back. */
static void show(apusi_answer *a)
{
    const size_t end = a->bytes - a->held;

    if (!a->show || end <= a->shown)
        return;
    fwrite(a->text + a->shown, 1, end - a->shown, stdout);
    fflush(stdout);
    a->shown = end;
}

/* A stop text that the answer ends with is taken off.  Where its end may be the start of one, those
 * bytes are held back from the screen. */
static bool look_for_stop(apusi_answer *a, const apus_stops *stops)
{
    a->held = 0;
    for (size_t i = 0; i < stops->n_texts; i++) {
        const char *stop = stops->texts[i];
        const size_t n = strlen(stop);

        for (size_t k = n < a->bytes ? n : a->bytes; k > 0; k--) {
            if (memcmp(a->text + a->bytes - k, stop, k) != 0)
                continue;
            if (k == n) {
                a->bytes -= n;
                a->text[a->bytes] = '\0';
                a->held = 0;
                return true;
            }
            a->held = k > a->held ? k : a->held;
            break;
        }
    }
    return false;
}

static apus_status add_text(apusi_answer *a, const char *text, size_t bytes)
{
    char *bigger = apus_realloc(a->text, a->bytes + bytes + 1);

    if (!bigger)
        return APUS_ERR_MEMORY;
    a->text = bigger;
    memcpy(a->text + a->bytes, text, bytes);
    a->bytes += bytes;
    a->text[a->bytes] = '\0';
    return APUS_OK;
}

apus_status apusi_answer_begin(apusi_answer *a, const apusi_infer *f, bool show_it)
{
    a->bytes = a->held = a->shown = 0;
    a->show = show_it;
    a->failed = APUS_OK;
    if (!a->detokenizer)
        APUS_FORWARD(apus_detokenizer_create(&a->detokenizer, f->tokenizer, true));
    return add_text(a, "", 0);
}

bool apusi_answer_add(apusi_answer *a, const apusi_infer *f, uint32_t id)
{
    const char *text;
    size_t bytes;
    bool stop;

    a->failed = apus_detokenizer_add(a->detokenizer, id, &text, &bytes);
    if (a->failed == APUS_OK)
        a->failed = add_text(a, text, bytes);
    if (a->failed != APUS_OK)
        return false;
    stop = look_for_stop(a, &f->stops);
    show(a);
    return !stop;
}

apus_status apusi_answer_end(apusi_answer *a, apusi_infer *f, const apus_generate_result *r)
{
    const char *rest;
    size_t bytes;

    APUS_FORWARD(a->failed);
    APUS_FORWARD(apus_detokenizer_finish(a->detokenizer, &rest, &bytes));
    APUS_FORWARD(add_text(a, rest, bytes));
    a->held = 0;
    show(a);
    f->prompt_tokens += r->prompt_tokens;
    f->reused_tokens += r->reused;
    f->new_tokens += r->new_tokens;
    f->prefill_s += r->prefill_s;
    f->decode_s += r->decode_s;
    f->answers++;
    return APUS_OK;
}

void apusi_answer_release(apusi_answer *a)
{
    apus_detokenizer_destroy(&a->detokenizer);
    apus_free(a->text);
    *a = (apusi_answer) { 0 };
}

/* ---- how it is made ---- */

apus_generator_params apusi_infer_generator(const apusi_infer *f)
{
    return (apus_generator_params) {
        .max_length = (uint32_t)f->o.max_length,
        .adapters = f->o.adapters.items,
        .n_adapters = f->o.adapters.n,
    };
}

apus_status apusi_infer_encode(apus_encoded *out, const apusi_infer *f,
                               const apus_message *messages, size_t n, const char *system)
{
    return apus_encode_infer(out, f->tokenizer, f->choice.tmpl, messages, n,
                             &(apus_encode_params) { .system = system });
}

apus_generate_params apusi_infer_params(apusi_infer *f,
                                        bool (*token)(void *user, uint32_t prompt, uint32_t id),
                                        void *user)
{
    return (apus_generate_params) {
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
        .token = token,
        .user = user,
    };
}

/* ---- one by itself ---- */

typedef struct lone {
    apusi_infer *f;
    apusi_answer *answer;
} lone;

static bool on_token(void *user, uint32_t prompt, uint32_t id)
{
    const lone *l = user;

    (void)prompt;
    return apusi_answer_add(l->answer, l->f, id);
}

apus_status apusi_infer_answer(apusi_infer *f, apusi_answer *a, const apus_message *messages,
                               size_t n, const char *system)
{
    lone l = { f, a };
    const apus_generate_params p = apusi_infer_params(f, on_token, &l);
    apus_status st;
    apus_encoded prompt = { 0 };
    apus_generate_result r;

    APUS_TRY(apusi_answer_begin(a, f, f->o.stream));
    APUS_TRY(apusi_infer_encode(&prompt, f, messages, n, system));
    APUS_TRY(apus_generate(f->generator, prompt.ids, prompt.n, &p, &r));
    APUS_TRY(apusi_answer_end(a, f, &r));
fail:
    apus_encoded_release(&prompt);
    return st;
}
