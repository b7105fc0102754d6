/* cmd_infer.c - `apus infer`: chat, or answer the rows of a file. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "file.h"
#include "infer.h"
#include "json.h"
#include "os.h"
#include "os_interrupt.h"

/* ---- one answer ---- */

static bool add_text(apusi_infer *f, const char *text, size_t bytes)
{
    char *bigger = apus_realloc(f->text, f->bytes + bytes + 1);

    if (!bigger)
        return false;
    f->text = bigger;
    memcpy(f->text + f->bytes, text, bytes);
    f->bytes += bytes;
    f->text[f->bytes] = 0;
    if (f->show) {
        fwrite(text, 1, bytes, stdout);
        fflush(stdout);
    }
    return true;
}

/* A stop text that the answer ends with is not part of it. */
static bool ends_in_stop(apusi_infer *f)
{
    for (size_t i = 0; i < f->stops.n_texts; i++) {
        const size_t n = strlen(f->stops.texts[i]);
        if (n && f->bytes >= n && !memcmp(f->text + f->bytes - n, f->stops.texts[i], n)) {
            f->bytes -= n;
            f->text[f->bytes] = 0;
            return true;
        }
    }
    return false;
}

static bool on_token(void *user, uint32_t prompt, uint32_t id)
{
    apusi_infer *f = user;
    const char *text;
    size_t bytes;

    (void)prompt;
    if (apus_detokenizer_add(f->detokenizer, id, &text, &bytes) != APUS_OK ||
        !add_text(f, text, bytes))
        return false;
    return !ends_in_stop(f);
}

apus_status apusi_infer_answer(apusi_infer *f, const apus_message *messages, size_t n)
{
    apus_status st;
    apus_encoded prompt = { 0 };
    const char *rest;
    size_t bytes;
    const apus_generate_params p = {
        .temperature = f->o.has_temperature ? (float)f->o.temperature : 0,
        .top_k = f->o.has_top_k ? f->o.top_k : 0,
        .top_p = f->o.has_top_p ? (float)f->o.top_p : 1,
        .min_p = (float)f->o.min_p,
        .seed = (uint32_t)f->o.seed,
        .repetition_penalty = f->o.has_repetition_penalty ? (float)f->o.repetition_penalty : 1,
        .max_new_tokens = (uint32_t)f->o.max_new_tokens,
        .stop_ids = f->stops.ids,
        .n_stop_ids = f->stops.n_ids,
        .adapter = f->o.adapters.n ? 0 : -1,
        .cancel = &f->cancel,
        .token = on_token,
        .user = f,
    };

    f->bytes = 0;
    add_text(f, "", 0);
    APUS_TRY(apus_encode_infer(&prompt, f->tokenizer, f->choice.tmpl, messages, n,
                               &(apus_encode_params) { .system = f->o.system }));
    APUS_TRY(apus_generate(f->generator, prompt.ids, prompt.n, &p, &f->last));
    APUS_TRY(apus_detokenizer_finish(f->detokenizer, &rest, &bytes));
    add_text(f, rest, bytes);
    f->prompt_tokens += f->last.prompt_tokens;
    f->new_tokens += f->last.new_tokens;
    f->seconds += f->last.prefill_s + f->last.decode_s;
fail:
    apus_encoded_release(&prompt);
    return st;
}

/* ---- the command ---- */

/* What an adapter's args.json says of its model is taken over where no flag says otherwise. */
static apus_status adopt(apus_args *args)
{
    static const char *const names[] = { "model",  "model_type",  "template",
                                         "system", "torch_dtype", "max_length" };
    size_t n;
    const char *const *adapters = apus_args_list(args, "adapters", &n);
    char *path = n ? apus_path_join(adapters[0], "args.json") : NULL;
    cJSON *saved = NULL;
    apus_status st = APUS_OK;

    if (path && apus_path_exists(path)) {
        APUS_TRY(apus_json_read(&saved, path));
        for (size_t i = 0; i < APUS_COUNT(names); i++)
            APUS_TRY(apus_args_adopt(args, saved, names[i]));
    }
fail:
    cJSON_Delete(saved);
    apus_free(path);
    return st;
}

static apus_status open_all(apusi_infer *f)
{
    const apus_infer_options *o = &f->o;
    apus_model_about about;

    if (!o->model)
        return apus_fail(APUS_ERR_ARG, "Please set --model <model_id_or_path>");
    APUS_FORWARD(apus_tokenizer_open(&f->tokenizer, o->model));
    APUS_FORWARD(
        apus_model_open(&f->model, o->model,
                        &(apus_model_params) { .device = o->device,
                                               .torch_dtype = o->torch_dtype,
                                               .max_positions = (uint32_t)o->max_length }));
    apus_model_describe(f->model, &about);
    APUS_FORWARD(apus_template_choose(
        &f->choice,
        &(apus_template_hint) { .template_name = o->template,
                                .model_type = o->model_type,
                                .model_name = about.name,
                                .gguf_architecture = about.model_type,
                                .chat_template = apus_tokenizer_chat_template(f->tokenizer) }));
    apus_log(APUS_LOG_INFO, "template: %s (%s)", apus_template_name(f->choice.tmpl),
             f->choice.reason);
    APUS_FORWARD(apus_template_stops(&f->stops, f->choice.tmpl, f->tokenizer));
    APUS_FORWARD(apus_detokenizer_create(&f->detokenizer, f->tokenizer, true));
    return apus_generator_create(&f->generator, f->model,
                                 &(apus_generator_params) { .max_length = (uint32_t)o->max_length,
                                                            .adapters = o->adapters.items,
                                                            .n_adapters = o->adapters.n });
}

static void close_all(apusi_infer *f)
{
    apus_generator_destroy(&f->generator);
    apus_detokenizer_destroy(&f->detokenizer);
    apus_stops_release(&f->stops);
    apus_model_close(&f->model);
    apus_tokenizer_close(&f->tokenizer);
    apus_free(f->text);
}

/* RESULT_PATH, or infer_result/DATE.jsonl beside the adapter or in the working folder. */
static char *result_path(const apus_infer_options *o)
{
    char date[32];

    if (o->result_path)
        return apus_strdup(o->result_path);
    apus_local_time(date, sizeof(date), "%Y%m%d-%H%M%S");
    return o->adapters.n ? apus_format("%s/infer_result/%s.jsonl", o->adapters.items[0], date)
                         : apus_format("infer_result/%s.jsonl", date);
}

static apus_status run_batch(apusi_infer *f)
{
    char *path = result_path(&f->o);
    apus_status st = APUS_ERR_MEMORY;

    if (path)
        st = apusi_infer_batch(f,
                               &(apus_data_params) { .paths = f->o.val_dataset.items,
                                                     .n_paths = f->o.val_dataset.n,
                                                     .seed = 42,
                                                     .keep_unanswered = true },
                               APUS_DATA_TRAIN, path);
    apus_free(path);
    return st;
}

apus_status apus_cmd_infer(apus_args *args)
{
    apusi_infer f = { 0 };
    apus_status st;

    APUS_FORWARD(adopt(args));
    APUS_FORWARD(apus_infer_options_read(&f.o, args));
    if (f.o.load_data_args)
        return apus_fail(APUS_ERR_SUPPORT,
                         "--load_data_args is not supported yet; name the rows with --val_dataset");
    APUS_TRY(open_all(&f));
    apusi_interrupt_catch(&f.cancel);
    st = f.o.chat ? apusi_infer_chat(&f) : run_batch(&f);
    apusi_interrupt_leave();
fail:
    close_all(&f);
    return st;
}
