/* cmd_sft.c - `apus sft`: from options to a training run, and what is told about it meanwhile. */
#include <inttypes.h>
#include <stdio.h>

#include "apus/train.h"
#include "args.h"
#include "base.h"
#include "console.h"
#include "file.h"
#include "json.h"
#include "options.h"
#include "os_interrupt.h"
#include "progress.h"
#include "sizes.h"

typedef struct telling {
    apus_progress bar;
    bool begun;
} telling;

/* ---- what the engine calls back ---- */

static void tell_folder(void *user, const char *path)
{
    (void)user;
    apus_log(APUS_LOG_INFO, "output_dir: %s", path);
    apus_log(APUS_LOG_INFO, "The logging file will be saved in: %s/logging.jsonl", path);
}

/* Sums, what is trained and its gradients are f32 whatever torch_dtype is. */
static void tell_numbers(const apus_train_plan_info *info)
{
    if (strcmp(info->dtype, "float32"))
        apus_log(APUS_LOG_INFO, "numbers: activations %s, sums float32", info->dtype);
    else
        apus_log(APUS_LOG_INFO, "numbers: float32%s",
                 info->narrow ? ", factors of products in 16 bits" : "");
}

static void tell_optimizer(const apus_train_plan_info *info)
{
    char bytes[32], coded[32], trained[32];

    apusi_bytes_text(bytes, sizeof(bytes), info->moment_bytes);
    apusi_millions_text(coded, sizeof(coded), info->n_coded);
    apusi_millions_text(trained, sizeof(trained), info->n_trained);
    if (info->optim == APUS_OPTIM_ADAMW)
        apus_log(APUS_LOG_INFO, "optimizer: AdamW, moments float32, %s", bytes);
    else if (info->n_coded)
        apus_log(APUS_LOG_INFO, "optimizer: AdamW, moments of 8 bits for %s of %s parameters, %s",
                 coded, trained, bytes);
    else
        apus_log(APUS_LOG_WARN,
                 "optimizer: AdamW, moments float32, %s: no trained tensor has 4096 elements, "
                 "from which on --optim adamw_8bit has an effect",
                 bytes);
}

static void tell_memory(const apus_train_plan_info *info)
{
    char device[32], heap[32], host[32];

    apusi_bytes_text(device, sizeof(device), info->device_bytes);
    apusi_bytes_text(heap, sizeof(heap), info->device_heap);
    apusi_bytes_text(host, sizeof(host), info->host_bytes);
    apus_log(APUS_LOG_INFO, "memory: planned peak %s of %s on the device (%s), %s on the host",
             device, heap, info->device, host);
    if (info->twice)
        apus_log(APUS_LOG_INFO, "gradient checkpointing: %u of %u layers are recomputed, %u twice",
                 info->recomputed, info->layers, info->twice);
    else if (info->layers)
        apus_log(APUS_LOG_INFO, "gradient checkpointing: %u of %u layers are recomputed",
                 info->recomputed, info->layers);
}

static void tell_host(const apus_train_plan_info *info)
{
    char bytes[32];

    apusi_bytes_text(bytes, sizeof(bytes), info->host_weight_bytes);
    if (info->host_layers)
        apus_log(APUS_LOG_INFO, "weights of %u of %u layers stay in the host's memory: %s",
                 info->host_layers, info->layers, bytes);
    if (info->host_moments)
        apus_log(APUS_LOG_INFO, "the optimizer's state stays in the host's memory");
}

static void tell_advice(const apus_train_plan_info *info)
{
    for (const char *line = info->advice; *line; line += line[0] == '\n') {
        const size_t n = strcspn(line, "\n");

        apus_log(APUS_LOG_WARN, "does not fit; tried in its place: %.*s", (int)n, line);
        line += n;
    }
}

static void tell_packs(const apus_train_plan_info *info)
{
    char val[96] = "";

    if (info->val_rows)
        snprintf(val, sizeof(val), ", val_dataset: %" PRIu64 " rows in %" PRIu64 ", %.1f%% full",
                 info->val_rows, info->val_packs, 100 * info->val_fill);
    apus_log(APUS_LOG_INFO,
             "packing (%s): train_dataset: %" PRIu64 " rows in %" PRIu64 " packs of up to %" PRIu64
             " tokens, %.1f%% full%s",
             info->packing == APUS_PACKING_BINPACK ? "binpack" : "sequential", info->train_rows,
             info->train_packs, info->pack_length, 100 * info->train_fill, val);
}

