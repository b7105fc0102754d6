/* run_log.c - logging.jsonl and the console line.
 *
 * Digits: a value in logging.jsonl is rounded to 8 decimals and written as the shortest text that
 * reads back; on the console it has 4 significant digits.  Rounding goes through the decimal
 * text, as Python's round() does, so that halves fall the same way. */
#include "run_log.h"

#include <math.h>
#include <stdio.h>

#include "file.h"
#include "run_log_internal.h"

static double round_to(double x, int decimals)
{
    char text[400]; /* the largest double has 309 digits before the point */

    if (!isfinite(x))
        return x;
    snprintf(text, sizeof text, "%.*f", decimals, x);
    return strtod(text, NULL);
}

apus_status apus_run_log_open(apus_run_log **out, const apus_run_log_params *params)
{
    apus_status st;
    apus_run_log *log = apus_alloc(sizeof(*log));

    *out = NULL;
    if (!log)
        return APUS_ERR_MEMORY;
    log->params = *params;
    log->params.folder = NULL; /* not kept */
    st = apus_dir_create(params->folder);
    if (st == APUS_OK) {
        log->path = apus_path_join(params->folder, "logging.jsonl");
        log->history = cJSON_CreateArray();
        if (!log->path || !log->history)
            st = APUS_ERR_MEMORY;
    }
    if (st != APUS_OK) {
        apus_run_log_close(&log);
        return st;
    }
    *out = log;
    return APUS_OK;
}

void apus_run_log_close(apus_run_log **log)
{
    apus_run_log *l = *log;

    if (!l)
        return;
    apus_free(l->path);
    apus_free(l->best_checkpoint);
    cJSON_Delete(l->history);
    apus_str_release(&l->console);
    apus_free(l);
    *log = NULL;
}

void apus_log_duration(char *out, size_t room, double seconds)
{
    /* Rounded to whole seconds; a clock that went back or never began shows 0. */
    const double whole = seconds > 0.0 && seconds < 1e15 ? nearbyint(seconds) : 0.0;
    const unsigned long long s = (unsigned long long)whole;
    const unsigned long long days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60;

    if (days)
        snprintf(out, room, "%llud %lluh %llum %llus", days, hours, minutes, s % 60);
    else if (hours)
        snprintf(out, room, "%lluh %llum %llus", hours, minutes, s % 60);
    else if (minutes)
        snprintf(out, room, "%llum %llus", minutes, s % 60);
    else
        snprintf(out, room, "%llus", s);
}

/* One line being made: the JSON object and the console's text. */
typedef struct line {
    cJSON *object;
    apus_str *console;
    bool failed;
} line;

static void console_add(line *l, const char *key, const char *text)
{
    apus_str_addf(l->console, "%s'%s': '%s'", l->console->len > 1 ? ", " : "", key, text);
}

static void add_number(line *l, const char *key, double value, int decimals)
{
    const double rounded = round_to(value, decimals);
    char text[40];

    if (!apus_json_add_float(l->object, key, rounded))
        l->failed = true;
    /* The reference takes this one off before it prints. */
    if (strcmp(key, "total_flos") == 0)
        return;
    snprintf(text, sizeof text, "%.4g", rounded);
    console_add(l, key, text);
}

static void add_text(line *l, const char *key, const char *text)
{
    if (!cJSON_AddStringToObject(l->object, key, text))
        l->failed = true;
    console_add(l, key, text);
}

static void add_times(line *l, apus_run_log *log, const apus_log_entry *entry)
{
    const apus_run_log_params *p = &log->params;
    const uint64_t here = entry->step > p->start_step ? entry->step - p->start_step : 0;
    const uint64_t left = p->max_steps > entry->step ? p->max_steps - entry->step : 0;
    const double speed = here ? entry->elapsed_s / (double)here : 0.0;
    char text[80];

    snprintf(text, sizeof text, "%llu/%llu", (unsigned long long)entry->step,
             (unsigned long long)p->max_steps);
    add_text(l, "global_step/max_steps", text);
    apus_log_duration(text, sizeof text, entry->elapsed_s);
    add_text(l, "elapsed_time", text);
    apus_log_duration(text, sizeof text, (double)left * speed);
    add_text(l, "remaining_time", text);
    if (entry->memory_gib > log->memory_gib)
        log->memory_gib = entry->memory_gib;
    if (log->memory_gib > 0.0)
        add_number(l, "memory(GiB)", log->memory_gib, 2);
    add_number(l, "train_speed(s/it)", speed, 6);
}

static apus_status append_line(const apus_run_log *log, const cJSON *object)
{
    apus_status st;
    apus_str text = { 0 };
    char *json = apus_json_text(object, 0);

    if (!json)
        return APUS_ERR_MEMORY;
    apus_str_add(&text, json);
    apus_str_add(&text, "\n");
    apus_free(json);
    st = text.failed ? APUS_ERR_MEMORY : apus_file_append(log->path, text.data, text.len);
    apus_str_release(&text);
    return st;
}

/* The same values in full precision, with epoch and step. */
static apus_status add_history(apus_run_log *log, const apus_log_entry *entry)
{
    cJSON *item = cJSON_CreateObject();
    bool ok = item != NULL;

    for (size_t i = 0; ok && i < entry->n_values; i++)
        ok = apus_json_add_float(item, entry->values[i].key, entry->values[i].number);
    ok = ok && apus_json_add_float(item, "epoch", entry->epoch) &&
         cJSON_AddNumberToObject(item, "step", (double)entry->step) &&
         cJSON_AddItemToArray(log->history, item);
    if (!ok)
        cJSON_Delete(item);
    return ok ? APUS_OK : APUS_ERR_MEMORY;
}

