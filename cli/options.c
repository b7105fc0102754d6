/* options.c - from parsed flags to the typed structs of options.h: what concerns several flags at
 * once, and the values that swift decides later. */
#include "options.h"

#include <math.h>
#include <stdio.h>

#include "base.h"
#include "file.h"
#include "str.h"

static apus_texts texts(const apus_args *args, const char *name)
{
    apus_texts list;

    list.items = apus_args_list(args, name, &list.n);
    return list;
}

static apus_status need_model(const apus_args *args, const char **model)
{
    *model = apus_args_text(args, "model");
    if (*model)
        return APUS_OK;
    return apus_fail(APUS_ERR_ARG,
                     "--model is missing: name a folder in Hugging Face's layout or a "
                     "GGUF file");
}

/* --system is a text, in which "\n" stands for a line's end, or the path of a .txt file. */
static apus_status decide_system(apus_args *args, const char **system)
{
    const char *given = apus_args_text(args, "system");
    const size_t n = given ? strlen(given) : 0;
    char *file = NULL;
    size_t bytes = 0;
    apus_str s = { 0 };
    apus_status st;

    *system = given;
    if (!given)
        return APUS_OK;
    if (n > 4 && !strcmp(given + n - 4, ".txt"))
        APUS_FORWARD(apus_file_read(&file, &bytes, given, 1 << 20));
    for (const char *at = file ? file : given; *at; at++) {
        if (at[0] == '\\' && at[1] == 'n') {
            apus_str_add(&s, "\n");
            at++;
        } else {
            apus_str_add_bytes(&s, at, 1);
        }
    }
    apus_free(file);
    st = s.failed ? APUS_ERR_MEMORY : apus_args_set(args, "system", s.data ? s.data : "");
    apus_str_release(&s);
    *system = apus_args_text(args, "system");
    return st;
}

char *apus_model_name_of(const char *path)
{
    size_t end = strlen(path), start;

    while (end > 1 && path[end - 1] == '/')
        end--;
    start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (end - start > 5 && !memcmp(path + end - 5, ".gguf", 5))
        end -= 5;
    return apus_strndup(path + start, end - start);
}

static apus_when when_of(const char *word)
{
    return !strcmp(word, "no")      ? APUS_WHEN_NO
           : !strcmp(word, "steps") ? APUS_WHEN_STEPS
                                    : APUS_WHEN_EPOCH;
}

apus_recompute apusi_recompute_asked(const apus_args *args)
{
    return !apus_args_bool(args, "gradient_checkpointing")   ? APUS_RECOMPUTE_NONE
           : apus_args_given(args, "gradient_checkpointing") ? APUS_RECOMPUTE_ALL
                                                             : APUS_RECOMPUTE_FIT;
}

apus_texts apusi_targets_asked(const apus_args *args, bool *all_linear)
{
    const apus_texts out = texts(args, "target_modules");

    *all_linear = false;
    for (size_t i = 0; i < out.n; i++)
        *all_linear |= !strcmp(out.items[i], "all-linear");
    return out;
}

/* A number of steps is whole; a share of all steps lies below 1. */
static apus_status check_steps(const apus_args *args, const char *name)
{
    const double steps = apus_args_float(args, name);

    if (apus_args_has(args, name) && steps >= 1 && steps != floor(steps))
        return apus_fail(APUS_ERR_ARG,
                         "--%s %g: expected a whole number of steps, or a share of all "
                         "steps below 1",
                         name, steps);
    return APUS_OK;
}

uint64_t apus_steps_of(double steps_or_share, uint64_t all_steps)
{
    const double steps =
        steps_or_share < 1 ? ceil(steps_or_share * (double)all_steps) : steps_or_share;

    return steps < 1 ? 1 : steps > 9e15 ? UINT64_MAX : (uint64_t)steps;
}