static void tell_plan(void *user, const apus_train_plan_info *info)
{
    telling *t = user;
    char params[32], trained[32], time[32];
    const double share =
        info->n_params ? 100 * (double)info->n_trained / (double)info->n_params : 0;

    if (info->advice) {
        if (info->device_bytes)
            tell_memory(info);
        tell_advice(info);
        return;
    }
    apusi_millions_text(params, sizeof(params), info->n_params);
    apusi_millions_text(trained, sizeof(trained), info->n_trained);
    apus_log(APUS_LOG_INFO, "template: %s (%s)", info->template_name, info->template_reason);
    apus_log(APUS_LOG_INFO, "train_dataset: %" PRIu64 " rows, val_dataset: %" PRIu64 " rows",
             info->train_rows, info->val_rows);
    if (info->pack_length)
        tell_packs(info);
    apus_log(APUS_LOG_INFO, "model: %s, %s parameters, %s trained (%.4f%%)", info->model, params,
             trained, share);
    tell_numbers(info);
    tell_optimizer(info);
    tell_memory(info);
    tell_host(info);
    if (info->seconds > 0) {
        apusi_duration_text(time, sizeof(time), info->seconds);
        apus_log(APUS_LOG_INFO,
                 "time: about %s for %" PRIu64 " steps (%g epochs, at most %" PRIu64
                 " tokens in a micro-batch)",
                 time, info->steps, info->epochs, info->max_tokens);
    } else {
        apus_log(APUS_LOG_INFO, "steps: %" PRIu64 " (%g epochs)", info->steps, info->epochs);
    }
    apus_progress_begin(&t->bar, "Train", 0, info->steps);
}

static void tell_step(void *user, const apus_train_progress *progress)
{
    telling *t = user;
    char tail[48];

    if (!t->begun) {
        t->begun = true;
        t->bar.first = progress->step - 1; /* a resumed run starts later */
    }
    snprintf(tail, sizeof(tail), "loss %.4g, %.0f tokens/s", progress->loss,
             progress->tokens_per_s);
    apus_progress_set(&t->bar, progress->step, tail);
}

static void tell_log(void *user, const char *line)
{
    (void)user;
    apus_console_print("%s", line);
}

static void tell_checkpoint(void *user, const char *path)
{
    (void)user;
    apus_log(APUS_LOG_INFO, "Saving model checkpoint to %s", path);
}

/* ---- options to parameters ---- */

static void data_params(apus_data_params *out, const apus_sft_options *o)
{
    *out = (apus_data_params) {
        .paths = o->dataset.items,
        .n_paths = o->dataset.n,
        .val_paths = o->val_dataset.items,
        .n_val_paths = o->val_dataset.n,
        .split_ratio = o->split_dataset_ratio,
        .seed = o->data_seed,
        .shuffle = o->dataset_shuffle,
        .strict = o->strict,
    };
}

static apus_truncation truncation_of(const char *word)
{
    return !strcmp(word, "left")    ? APUS_TRUNCATE_LEFT
           : !strcmp(word, "right") ? APUS_TRUNCATE_RIGHT
                                    : APUS_TRUNCATE_DELETE;
}

static apus_packing packing_of(const apus_sft_options *o)
{
    return !o->packing                                  ? APUS_PACKING_NONE
           : !strcmp(o->packing_strategy, "sequential") ? APUS_PACKING_SEQUENTIAL
                                                        : APUS_PACKING_BINPACK;
}

static void model_params(apus_train_params *p, const apus_sft_options *o)
{
    p->model = o->model;
    p->model_type = o->model_type;
    p->template_name = o->template;
    p->system = o->system;
    p->device = o->device;
    p->torch_dtype = o->torch_dtype;
    p->adapters = o->adapters.items;
    p->n_adapters = o->adapters.n;
    data_params(&p->data, o);
    p->dataloader_shuffle = o->train_dataloader_shuffle;
    p->max_length = o->max_length;
    p->truncation = truncation_of(o->truncation_strategy);
    p->loss_scale = o->loss_scale;
    p->packing = packing_of(o);
    p->packing_length = o->packing_length;
    p->packing_sections = o->packing_num_proc;
    p->full = o->full;
    p->lora_rank = o->lora_rank;
    p->lora_alpha = o->lora_alpha;
    p->lora_dropout = o->lora_dropout;
    p->use_rslora = o->use_rslora;
    p->targets = o->all_linear ? NULL : o->target_modules.items;
    p->n_targets = o->all_linear ? 0 : o->target_modules.n;
}

