/* cmd_infer.c - `apus infer`: chat, or answer the rows of a file. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "file.h"
#include "infer.h"
#include "json.h"
#include "os.h"
#include "os_interrupt.h"
#include "saved.h"
#include "sizes.h"

/* ---- how tokens are drawn ---- */

/* What no flag says, the model's generation_config.json says, else transformers' defaults; a model
 * that is not marked to be sampled from answers greedily unless a temperature is given. */
static apus_status decide_drawing(apusi_infer *f)
{
    const apus_infer_options *o = &f->o;
    char *path = apus_path_join(o->model, "generation_config.json");
    cJSON *config = NULL;
    apusi_drawing *d = &f->drawing;
    char most[32] = "as many as fit";
    apus_status st = path ? APUS_OK : APUS_ERR_MEMORY;

    if (path && apus_path_exists(path))
        APUS_TRY(apus_json_read(&config, path));
    d->temperature = o->has_temperature ? o->temperature
                     : !apus_json_bool(config, "do_sample", false)
                         ? 0
                         : apus_json_number(config, "temperature", 1);
    d->top_k = o->has_top_k ? o->top_k : (uint32_t)apus_json_number(config, "top_k", 50);
    d->top_p = o->has_top_p ? o->top_p : apus_json_number(config, "top_p", 1);
    d->min_p = o->min_p;
    d->repetition_penalty = o->has_repetition_penalty
                                ? o->repetition_penalty
                                : apus_json_number(config, "repetition_penalty", 1);
    if (o->max_new_tokens)
        snprintf(most, sizeof(most), "%llu", (unsigned long long)o->max_new_tokens);
    apus_log(APUS_LOG_INFO,
             "request_config: max_new_tokens %s, temperature %g, top_k %u, top_p %g, min_p %g, "
             "repetition_penalty %g, seed %llu",
             most, d->temperature, d->top_k, d->top_p, d->min_p, d->repetition_penalty,
             (unsigned long long)o->seed);
fail:
    cJSON_Delete(config);
    apus_free(path);
    return st;
}

/* ---- model ---- */

/* On the device, or as much of it as fits there. */
static apus_status open_model(apusi_infer *f, apus_model_about *about)
{
    const apus_infer_options *o = &f->o;
    const apus_generator_params p = apusi_infer_generator(f);
    const apus_model_params params = { .device = o->device,
                                       .torch_dtype = o->torch_dtype,
                                       .max_positions = (uint32_t)o->max_length };
    char bytes[32];

    APUS_FORWARD(apus_generator_model(&f->model, o->model, &params, &p));
    apus_model_describe(f->model, about);
    apus_log(APUS_LOG_INFO, "model: %s on %s", about->name, about->device);
    apusi_bytes_text(bytes, sizeof(bytes), about->host_weight_bytes);
    if (about->host_layers)
        apus_log(APUS_LOG_INFO, "weights of %u of %u layers stay in the host's memory: %s",
                 about->host_layers, about->layers, bytes);
    return APUS_OK;
}

static apus_status open_all(apusi_infer *f)
{
    const apus_infer_options *o = &f->o;
    apus_model_about about;

    APUS_FORWARD(open_model(f, &about));
    APUS_FORWARD(apus_tokenizer_open(&f->tokenizer, o->model));
    APUS_FORWARD(apusi_template_of(&f->choice, &(apusi_template_wish) {
                                                   .model = o->model,
                                                   .template_name = o->template,
                                                   .model_type = o->model_type,
                                                   .about = &about,
                                                   .tokenizer = f->tokenizer,
                                               }));
    apus_log(APUS_LOG_INFO, "template: %s (%s)", apus_template_name(f->choice.tmpl),
             f->choice.reason);
    return apus_template_stops(&f->stops, f->choice.tmpl, f->tokenizer);
}

static void close_all(apusi_infer *f)
{
    apus_generator_destroy(&f->generator);
    apus_stops_release(&f->stops);
    apus_model_close(&f->model);
    apus_tokenizer_close(&f->tokenizer);
}

/* ---- rows of a file ---- */

