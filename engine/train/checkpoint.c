/* checkpoint.c - checkpoints that survive a kill at any moment, and resuming from one.
 *
 * checkpoint-N/ is written as checkpoint-N.tmp, synced and renamed; a folder of that name is whole.
 *   adapter_config.json, adapter_model.safetensors   PEFT (or a model folder, for full fine-tuning)
 *   additional_config.json, args.json                as ms-swift has them
 *   optimizer.safetensors   exp_avg, exp_avg_sq (n) f32: the trained slab's order; of 8 bits those
 *   of what keeps f32, state1, state2 u8, their absmax (2, blocks) f32, runs (op/adamw_8bit.h)
 *   trainer_state.json      transformers' state and log history
 *   apus_state.json         format version, step, seeds, sums since the last log, loss scale,
 *   choices and hash, and the tune file that they were made by */
#include <stdio.h>

#include "file.h"
#include "json.h"
#include "safetensors.h"
#include "trace.h"
#include "trainer_internal.h"
#include "tuned.h"

#define FORMAT_VERSION 1

static const char *const optims[] = {
    [APUS_OPTIM_ADAMW] = "adamw_torch",
    [APUS_OPTIM_ADAMW_8BIT] = "adamw_8bit",
};

static apus_status write_optimizer(const apusi_trainer *t, const char *folder)
{
    apus_status st;
    apusi_moment all[APUSI_MOST_MOMENTS];
    apus_safetensors_entry e[APUSI_MOST_MOMENTS] = { 0 };
    void *data[APUSI_MOST_MOMENTS] = { 0 };
    char *path = apus_path_join(folder, "optimizer.safetensors");
    const size_t n = apusi_moments_list(apus_train_moments(t->step), all);

    if (!path)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const apus_buffer *b = all[i].buffer;
        if (!b->host) {
            data[i] = apus_alloc(b->bytes);
            if (!data[i])
                APUS_TRY(APUS_ERR_MEMORY);
            APUS_TRY(apus_buffer_read(t->model->gpu, b, 0, data[i], b->bytes));
        }
        e[i] = (apus_safetensors_entry) {
            .name = all[i].name,
            .dtype = all[i].dtype,
            .n_dims = 1,
            .dims = { b->bytes / apus_dtype_of(all[i].dtype)->block_bytes },
            .data = b->host ? b->host : data[i],
        };
    }
    APUS_TRY(apus_safetensors_write(path, e, n, NULL, 0));
fail:
    for (size_t i = 0; i < n; i++)
        apus_free(data[i]);
    apus_free(path);
    return st;
}

static apus_status write_own_state(apusi_trainer *t, uint64_t step, const char *folder)
{
    const char *choices;
    const uint64_t hash = apus_train_choices(t->step, &choices);
    const apus_loss_scale scale = apus_train_loss_scale(t->step);
    cJSON *s;
    char text[32];

    apus_json_begin();
    s = cJSON_CreateObject();
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)hash);
    cJSON_AddNumberToObject(s, "format_version", FORMAT_VERSION);
    cJSON_AddNumberToObject(s, "step", (double)step);
    cJSON_AddNumberToObject(s, "seed", (double)t->p->seed);
    cJSON_AddNumberToObject(s, "data_seed", (double)t->p->data.seed);
    cJSON_AddStringToObject(s, "optim", optims[t->p->optim]);
    cJSON_AddNumberToObject(s, "n_optimizer", (double)apus_train_count(t->step));
    cJSON_AddNumberToObject(s, "tokens", (double)t->tokens);
    apus_json_add_float(s, "loss_sum", t->loss_sum);
    apus_json_add_float(s, "window_loss", t->window.loss);
    apus_json_add_float(s, "window_correct", t->window.correct);
    apus_json_add_float(s, "window_tokens", t->window.tokens);
    cJSON_AddNumberToObject(s, "window_steps", (double)t->window.steps);
    cJSON_AddStringToObject(s, "torch_dtype", t->model->types.torch_dtype);
    cJSON_AddNumberToObject(s, "loss_scale", scale.scale);
    cJSON_AddNumberToObject(s, "loss_scale_good", scale.good);
    cJSON_AddStringToObject(s, "choices_hash", text);
    cJSON_AddStringToObject(s, "choices", choices);
    const apus_tuned *tuned = apus_exec_tuned(t->model->exec);
    if (tuned)
        cJSON_AddItemToObject(s, "tune", apus_tuned_json(tuned, apus_gpu_caps(t->model->gpu)));
    const apus_status st = apus_json_write(s, folder, "apus_state.json");
    cJSON_Delete(s);
    return st;
}

