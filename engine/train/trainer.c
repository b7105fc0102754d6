/* trainer.c - a training run from end to end: data, model, plans, the loop.  See apus/train.h. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "os.h"
#include "trace.h"
#include "trainer_internal.h"

#define MOST_OVERFLOWS 10u /* updates in a row that overflow without a loss scale */

double apusi_elapsed(const apusi_trainer *t)
{
    return (double)(apus_now_ns() - t->begin_ns) * 1e-9;
}

static void release(apusi_trainer *t)
{
    apus_train_step_destroy(&t->step);
    apus_adapters_destroy(&t->adapters);
    apus_model_close(&t->model);
    apus_sampler_destroy(&t->sampler);
    apus_run_log_close(&t->log);
    apus_tensorboard_close(&t->board);
    apusi_rows_release(&t->train);
    apusi_rows_release(&t->val);
    apus_data_close(&t->data);
    apus_tokenizer_close(&t->tokenizer);
    apus_free(t->batch.seqs);
    apus_free(t->folder);
    apus_free(t->best_checkpoint);
    apus_free(t->last_checkpoint);
    apus_free(t->parameter_info);
    apusi_recovery_release(&t->recovery);
}

/* ---- before the device ---- */

static apus_status choose_template(apusi_trainer *t, const apus_checkpoint *ck)
{
    const cJSON *config = apus_checkpoint_config(ck),
                *archs = apus_json_get(config, "architectures");
    const cJSON *first = archs ? cJSON_GetArrayItem(archs, 0) : NULL;

    return apus_template_choose(
        &t->choice,
        &(apus_template_hint) { .template_name = t->p->template_name,
                                .model_type = t->p->model_type,
                                .model_name = apus_checkpoint_name(ck),
                                .architecture = first ? first->valuestring : NULL,
                                .chat_template = apus_tokenizer_chat_template(t->tokenizer) });
}

/* How long packs may be: as long as rows where nothing else is said. */
static apus_status choose_pack_length(apusi_trainer *t, const apus_checkpoint *ck)
{
    apus_config config;

    if (t->p->packing == APUS_PACKING_NONE)
        return APUS_OK;
    APUS_FORWARD(apus_checkpoint_read_config(ck, &config));
    t->pack_length = (uint32_t)(t->p->packing_length ? t->p->packing_length
                                : t->p->max_length   ? t->p->max_length
                                                     : config.max_pos);
    return APUS_OK;
}

static apus_status open_texts(apusi_trainer *t)
{
    apus_status st;
    apus_checkpoint *ck = NULL;

    uint64_t began = apus_trace_begin();
    APUS_TRY(apus_checkpoint_open(&ck, t->p->model));
    APUS_TRY(apus_tokenizer_open(&t->tokenizer, t->p->model));
    APUS_TRY(choose_template(t, ck));
    APUS_TRY(choose_pack_length(t, ck));
    apus_trace_end(began, "open tokenizer", t->p->model, NULL, 0);
    began = apus_trace_begin();
    APUS_TRY(apus_data_open(&t->data, &t->p->data));
    apus_trace_end(began, "open data set", NULL, "rows", apus_data_count(t->data, APUS_DATA_TRAIN));
    APUS_TRY(apusi_rows_encode(t, APUS_DATA_TRAIN, &t->train));
    APUS_TRY(apusi_rows_encode(t, APUS_DATA_VAL, &t->val));
    if (t->train.n == 0)
        APUS_TRY(apus_fail(APUS_ERR_ARG, "there are no rows to train on"));
fail:
    apus_checkpoint_close(&ck);
    return st;
}

static apus_status make_schedule(apusi_trainer *t)
{
    const apus_train_params *p = t->p;
    apus_schedule_params s = { .lr = p->learning_rate, .warmup_ratio = p->warmup_ratio };

    APUS_FORWARD(apus_sampler_create(&t->sampler,
                                     &(apus_sampler_params) { .rows = t->train.packs.n,
                                                              .batch = p->batch,
                                                              .accumulation = p->accumulation,
                                                              .epochs = p->epochs,
                                                              .max_steps = p->max_steps,
                                                              .seed = p->data.seed,
                                                              .shuffle = p->dataloader_shuffle }));
    t->plan = apus_sampler_plan_of(t->sampler);
    s.max_steps = t->plan.max_steps;
    APUS_FORWARD(apus_schedule_find(&s.kind, p->lr_scheduler));
    return apus_schedule_init(&t->schedule, &s);
}