static apus_status read_sft_data(apus_sft_options *out, apus_args *args)
{
    out->dataset = texts(args, "dataset");
    if (!out->dataset.n)
        return apus_fail(APUS_ERR_ARG, "--dataset is missing: name one or more files of rows");
    if (apus_args_has(args, "val_dataset"))
        APUS_FORWARD(apus_args_set(args, "split_dataset_ratio", "0.0"));
    if (!apus_args_has(args, "truncation_strategy"))
        APUS_FORWARD(apus_args_set(args, "truncation_strategy", "delete"));
    out->val_dataset = texts(args, "val_dataset");
    out->split_dataset_ratio = apus_args_float(args, "split_dataset_ratio");
    out->dataset_shuffle = apus_args_bool(args, "dataset_shuffle");
    out->train_dataloader_shuffle = apus_args_bool(args, "train_dataloader_shuffle");
    out->strict = apus_args_bool(args, "strict");
    out->data_seed = apus_args_uint(args, "data_seed");
    out->max_length = apus_args_uint(args, "max_length");
    out->truncation_strategy = apus_args_text(args, "truncation_strategy");
    out->loss_scale = apus_args_text(args, "loss_scale");
    return APUS_OK;
}

/* Packs are as long as rows may be unless it is said, and have no padding. */
static apus_status read_sft_packing(apus_sft_options *out, apus_args *args)
{
    static const char *const of_packs[] = { "packing_length", "packing_strategy",
                                            "packing_num_proc" };

    out->packing = apus_args_bool(args, "packing");
    if (out->packing)
        APUS_FORWARD(apus_args_set(args, "padding_free", "true"));
    for (size_t i = 0; i < APUS_COUNT(of_packs) && !out->packing; i++)
        if (apus_args_given(args, of_packs[i]))
            apus_log(APUS_LOG_WARN, "--%s has no effect without --packing true", of_packs[i]);
    if (out->packing && out->max_length && !apus_args_has(args, "packing_length"))
        APUS_FORWARD(apus_args_set_uint(args, "packing_length", out->max_length));
    out->packing_length = apus_args_uint(args, "packing_length");
    out->packing_strategy = apus_args_text(args, "packing_strategy");
    out->packing_num_proc = (uint32_t)apus_args_uint(args, "packing_num_proc");
    return APUS_OK;
}

static apus_status read_sft_tuner(apus_sft_options *out, const apus_args *args)
{
    out->full = !strcmp(apus_args_text(args, "tuner_type"), "full");
    out->adapters = texts(args, "adapters");
    out->lora_rank = (uint32_t)apus_args_uint(args, "lora_rank");
    out->lora_alpha = apus_args_float(args, "lora_alpha");
    out->lora_dropout = apus_args_float(args, "lora_dropout");
    out->use_rslora = apus_args_bool(args, "use_rslora");
    out->target_modules = apusi_targets_asked(args, &out->all_linear);
    if (out->adapters.n > 1)
        return apus_fail(APUS_ERR_SUPPORT,
                         "--adapters: %zu adapters are not supported yet in "
                         "training; name one",
                         out->adapters.n);
    if (out->full && out->adapters.n)
        return apus_fail(APUS_ERR_SUPPORT, "--tuner_type full with --adapters: not supported yet; "
                                           "merge first (apus export --merge_lora true)");
    return APUS_OK;
}

/* transformers has two words for each. */
apus_optim apusi_optim_asked(const apus_args *args)
{
    const char *word = apus_args_text(args, "optim");

    return !strcmp(word, "adamw_8bit") || !strcmp(word, "adamw_bnb_8bit") ? APUS_OPTIM_ADAMW_8BIT
                                                                          : APUS_OPTIM_ADAMW;
}

static apus_status read_sft_optimizer(apus_sft_options *out, apus_args *args)
{
    const uint64_t batch = apus_args_uint(args, "per_device_train_batch_size");

    if (!apus_args_has(args, "learning_rate"))
        APUS_FORWARD(apus_args_set(args, "learning_rate", out->full ? "1e-05" : "0.0001"));
    if (!apus_args_has(args, "gradient_accumulation_steps"))
        APUS_FORWARD(apus_args_set_uint(args, "gradient_accumulation_steps", (15 + batch) / batch));
    out->optim = apusi_optim_asked(args);
    out->learning_rate = apus_args_float(args, "learning_rate");
    out->lr_scheduler_type = apus_args_text(args, "lr_scheduler_type");
    out->warmup_ratio = apus_args_float(args, "warmup_ratio");
    out->weight_decay = apus_args_float(args, "weight_decay");
    out->adam_beta1 = apus_args_float(args, "adam_beta1");
    out->adam_beta2 = apus_args_float(args, "adam_beta2");
    out->adam_epsilon = apus_args_float(args, "adam_epsilon");
    out->max_grad_norm = apus_args_float(args, "max_grad_norm");
    out->num_train_epochs = apus_args_float(args, "num_train_epochs");
    out->max_steps =
        apus_args_int(args, "max_steps") > 0 ? (uint64_t)apus_args_int(args, "max_steps") : 0;
    out->train_batch_size = (uint32_t)batch;
    out->eval_batch_size = (uint32_t)apus_args_uint(args, "per_device_eval_batch_size");
    out->gradient_accumulation_steps =
        (uint32_t)apus_args_uint(args, "gradient_accumulation_steps");
    out->gradient_checkpointing = apusi_recompute_asked(args);
    out->seed = apus_args_uint(args, "seed");
    return APUS_OK;
}