static apus_status write_small_files(apusi_trainer *t, uint64_t step, const char *folder)
{
    apus_status st;
    char *path = apus_path_join(folder, "args.json"),
         *state = apus_path_join(folder, "trainer_state.json");
    cJSON *extra = NULL;

    if (!path || !state)
        APUS_TRY(APUS_ERR_MEMORY);
    if (t->p->args_json)
        APUS_TRY(apus_file_write(path, t->p->args_json, strlen(t->p->args_json)));
    apus_json_begin();
    extra = cJSON_CreateObject();
    cJSON_AddNullToObject(extra, "lora_dtype");
    cJSON_AddNullToObject(extra, "lorap_lr_ratio");
    apus_json_add_float(extra, "lorap_emb_lr", 1e-6);
    if (t->adapters)
        APUS_TRY(apus_json_write(extra, folder, "additional_config.json"));
    APUS_TRY(apus_run_log_write_state(t->log, state, &t->state));
    APUS_TRY(write_own_state(t, step, folder));
fail:
    cJSON_Delete(extra);
    apus_free(path);
    apus_free(state);
    return st;
}

/* What a checkpoint takes, roughly: weights or adapter, and two moments. */
static apus_status check_space(const apusi_trainer *t)
{
    const apus_train_memory m = apus_train_memory_of(t->step);
    const uint64_t need = m.trained + m.moments + (1 << 20);
    uint64_t there = 0;

    if (apus_disk_free(t->folder, &there) == APUS_OK && there < need)
        return apus_fail(APUS_ERR_IO,
                         "%s: a checkpoint needs %.1f MiB and the disk has %.1f MiB left; delete "
                         "something or use --save_total_limit",
                         t->folder, (double)need / 1048576, (double)there / 1048576);
    return APUS_OK;
}

apus_status apusi_checkpoint_write(apusi_trainer *t, uint64_t step, double epoch, bool ended)
{
    apus_status st;
    char *path = apus_format("%s/checkpoint-%llu", t->folder, (unsigned long long)step);
    char *tmp = path ? apus_format("%s.tmp", path) : NULL;
    const uint64_t began = apus_trace_begin();

    t->recovery.saving = true;
    if (!path || !tmp)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(check_space(t));
    t->state.step = step;
    t->state.epoch = epoch;
    t->state.ended = ended;
    if (t->state.has_best && t->state.best_step == step) { /* this one is the best so far */
        apus_free(t->best_checkpoint);
        t->best_checkpoint = apus_strdup(path);
        t->state.best_checkpoint = t->best_checkpoint;
    }
    APUS_TRY(apus_path_remove(tmp));
    APUS_TRY(apus_dir_create(tmp));
    if (t->adapters)
        APUS_TRY(apus_adapters_save(t->adapters, 0, tmp, t->p->model));
    else
        APUS_TRY(apusi_export_folder(t->model, NULL, APUS_F32, tmp));
    APUS_TRY(write_optimizer(t, tmp));
    APUS_TRY(write_small_files(t, step, tmp));
    APUS_TRY(apus_dir_sync(tmp));
    APUS_TRY(apus_path_remove(path));
    APUS_TRY(apus_path_rename(tmp, path));
    APUS_TRY(apus_dir_sync(t->folder));
    apus_free(t->last_checkpoint);
    t->last_checkpoint = path;
    path = NULL;
    snprintf(t->result->checkpoint, sizeof(t->result->checkpoint), "%s", t->last_checkpoint);
    char *link = apus_path_join(t->folder, "last-checkpoint");
    if (link && apus_symlink_replace(apus_path_base(t->last_checkpoint), link) != APUS_OK)
        apus_log(APUS_LOG_WARN, "%s", apus_error_text());
    apus_free(link);
    apusi_folder_trim(t);
    APUS_TRY(apusi_recovery_mark(t));
    t->recovery.saving = false;
    apus_trace_end(began, "checkpoint", t->last_checkpoint, "step", step);
    if (t->cb->checkpoint)
        t->cb->checkpoint(t->cb->user, t->last_checkpoint);
fail:
    apus_free(path);
    apus_free(tmp);
    return st;
}