/* The interval that a strategy and its steps mean. */
static uint64_t interval(int strategy, double steps, uint64_t all)
{
    if (strategy == 0)
        return 0;
    if (strategy == 2)
        return UINT64_MAX;
    const double n = steps < 1 ? ceil(steps * (double)all) : steps;
    return n < 1 ? 1 : (uint64_t)n;
}

static apus_status tell_plan(apusi_trainer *t)
{
    apus_model_about about;
    apus_plan *micro;
    const uint32_t tokens = apusi_largest_batch(t, &t->train, t->plan.batch);
    const apus_memory_use use = apus_model_memory(t->model);
    const apus_caps *caps = apus_gpu_caps(t->model->gpu);
    const apus_model_types *types = &t->model->types;
    const apus_train_memory memory = apus_train_memory_of(t->step);
    uint64_t all_tokens = 0, trained;
    char info[160];

    apus_model_describe(t->model, &about);
    trained = t->adapters ? t->adapters->slots[0].n_params : about.n_params;
    apus_log_parameters(info, sizeof(info), t->adapters ? "PeftModelForCausalLM" : "CausalLM",
                        about.n_params + (t->adapters ? trained : 0), trained, 0);
    t->parameter_info = apus_strdup(info);
    APUS_FORWARD(apus_train_plan(t->step, tokens, apusi_most_sequences(t), &micro));
    for (size_t i = 0; i < t->train.n; i++)
        all_tokens += t->train.lengths[i];
    const double per_token = apus_plan_about(micro)->flops / (tokens ? tokens : 1);
    const double run_tokens = (double)all_tokens / (double)t->train.packs.n *
                              (double)t->plan.max_steps * t->plan.batch * t->plan.accumulation;
    const double rate = caps->device_class == APUS_CLASS_CPU ? 30e9 : 2e12; /* flop/s, cautious */
    t->planned_bytes = use.device;
    t->state.total_flos = per_token * run_tokens;
    const apus_train_plan_info plan = {
        .model = about.name,
        .device = about.device,
        .template_name = apus_template_name(t->choice.tmpl),
        .template_reason = t->choice.reason,
        .n_params = about.n_params,
        .n_trained = trained,
        .train_rows = t->train.n,
        .val_rows = t->val.n,
        .packing = t->p->packing,
        .train_packs = t->train.packs.n,
        .val_packs = t->val.packs.n,
        .pack_length = t->pack_length,
        .train_fill = apusi_rows_fill(&t->train, t->pack_length),
        .val_fill = apusi_rows_fill(&t->val, t->pack_length),
        .steps = t->plan.max_steps,
        .max_tokens = tokens,
        .epochs = (double)t->plan.epochs,
        .device_bytes = use.device,
        .host_bytes = use.host + apus_peak_rss(),
        .device_heap = caps->heap,
        .dtype = apus_dtype_torch(types->act),
        .recomputed = t->recompute < t->model->dims.layers ? t->recompute : t->model->dims.layers,
        .twice = t->pairs,
        .host_layers = t->host_layers,
        .host_weight_bytes = about.host_weight_bytes,
        .host_moments = t->host_moments,
        .layers = t->model->dims.layers,
        .narrow = apus_plan_about(micro)->narrow,
        .optim = t->p->optim,
        .moment_bytes = memory.moments,
        .n_coded = memory.coded,
        .seconds = per_token * run_tokens / rate,
    };
    if (t->cb->plan)
        t->cb->plan(t->cb->user, &plan);
    return APUS_OK;
}

/* ---- the loop ---- */

apus_status apusi_log(apusi_trainer *t, uint64_t step, double epoch, const apus_log_value *values,
                      size_t n)
{
    const apus_log_entry entry = { .step = step,
                                   .epoch = epoch,
                                   .values = values,
                                   .n_values = n,
                                   .elapsed_s = apusi_elapsed(t),
                                   .memory_gib = (double)apusi_device_peak(t) / 1073741824 };
    const char *line = NULL;

    APUS_FORWARD(apus_run_log_add(t->log, &entry, &line));
    if (t->board)
        APUS_FORWARD(apus_tensorboard_log(t->board, &entry));
    if (t->cb->log)
        t->cb->log(t->cb->user, line);
    return APUS_OK;
}

static uint32_t micro_of(const apus_sampler_step *s, size_t at, size_t batch)
{
    return (uint32_t)(s->n_rows - at < batch ? s->n_rows - at : batch);
}