static apus_status read_sft_cadence(apus_sft_options *out, apus_args *args)
{
    const bool has_val = out->val_dataset.n || out->split_dataset_ratio > 0;
    const char *save = apus_args_text(args, "save_strategy");
    apus_texts report_to = texts(args, "report_to");

    if (!has_val)
        APUS_FORWARD(apus_args_set(args, "eval_strategy", "no"));
    else if (!apus_args_has(args, "eval_strategy"))
        APUS_FORWARD(apus_args_set(args, "eval_strategy", save));
    APUS_FORWARD(check_steps(args, "save_steps"));
    APUS_FORWARD(check_steps(args, "eval_steps"));
    out->save_steps = apus_args_float(args, "save_steps");
    if (!apus_args_has(args, "eval_steps"))
        APUS_FORWARD(apus_args_set_float(args, "eval_steps", out->save_steps));
    out->eval_steps = apus_args_float(args, "eval_steps");
    out->eval_strategy = when_of(apus_args_text(args, "eval_strategy"));
    out->save_strategy = when_of(save);
    out->save_total_limit = (uint32_t)apus_args_uint(args, "save_total_limit");
    out->logging_steps = apus_args_uint(args, "logging_steps");
    for (size_t i = 0; i < report_to.n; i++)
        out->tensorboard |= strcmp(report_to.items[i], "none") != 0;
    return APUS_OK;
}

static apus_status decide_sft_output(apus_sft_options *out, apus_args *args)
{
    if (!apus_args_has(args, "output_dir")) {
        char *name = apus_model_name_of(out->model);
        char *folder = name ? apus_path_join("output", name) : NULL;
        const apus_status st = folder ? apus_args_set(args, "output_dir", folder) : APUS_ERR_MEMORY;

        apus_free(name);
        apus_free(folder);
        APUS_FORWARD(st);
    }
    out->output_dir = apus_args_text(args, "output_dir");
    out->add_version = apus_args_bool(args, "add_version");
    out->resume_from_checkpoint = apus_args_text(args, "resume_from_checkpoint");
    return APUS_OK;
}

apus_status apus_sft_options_read(apus_sft_options *out, apus_args *args)
{
    *out = (apus_sft_options) { 0 };
    APUS_FORWARD(need_model(args, &out->model));
    APUS_FORWARD(decide_system(args, &out->system));
    out->model_type = apus_args_text(args, "model_type");
    out->template = apus_args_text(args, "template");
    out->device = apus_args_text(args, "device");
    out->torch_dtype = apus_args_text(args, "torch_dtype");
    APUS_FORWARD(read_sft_data(out, args));
    APUS_FORWARD(read_sft_packing(out, args));
    APUS_FORWARD(read_sft_tuner(out, args));
    APUS_FORWARD(read_sft_optimizer(out, args));
    APUS_FORWARD(read_sft_cadence(out, args));
    return decide_sft_output(out, args);
}

/* Streamed rows follow one another, as swift has it. */
static apus_status decide_batch(apus_infer_options *out, const apus_args *args)
{
    const int64_t size = apus_args_int(args, "max_batch_size");

    if (size == 0)
        return apus_fail(APUS_ERR_ARG, "--max_batch_size 0: expected a number of rows, or -1 for "
                                       "as many as fit");
    out->max_batch_size = size < 0                    ? 0
                          : size < APUS_GENERATE_MOST ? (uint32_t)size
                                                      : APUS_GENERATE_MOST;
    if (out->stream && !out->chat && out->max_batch_size != 1)
        apus_log(APUS_LOG_INFO, "--stream true: the rows are answered one after another, whatever "
                                "--max_batch_size says");
    if (out->stream)
        out->max_batch_size = 1;
    return APUS_OK;
}