/* ---- resume ---- */

/* Checkpoints of before there was a choice do not say it. */
static apus_status check_optim(const apusi_trainer *t, const cJSON *state, const char *folder)
{
    const char *there = apus_json_string(state, "optim", optims[APUS_OPTIM_ADAMW]);
    const char *here = optims[t->p->optim];

    if (!strcmp(there, here))
        return APUS_OK;
    return apus_fail(APUS_ERR_ARG,
                     "%s was made with --optim %s and this run has --optim %s, whose state is "
                     "another: resume with --optim %s, or begin anew from its weights with %s",
                     folder, there, here, there, t->p->full ? "--model" : "--adapters");
}

apus_status apusi_checkpoint_types(apusi_trainer *t, const char *folder)
{
    apus_status st = APUS_OK;
    cJSON *s = NULL;
    char *path = apus_path_join(folder, "apus_state.json");

    if (!path)
        return APUS_ERR_MEMORY;
    if (apus_path_exists(path)) {
        APUS_TRY(apus_json_read(&s, path));
        APUS_TRY(check_optim(t, s, folder));
        if (!t->p->torch_dtype)
            snprintf(t->torch_dtype, sizeof(t->torch_dtype), "%s",
                     apus_json_string(s, "torch_dtype", ""));
    }
fail:
    cJSON_Delete(s);
    apus_free(path);
    return st;
}

/* Say where the choices come from, if that is not where a new run would take them from. */
static void tell_tuned(const apusi_trainer *t, const apus_tuned *tuned, const char *why)
{
    const uint64_t here = apus_tuned_hash(apus_exec_tuned(t->model->exec)),
                   there = apus_tuned_hash(tuned);

    if (why)
        apus_log(APUS_LOG_WARN, "the tune file of the checkpoint is not used: %s", why);
    else if (here != there && tuned)
        apus_log(APUS_LOG_INFO, "algorithms are chosen by the checkpoint's tune file (%016llx)",
                 (unsigned long long)there);
    else if (here != there)
        apus_log(APUS_LOG_INFO,
                 "algorithms are chosen without a tune file, as when the checkpoint was made");
}

apus_status apusi_checkpoint_tuned(apusi_trainer *t, const char *folder)
{
    apus_status st = APUS_OK;
    apus_tuned *tuned = NULL;
    apus_str why = { 0 };
    cJSON *s = NULL;
    char *path = apus_path_join(folder, "apus_state.json");

    if (!path)
        return APUS_ERR_MEMORY;
    if (apus_path_exists(path)) {
        APUS_TRY(apus_json_read(&s, path));
        const cJSON *json = apus_json_get(s, "tune");
        if (json)
            APUS_TRY(apus_tuned_read(&tuned, &why, json, path, apus_gpu_caps(t->model->gpu)));
        if (!t->count_only)
            tell_tuned(t, tuned, why.data);
        apus_exec_set_tuned(t->model->exec, tuned);
    }
fail:
    cJSON_Delete(s);
    apus_str_release(&why);
    apus_free(path);
    return st;
}

static apus_status load_moment(const apusi_trainer *t, const apus_safetensors *file,
                               const apusi_moment *m)
{
    const apus_buffer *b = m->buffer;
    const apusi_moments *all = apus_train_moments(t->step);
    const uint32_t bytes = apus_dtype_of(m->dtype)->block_bytes;
    const apus_file_tensor *x;

    APUS_FORWARD(apus_safetensors_need(file, m->name, &x));
    if (x->dtype != m->dtype || x->bytes != b->bytes)
        return apus_fail(APUS_ERR_SHAPE,
                         "the checkpoint's optimizer has %llu values of %s, this run %llu: rank, "
                         "targets or model differ",
                         (unsigned long long)(x->bytes / bytes), m->name,
                         (unsigned long long)(b->bytes / bytes));
    if (b != &all->runs)
        return apus_buffer_write(t->model->gpu, b, 0, x->data, x->bytes);
    if (memcmp(x->data, all->table, x->bytes)) /* what the kernel reads is this run's own */
        return apus_fail(APUS_ERR_SHAPE,
                         "the checkpoint's optimizer has its blocks of 8 bits elsewhere: rank, "
                         "targets or model differ");
    return APUS_OK;
}