/* All micro batches of a step, then the update; *numbers are the step's. */
static apus_status run_step(apusi_trainer *t, const apus_sampler_step *s,
                            apus_train_numbers *numbers)
{
    apusi_batch *b = &t->batch;
    const size_t batch = t->plan.batch;
    uint32_t labels = 0;

    for (size_t at = 0; at < s->n_rows; at += batch) {
        apusi_rows_batch(&t->train, s->rows + at, micro_of(s, at, batch), b);
        labels += b->labels;
    }
    for (size_t at = 0; at < s->n_rows; at += batch) {
        apusi_rows_batch(&t->train, s->rows + at, micro_of(s, at, batch), b);
        t->tokens += b->tokens;
        APUS_FORWARD(apus_train_micro(t->step, b->seqs, b->n, 1.0 / labels, s->number,
                                      (uint32_t)t->p->seed, t->p->cancel));
    }
    APUS_FORWARD(apus_train_update(t->step, apus_schedule_lr(&t->schedule, s->number - 1),
                                   t->p->max_grad_norm, s->number));
    return apus_train_read(t->step, numbers);
}

static apus_status log_window(apusi_trainer *t, const apus_sampler_step *s, double norm)
{
    const apusi_window *w = &t->window;
    const apus_log_value values[] = {
        { "loss", w->loss / (double)w->steps },
        { "grad_norm", norm },
        { "learning_rate", apus_schedule_lr(&t->schedule, s->number) },
        { "token_acc", w->tokens > 0 ? w->correct / w->tokens : 0 },
    };

    APUS_FORWARD(apusi_log(t, s->number, s->epoch, values, APUS_COUNT(values)));
    t->window = (apusi_window) { 0 };
    return APUS_OK;
}

static bool due(uint64_t every, const apusi_trainer *t, uint64_t step)
{
    if (every == 0)
        return false;
    if (step == t->plan.max_steps)
        return true;
    return every == UINT64_MAX ? step % t->plan.steps_per_epoch == 0 : step % every == 0;
}

/* In float16 the first of these are expected: the loss scale is found from above.  At its end, what
 * overflows is the forward pass, and no update would come of going on. */
static apus_status skipped_update(apusi_trainer *t, uint64_t step, double skipped)
{
    const bool scales = t->model->types.act == APUS_F16;
    const double scale = apus_train_loss_scale(t->step).scale;
    char now[64] = "";

    if (scales)
        snprintf(now, sizeof(now), "; the loss scale is now %g", scale);
    apus_log(APUS_LOG_WARN,
             "step %llu: the gradient norm is not finite; the update was skipped (%g so far)%s",
             (unsigned long long)step, skipped, now);
    if (!scales || scale > 1 || ++t->overflows < MOST_OVERFLOWS)
        return APUS_OK;
    return apus_fail(
        APUS_ERR_ARG,
        "step %llu: float16 overflows with the smallest loss scale, %u times in a row; "
        "use --torch_dtype bfloat16 or float32, or a smaller --learning_rate",
        (unsigned long long)step, MOST_OVERFLOWS);
}

static apus_status after_step(apusi_trainer *t, const apus_sampler_step *s,
                              const apus_train_numbers *x)
{
    const double loss = x->tokens > 0 ? x->loss / x->tokens : 0;
    const uint64_t every = t->p->logging_steps ? t->p->logging_steps : 1;

    t->window.loss += loss;
    t->window.correct += x->correct;
    t->window.tokens += x->tokens;
    t->window.steps++;
    t->loss_sum += loss;
    t->steps_done++;
    if (isfinite(x->norm))
        t->overflows = 0;
    else
        APUS_FORWARD(skipped_update(t, s->number, x->skipped));
    if (s->number == 1 || s->number % every == 0)
        APUS_FORWARD(log_window(t, s, x->norm));
    if (t->cb->step)
        t->cb->step(t->cb->user,
                    &(apus_train_progress) {
                        .step = s->number,
                        .steps = t->plan.max_steps,
                        .seconds = apusi_elapsed(t),
                        .loss = loss,
                        .learning_rate = apus_schedule_lr(&t->schedule, s->number),
                        .tokens_per_s = (double)t->tokens / (apusi_elapsed(t) + 1e-9) });
    if (t->val.n && due(t->eval_every, t, s->number))
        APUS_FORWARD(apusi_evaluate(t, s->number, s->epoch));
    if (due(t->save_every, t, s->number))
        APUS_FORWARD(
            apusi_checkpoint_write(t, s->number, s->epoch, s->number == t->plan.max_steps));
    return APUS_OK;
}