apus_status apus_infer_options_read(apus_infer_options *out, apus_args *args)
{
    *out = (apus_infer_options) { 0 };
    out->adapters = texts(args, "adapters");
    out->model = apus_args_text(args, "model");
    if (!out->adapters.n)
        APUS_FORWARD(need_model(args, &out->model));
    if (out->adapters.n > 1)
        return apus_fail(APUS_ERR_SUPPORT,
                         "--adapters: %zu adapters are not supported yet; name one",
                         out->adapters.n);
    APUS_FORWARD(decide_system(args, &out->system));
    out->model_type = apus_args_text(args, "model_type");
    out->template = apus_args_text(args, "template");
    out->device = apus_args_text(args, "device");
    out->torch_dtype = apus_args_text(args, "torch_dtype");
    out->val_dataset = texts(args, "val_dataset");
    out->load_data_args = apus_args_bool(args, "load_data_args");
    out->chat = !out->val_dataset.n && !out->load_data_args;
    if (out->load_data_args && !out->adapters.n)
        return apus_fail(APUS_ERR_ARG,
                         "--load_data_args reads the adapter's args.json: name it with "
                         "--adapters");
    if (!apus_args_has(args, "stream"))
        APUS_FORWARD(apus_args_set(args, "stream", out->chat ? "true" : "false"));
    out->stream = apus_args_bool(args, "stream");
    APUS_FORWARD(decide_batch(out, args));
    out->result_path = apus_args_text(args, "result_path");
    out->max_length = apus_args_uint(args, "max_length");
    out->max_new_tokens = apus_args_uint(args, "max_new_tokens");
    out->has_temperature = apus_args_has(args, "temperature");
    out->temperature = apus_args_float(args, "temperature");
    out->has_top_k = apus_args_has(args, "top_k");
    out->top_k = apus_args_int(args, "top_k") > 0 ? (uint32_t)apus_args_int(args, "top_k") : 0;
    out->has_top_p = apus_args_has(args, "top_p");
    out->top_p = out->has_top_p ? apus_args_float(args, "top_p") : 1;
    out->min_p = apus_args_float(args, "min_p");
    out->has_repetition_penalty = apus_args_has(args, "repetition_penalty");
    out->repetition_penalty =
        out->has_repetition_penalty ? apus_args_float(args, "repetition_penalty") : 1;
    out->seed = apus_args_uint(args, "seed");
    return APUS_OK;
}

apus_status apus_export_options_read(apus_export_options *out, apus_args *args)
{
    *out = (apus_export_options) { 0 };
    out->model = apus_args_text(args, "model");
    out->model_type = apus_args_text(args, "model_type");
    out->adapters = texts(args, "adapters");
    out->torch_dtype = apus_args_text(args, "torch_dtype");
    out->merge_lora = apus_args_bool(args, "merge_lora");
    if (!out->merge_lora)
        return apus_fail(APUS_ERR_ARG, "nothing to do: ask for --merge_lora true");
    if (out->adapters.n != 1)
        return apus_fail(APUS_ERR_ARG, "--merge_lora: name one adapter with --adapters");
    if (!apus_args_has(args, "output_dir")) {
        apus_str s = { 0 };
        apus_status st;

        apus_str_add(&s, out->adapters.items[0]);
        while (s.len > 1 && s.data[s.len - 1] == '/')
            s.data[--s.len] = '\0';
        apus_str_add(&s, "-merged");
        st = s.failed ? APUS_ERR_MEMORY : apus_args_set(args, "output_dir", s.data);
        apus_str_release(&s);
        APUS_FORWARD(st);
    }
    out->output_dir = apus_args_text(args, "output_dir");
    return APUS_OK;
}

apus_status apus_inspect_options_read(apus_inspect_options *out, apus_args *args)
{
    *out = (apus_inspect_options) { 0 };
    out->max_length = apus_args_uint(args, "max_length");
    return need_model(args, &out->model);
}