static void run_params(apus_train_params *p, const apus_sft_options *o)
{
    p->optim = o->optim;
    p->learning_rate = o->learning_rate;
    p->warmup_ratio = o->warmup_ratio;
    p->weight_decay = o->weight_decay;
    p->adam_beta1 = o->adam_beta1;
    p->adam_beta2 = o->adam_beta2;
    p->adam_epsilon = o->adam_epsilon;
    p->max_grad_norm = o->max_grad_norm;
    p->lr_scheduler = o->lr_scheduler_type;
    p->epochs = o->num_train_epochs;
    p->max_steps = o->max_steps;
    p->batch = o->train_batch_size;
    p->eval_batch = o->eval_batch_size;
    p->accumulation = o->gradient_accumulation_steps;
    p->recompute = o->gradient_checkpointing;
    p->seed = o->seed;
    p->eval_strategy = (int)o->eval_strategy;
    p->save_strategy = (int)o->save_strategy;
    p->eval_steps = o->eval_steps;
    p->save_steps = o->save_steps;
    p->save_total_limit = o->save_total_limit;
    p->logging_steps = o->logging_steps;
    p->tensorboard = o->tensorboard;
    p->output_dir = o->output_dir;
    p->add_version = o->add_version;
    p->resume = o->resume_from_checkpoint;
}

/* ---- the end ---- */

static void tell_end(const apus_train_result *r, const apus_sft_options *o)
{
    char device[32], host[32], time[32];

    apusi_bytes_text(device, sizeof(device), r->device_peak);
    apusi_bytes_text(host, sizeof(host), r->host_peak);
    apusi_duration_text(time, sizeof(time), r->seconds);
    apus_log(APUS_LOG_INFO, "%" PRIu64 " steps, %" PRIu64 " tokens in %s (%.1f tokens/s)", r->steps,
             r->tokens, time, r->tokens_per_s);
    apus_log(APUS_LOG_INFO, "memory: peak %s on the device, %s on the host", device, host);
    if (r->checkpoint[0])
        apus_log(APUS_LOG_INFO, "last_model_checkpoint: %s", r->checkpoint);
    else
        apus_log(APUS_LOG_INFO, "last_model_checkpoint: none (--save_strategy no)");
    if (o->tensorboard)
        apus_log(APUS_LOG_INFO, "images_dir: %s/images", r->folder);
    apus_log(APUS_LOG_INFO, "report: %s/report.html", r->folder);
}

apus_status apus_cmd_sft(apus_args *args)
{
    apus_status st;
    apus_sft_options options;
    apus_train_params params = { 0 };
    apus_train_result result = { 0 };
    apus_cancel cancel = { 0 };
    telling told = { 0 };
    cJSON *all = NULL;
    char *text = NULL;
    const apus_train_callbacks callbacks = {
        .user = &told,
        .folder = tell_folder,
        .plan = tell_plan,
        .step = tell_step,
        .log = tell_log,
        .checkpoint = tell_checkpoint,
    };

    APUS_TRY(apus_sft_options_read(&options, args));
    APUS_TRY(apus_args_json(&all, args));
    text = apus_json_text(all, 2);
    if (!text)
        APUS_TRY(apus_fail(APUS_ERR_MEMORY, "args.json: out of memory"));
    model_params(&params, &options);
    run_params(&params, &options);
    params.args_json = text;
    params.cancel = &cancel;
    apusi_interrupt_catch(&cancel);
    st = apus_train(&params, &callbacks, &result);
    apus_progress_end(&told.bar);
    if (st == APUS_OK)
        tell_end(&result, &options);
    else if (result.checkpoint[0])
        apus_log(APUS_LOG_INFO, "last_model_checkpoint: %s", result.checkpoint);
fail:
    apusi_interrupt_leave();
    cJSON_Delete(all);
    apus_free(text);
    return st;
}
