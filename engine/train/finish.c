/* finish.c - the end of a run: closing log lines, pictures, the report. */
#include <stdio.h>

#include "file.h"
#include "json.h"
#include "os.h"
#include "plots.h"
#include "report.h"
#include "trace.h"
#include "trainer_internal.h"

static apus_status closing_lines(apusi_trainer *t, double epoch, double seconds)
{
    char train[128] = "", val[128] = "";
    const double samples = (double)t->steps_done * t->plan.batch * t->plan.accumulation;
    apus_log_value values[5];

    apus_log_speed(values, "train", seconds, samples, (double)t->steps_done);
    values[3] = (apus_log_value) { "total_flos", t->state.total_flos };
    values[4] = (apus_log_value) { "train_loss", t->result->train_loss };
    APUS_FORWARD(apusi_log(t, t->plan.max_steps, epoch, values, 5));
    apus_log_lengths(train, sizeof(train), t->train.packs.tokens, t->train.packs.n);
    if (t->val.n)
        apus_log_lengths(val, sizeof(val), t->val.packs.tokens, t->val.packs.n);
    return apus_run_log_end(t->log, &(apus_run_end) { .train_dataset = train,
                                                      .val_dataset = t->val.n ? val : NULL,
                                                      .model_parameter_info = t->parameter_info,
                                                      .last_checkpoint = t->last_checkpoint,
                                                      .best_checkpoint = t->best_checkpoint,
                                                      .has_best = t->state.has_best,
                                                      .best_metric = t->state.best_metric,
                                                      .step = t->plan.max_steps });
}

static const double *curve_end(const apus_curve *curves, size_t n, const char *tag, bool first)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(curves[i].tag, tag) && curves[i].n)
            return &curves[i].values[first ? 0 : curves[i].n - 1];
    return NULL;
}

/* The arguments in force, as rows of the report. */
static size_t arg_pairs(const cJSON *args, apus_report_pair *pairs, char (*texts)[128], size_t room)
{
    const cJSON *a;
    size_t n = 0;

    cJSON_ArrayForEach(a, args)
    {
        char *text = n < room && a->string ? apus_json_text(a, 0) : NULL;
        if (!text)
            continue;
        snprintf(texts[n], sizeof(texts[n]), "%s", text);
        pairs[n] = (apus_report_pair) { a->string, texts[n] };
        n++;
        apus_free(text);
    }
    return n;
}

static apus_status write_report(apusi_trainer *t, const apus_curve *curves, size_t n,
                                double seconds)
{
    enum { MOST = 160 };
    static const char *const name = "report.html";
    apus_status st = APUS_OK;
    apus_report_pair *pairs = apus_calloc(MOST, sizeof(*pairs));
    char(*texts)[128] = apus_calloc(MOST, sizeof(*texts));
    char *path = apus_path_join(t->folder, name), method[96];
    cJSON *args = NULL;
    size_t n_args = 0;
    apus_model_about about;

    if (!pairs || !texts || !path)
        APUS_TRY(APUS_ERR_MEMORY);
    if (t->p->args_json &&
        apus_json_parse(&args, t->p->args_json, strlen(t->p->args_json), "args") == APUS_OK)
        n_args = arg_pairs(args, pairs, texts, MOST);
    apus_model_describe(t->model, &about);
    snprintf(method, sizeof(method), t->p->full ? "all weights" : "LoRA, rank %u, alpha %g",
             t->p->lora_rank, t->p->lora_alpha);
    APUS_TRY(apus_report_write(
        path, &(apus_report) { .model = about.name,
                               .method = method,
                               .device = about.device,
                               .folder = t->folder,
                               .train_rows = t->train.n,
                               .val_rows = t->val.n,
                               .rows_left_out = t->train.dropped + t->val.dropped,
                               .parameters = about.n_params,
                               .trained_parameters =
                                   t->adapters ? t->adapters->slots[0].n_params : about.n_params,
                               .planned_bytes = t->planned_bytes,
                               .peak_bytes = apusi_device_peak(t),
                               .seconds = seconds,
                               .steps = t->steps_done,
                               .tokens = t->tokens,
                               .final_loss = curve_end(curves, n, "train/loss", false),
                               .first_loss = curve_end(curves, n, "train/loss", true),
                               .eval_loss = curve_end(curves, n, "eval/loss", false),
                               .best_metric = t->state.has_best ? &t->state.best_metric : NULL,
                               .curves = curves,
                               .n_curves = n,
                               .args = pairs,
                               .n_args = n_args }));
fail:
    cJSON_Delete(args);
    apus_free(pairs);
    apus_free(texts);
    apus_free(path);
    return st;
}

apus_status apusi_finish(apusi_trainer *t, double epoch)
{
    apus_status st;
    apus_curve *curves = NULL;
    size_t n = 0;
    char *images = apus_path_join(t->folder, "images");
    const double seconds = apusi_elapsed(t);
    const uint64_t began = apus_trace_begin();

    if (!images)
        return APUS_ERR_MEMORY;
    t->result->seconds = seconds;
    t->result->tokens_per_s = seconds > 0 ? (double)t->tokens / seconds : 0;
    t->result->tokens = t->tokens;
    t->result->steps = t->steps_done;
    t->result->train_loss = t->plan.max_steps ? t->loss_sum / (double)t->plan.max_steps : 0;
    t->result->device_peak = apusi_device_peak(t);
    t->result->host_peak = apus_peak_rss();
    APUS_TRY(closing_lines(t, epoch, seconds));
    APUS_TRY(apus_run_log_curves(t->log, &curves, &n));
    if (t->p->tensorboard && apus_plots_draw(images, curves, n) != APUS_OK)
        apus_log(APUS_LOG_WARN, "no pictures: %s", apus_error_text());
    APUS_TRY(write_report(t, curves, n, seconds));
    apus_trace_end(began, "report", NULL, NULL, 0);
fail:
    apus_curves_release(curves, n);
    apus_free(images);
    return st;
}