apus_status apus_run_log_add(apus_run_log *log, const apus_log_entry *entry, const char **console)
{
    line l = { .object = cJSON_CreateObject(), .console = &log->console };
    apus_status st;

    if (!l.object)
        return APUS_ERR_MEMORY;
    apus_str_clear(&log->console);
    apus_str_add(&log->console, "{");
    for (size_t i = 0; i < entry->n_values; i++)
        add_number(&l, entry->values[i].key, entry->values[i].number, 8);
    add_number(&l, "epoch", entry->epoch, 8);
    add_times(&l, log, entry);
    apus_str_add(&log->console, "}");
    st = l.failed || log->console.failed ? APUS_ERR_MEMORY : add_history(log, entry);
    if (st == APUS_OK)
        st = append_line(log, l.object);
    cJSON_Delete(l.object);
    if (console)
        *console = log->console.failed ? "" : log->console.data;
    return st;
}

apus_status apus_run_log_mark(const apus_run_log *log, apus_log_mark *out)
{
    out->entries = cJSON_GetArraySize(log->history);
    return apus_file_bytes(&out->bytes, log->path);
}

apus_status apus_run_log_rewind(apus_run_log *log, const apus_log_mark *mark)
{
    for (int n = cJSON_GetArraySize(log->history); n > mark->entries; n--)
        cJSON_DeleteItemFromArray(log->history, n - 1);
    return apus_file_cut(log->path, mark->bytes);
}

static const struct {
    const char *prefix;
    const char *keys[3];
} speeds[] = {
    { "train", { "train_runtime", "train_samples_per_second", "train_steps_per_second" } },
    { "eval", { "eval_runtime", "eval_samples_per_second", "eval_steps_per_second" } },
};

void apus_log_speed(apus_log_value values[3], const char *prefix, double seconds, double samples,
                    double steps)
{
    const size_t row = strcmp(prefix, "eval") == 0;
    const double over = seconds > 0.0 ? seconds : 1e-9;

    values[0] = (apus_log_value) { speeds[row].keys[0], round_to(seconds, 4) };
    values[1] = (apus_log_value) { speeds[row].keys[1], round_to(samples / over, 3) };
    values[2] = (apus_log_value) { speeds[row].keys[2], round_to(steps / over, 3) };
}

bool apus_log_is_timing(const char *key)
{
    static const char *const keys[] = { "elapsed_time",      "remaining_time", "memory(GiB)",
                                        "train_speed(s/it)", "step_time",      "memory" };

    for (size_t i = 0; i < APUS_COUNT(keys); i++) {
        if (strcmp(key, keys[i]) == 0)
            return true;
    }
    for (size_t row = 0; row < APUS_COUNT(speeds); row++) {
        for (size_t i = 0; i < 3; i++) {
            if (strcmp(key, speeds[row].keys[i]) == 0)
                return true;
        }
    }
    return false;
}

void apus_log_lengths(char *out, size_t room, const uint32_t *lengths, size_t n)
{
    double sum = 0.0, squares = 0.0, least = 0.0, most = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double x = (double)lengths[i];
        sum += x;
        least = i == 0 || x < least ? x : least;
        most = x > most ? x : most;
    }
    const double mean = n ? sum / (double)n : 0.0;
    for (size_t i = 0; i < n; i++)
        squares += ((double)lengths[i] - mean) * ((double)lengths[i] - mean);
    snprintf(out, room, "%.6f\u00b1%.6f, min=%.6f, max=%.6f, size=%zu", mean,
             n ? sqrt(squares / (double)n) : 0.0, least, most, n);
}

void apus_log_parameters(char *out, size_t room, const char *kind, uint64_t parameters,
                         uint64_t trained, uint64_t buffers)
{
    snprintf(out, room, "%s: %.4fM Params (%.4fM Trainable [%.4f%%]), %.4fM Buffers.", kind,
             (double)parameters / 1e6, (double)trained / 1e6,
             parameters ? 100.0 * (double)trained / (double)parameters : 0.0,
             (double)buffers / 1e6);
}

static bool add_or_null(cJSON *object, const char *key, const char *text)
{
    return text ? cJSON_AddStringToObject(object, key, text) != NULL
                : cJSON_AddNullToObject(object, key) != NULL;
}

apus_status apus_run_log_end(apus_run_log *log, const apus_run_end *end)
{
    cJSON *object = cJSON_CreateObject();
    apus_status st = APUS_ERR_MEMORY;
    bool ok = object != NULL;

    if (ok && end->train_dataset)
        ok = add_or_null(object, "train_dataset", end->train_dataset);
    if (ok && end->val_dataset)
        ok = add_or_null(object, "val_dataset", end->val_dataset);
    ok = ok && add_or_null(object, "model_parameter_info", end->model_parameter_info) &&
         add_or_null(object, "last_model_checkpoint", end->last_checkpoint) &&
         add_or_null(object, "best_model_checkpoint", end->best_checkpoint);
    if (ok)
        ok = end->has_best
                 ? apus_json_add_float(object, "best_metric", round_to(end->best_metric, 8))
                 : cJSON_AddNullToObject(object, "best_metric") != NULL;
    ok = ok && cJSON_AddNumberToObject(object, "global_step", (double)end->step) &&
         cJSON_AddItemReferenceToObject(object, "log_history", log->history);
    if (ok)
        ok = log->memory_gib > 0.0
                 ? apus_json_add_float(object, "memory", round_to(log->memory_gib, 2))
                 : cJSON_AddNumberToObject(object, "memory", 0) != NULL;
    if (ok)
        st = append_line(log, object);
    cJSON_Delete(object);
    return st;
}