static apus_status load_optimizer(const apusi_trainer *t, const char *folder)
{
    apus_status st;
    apusi_moment all[APUSI_MOST_MOMENTS];
    size_t n;
    apus_safetensors *file = NULL;
    char *path = apus_path_join(folder, "optimizer.safetensors"),
         *pickle = apus_path_join(folder, "optimizer.pt");

    if (!path || !pickle)
        APUS_TRY(APUS_ERR_MEMORY);
    if (!apus_path_exists(path) && apus_path_exists(pickle))
        APUS_TRY(apus_fail(APUS_ERR_SUPPORT,
                           "%s is a pickle, which can run code when read: it is refused; pass the "
                           "folder with --adapters to train its weights further",
                           pickle));
    APUS_TRY(apus_safetensors_open(&file, path));
    n = apusi_moments_list(apus_train_moments(t->step), all);
    for (size_t i = 0; i < n; i++)
        APUS_TRY(load_moment(t, file, &all[i]));
fail:
    apus_safetensors_close(&file);
    apus_free(path);
    apus_free(pickle);
    return st;
}

static apus_status load_own_state(apusi_trainer *t, const char *folder)
{
    apus_status st;
    cJSON *s = NULL;
    char *path = apus_path_join(folder, "apus_state.json"), hash[32];
    uint64_t version = 0, good = 0;

    if (!path)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_json_read(&s, path));
    APUS_TRY(apus_json_u64(s, "format_version", 1, UINT32_MAX, &version));
    if (version != FORMAT_VERSION)
        APUS_TRY(apus_fail(APUS_ERR_SUPPORT, "%s has format version %llu, this program reads %d",
                           path, (unsigned long long)version, FORMAT_VERSION));
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)apus_train_choices(t->step, NULL));
    /* Fewer rows at once, for want of memory, may mean others; that was said. */
    if (t->plan.batch == apus_sampler_plan_of(t->sampler).batch &&
        strcmp(hash, apus_json_string(s, "choices_hash", "")))
        APUS_TRY(apus_fail(
            APUS_ERR_ARG,
            "the checkpoint was made with other algorithms (choices %s) than this run "
            "would use (%s), so that the result would differ: use the same device, build, "
            "APUS_KERNEL and APUS_FUSE",
            apus_json_string(s, "choices_hash", "?"), hash));
    APUS_TRY(apus_json_u64(s, "step", 0, UINT64_MAX >> 12, &t->start_step));
    APUS_TRY(apus_json_u64(s, "loss_scale_good", 0, UINT32_MAX, &good));
    APUS_TRY(apus_train_set_loss_scale(
        t->step, (apus_loss_scale) { apus_json_number(s, "loss_scale", 0), (uint32_t)good }));
    t->tokens = (uint64_t)apus_json_number(s, "tokens", 0);
    t->loss_sum = apus_json_number(s, "loss_sum", 0);
    t->window = (apusi_window) {
        apus_json_number(s, "window_loss", 0),
        apus_json_number(s, "window_correct", 0),
        apus_json_number(s, "window_tokens", 0),
        (uint64_t)apus_json_number(s, "window_steps", 0),
    };
fail:
    cJSON_Delete(s);
    apus_free(path);
    return st;
}

apus_status apusi_checkpoint_resume(apusi_trainer *t, const char *folder)
{
    apus_status st;
    apus_trainer_state state = { 0 };
    char *path = apus_path_join(folder, "trainer_state.json");

    if (!path)
        return APUS_ERR_MEMORY;
    APUS_TRY(load_optimizer(t, folder));
    APUS_TRY(load_own_state(t, folder));
    APUS_TRY(apus_run_log_read_state(t->log, path, &state));
    t->state.has_best = state.has_best;
    t->state.best_metric = state.best_metric;
    t->state.best_step = state.best_step;
    t->best_checkpoint = state.best_checkpoint ? apus_strdup(state.best_checkpoint) : NULL;
    t->state.best_checkpoint = t->best_checkpoint;
    apus_sampler_seek(t->sampler, t->start_step);
fail:
    apus_free(path);
    return st;
}