/* Cancelled: what was learned so far is kept. */
static apus_status stop(apusi_trainer *t, uint64_t last, double epoch)
{
    if (last > t->start_step)
        APUS_FORWARD(apusi_checkpoint_write(t, last, epoch, false));
    return apus_fail(APUS_ERR_CANCELLED, "stopped after step %llu", (unsigned long long)last);
}

static apus_status loop(apusi_trainer *t, double *epoch)
{
    apus_sampler_step s;
    apus_train_numbers numbers;
    uint64_t last = t->start_step;

    *epoch = 0;
    while (apus_sampler_next(t->sampler, &s)) {
        const uint64_t began = apus_trace_begin();
        t->recovery.step = s.number;
        apus_status st = run_step(t, &s, &numbers);
        apus_trace_end(began, "step", NULL, "step", s.number);
        if (st == APUS_OK) {
            last = s.number;
            apusi_recovery_progress(t, last);
            *epoch = s.epoch;
            st = after_step(t, &s, &numbers); /* an evaluation may be cancelled too */
        }
        if (st == APUS_ERR_CANCELLED)
            return stop(t, last, *epoch);
        APUS_FORWARD(st);
    }
    return APUS_OK;
}

/* All steps, over again from a checkpoint where the device fails. */
static apus_status run_steps(apusi_trainer *t, double *epoch)
{
    apus_status st;

    APUS_FORWARD(apusi_recovery_begin(t));
    do {
        st = loop(t, epoch);
        if (st == APUS_OK)
            return APUS_OK;
        st = apusi_recover(t, st);
    } while (st == APUS_OK);
    return apusi_recovery_hint(t, st);
}

static apus_status open_logs(apusi_trainer *t)
{
    apus_status st;
    char *runs = apus_path_join(t->folder, "runs");

    if (!runs)
        return APUS_ERR_MEMORY;
    t->state.max_steps = t->plan.max_steps;
    t->state.epochs = t->plan.epochs;
    t->state.batch = t->plan.batch;
    t->state.logging_steps = t->p->logging_steps;
    t->state.eval_steps = t->eval_every == UINT64_MAX ? 0 : t->eval_every;
    t->state.save_steps = t->save_every == UINT64_MAX ? 0 : t->save_every;
    APUS_TRY(
        apus_run_log_open(&t->log, &(apus_run_log_params) { t->folder, t->plan.max_steps, 0 }));
    if (t->p->tensorboard) {
        APUS_TRY(apus_tensorboard_open(&t->board, &(apus_tensorboard_params) { .folder = runs }));
        if (t->p->args_json)
            APUS_TRY(apus_tensorboard_text(t->board, "args", t->p->args_json));
    }
fail:
    apus_free(runs);
    return st;
}

apus_status apus_train(const apus_train_params *params, const apus_train_callbacks *callbacks,
                       apus_train_result *result)
{
    static const apus_train_callbacks none;
    apusi_trainer t = { .p = params, .cb = callbacks ? callbacks : &none, .result = result };
    apus_status st;
    double epoch = 0;

    *result = (apus_train_result) { 0 };
    APUS_TRY(open_texts(&t));
    APUS_TRY(make_schedule(&t));
    t.eval_every =
        t.val.n ? interval(params->eval_strategy, params->eval_steps, t.plan.max_steps) : 0;
    t.save_every = interval(params->save_strategy, params->save_steps, t.plan.max_steps);
    t.batch.seqs = apus_calloc(apusi_most_sequences(&t), sizeof(*t.batch.seqs));
    if (!t.batch.seqs)
        APUS_TRY(APUS_ERR_MEMORY);
    if (params->resume)
        APUS_TRY(apusi_checkpoint_types(&t, params->resume));
    const uint64_t began = apus_trace_begin();
    APUS_TRY(apusi_fit_check(&t));
    apus_trace_end(began, "count memory", NULL, NULL, 0);
    APUS_TRY(apusi_model_prepare(&t));
    APUS_TRY(apusi_step_prepare(&t));
    APUS_TRY(tell_plan(&t));
    APUS_TRY(apusi_folder_make(&t));
    APUS_TRY(open_logs(&t));
    if (params->resume)
        APUS_TRY(apusi_checkpoint_resume(&t, params->resume));
    t.begin_ns = apus_now_ns();
    APUS_TRY(run_steps(&t, &epoch));
    APUS_TRY(apusi_finish(&t, epoch));
fail:
    release(&t);
    return st;
}