/* CHECKPOINT/infer_result/DATE.jsonl, or result/MODEL/infer_result/DATE.jsonl. */
static char *result_path(const apusi_infer *f)
{
    const apus_infer_options *o = &f->o;
    char date[32], *name, *path;

    if (o->result_path)
        return apus_strdup(o->result_path);
    apus_local_time(date, sizeof(date), "%Y%m%d-%H%M%S");
    if (o->adapters.n)
        return apus_format("%s/infer_result/%s.jsonl", o->adapters.items[0], date);
    name = apus_model_name_of(o->model);
    path = name ? apus_format("result/%s/infer_result/%s.jsonl", name, date) : NULL;
    apus_free(name);
    return path;
}

/* A list of texts of args.json; the texts stay the file's. */
static apus_status list_of(const char ***items, size_t *n, const cJSON *saved, const char *name)
{
    const cJSON *list = apus_json_get(saved, name), *at;

    *n = 0;
    *items = apus_calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(**items));
    if (!*items)
        return APUS_ERR_MEMORY;
    cJSON_ArrayForEach(at, list)
    {
        if (cJSON_IsString(at))
            (*items)[(*n)++] = at->valuestring;
    }
    return APUS_OK;
}

/* --load_data_args: the rows that the training kept aside, by its own flags. */
static apus_status run_kept_rows(apusi_infer *f, const cJSON *saved, const char *path)
{
    const char **paths = NULL, **val_paths = NULL;
    apus_data_params data = { 0 };
    apus_status st;

    APUS_TRY(list_of(&paths, &data.n_paths, saved, "dataset"));
    APUS_TRY(list_of(&val_paths, &data.n_val_paths, saved, "val_dataset"));
    data.paths = paths;
    data.val_paths = val_paths;
    data.split_ratio = apus_json_number(saved, "split_dataset_ratio", 0);
    data.seed = (uint64_t)apus_json_number(saved, "data_seed", 42);
    data.shuffle = apus_json_bool(saved, "dataset_shuffle", true);
    if (!data.n_val_paths && !(data.split_ratio > 0))
        APUS_TRY(apus_fail(APUS_ERR_ARG, "--load_data_args: the training kept no rows for "
                                         "evaluation (neither --val_dataset nor "
                                         "--split_dataset_ratio); name rows with --val_dataset"));
    st = apusi_infer_batch(f, &data, APUS_DATA_VAL, path);
fail:
    apus_free(paths);
    apus_free(val_paths);
    return st;
}

static apus_status run_batch(apusi_infer *f, const cJSON *saved)
{
    char *path = result_path(f);
    apus_status st = APUS_ERR_MEMORY;

    if (path && f->o.load_data_args && !f->o.val_dataset.n)
        st = run_kept_rows(f, saved, path);
    else if (path)
        st = apusi_infer_batch(f,
                               &(apus_data_params) {
                                   .paths = f->o.val_dataset.items,
                                   .n_paths = f->o.val_dataset.n,
                                   .seed = 42,
                                   .keep_unanswered = true,
                               },
                               APUS_DATA_TRAIN, path);
    apus_free(path);
    return st;
}

apus_status apus_cmd_infer(apus_args *args)
{
    static const char *const names[] = { "model", "model_type", "template", "system",
                                         "torch_dtype" };
    apusi_infer f = { 0 };
    cJSON *saved = NULL;
    apus_status st;

    APUS_TRY(apusi_saved_adopt(&saved, args, names, APUS_COUNT(names)));
    APUS_TRY(apus_infer_options_read(&f.o, args));
    if (!f.o.model)
        APUS_TRY(apus_fail(APUS_ERR_ARG,
                           "--model is missing, and %s/args.json does not name the "
                           "model that the adapter was made for",
                           f.o.adapters.items[0]));
    if (f.o.load_data_args && !saved)
        APUS_TRY(apus_fail(APUS_ERR_MISSING, "--load_data_args: there is no %s/args.json",
                           f.o.adapters.items[0]));
    APUS_TRY(decide_drawing(&f));
    APUS_TRY(open_all(&f));
    apusi_interrupt_catch(&f.cancel);
    st = f.o.chat ? apusi_infer_chat(&f) : run_batch(&f, saved);
    apusi_interrupt_leave();
fail:
    close_all(&f);
    cJSON_Delete(saved);
    return st;
}
