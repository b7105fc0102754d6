/* trainer_state.c - trainer_state.json: where a run stands and all it logged, as transformers
 * writes it (keys sorted, indented by 2), and curves out of the same history. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "run_log_internal.h"

static int by_key(const void *a, const void *b)
{
    const cJSON *const *x = a, *const *y = b;

    return strcmp((*x)->string, (*y)->string);
}

/* A copy of an object with its members sorted; NULL without memory. */
static cJSON *sorted_copy(const cJSON *object)
{
    const int n = cJSON_GetArraySize(object);
    const cJSON **members = apus_calloc((size_t)n + 1, sizeof(*members));
    cJSON *copy = members ? cJSON_CreateObject() : NULL;
    int i = 0;

    for (const cJSON *m = copy ? object->child : NULL; m; m = m->next)
        members[i++] = m;
    if (copy)
        qsort(members, (size_t)n, sizeof(*members), by_key);
    for (i = 0; copy && i < n; i++) {
        cJSON *member = cJSON_Duplicate(members[i], true);
        if (!member || !cJSON_AddItemToObject(copy, members[i]->string, member)) {
            cJSON_Delete(member);
            cJSON_Delete(copy);
            copy = NULL;
        }
    }
    apus_free(members);
    return copy;
}

static bool add_whole(cJSON *object, const char *key, uint64_t value)
{
    return cJSON_AddNumberToObject(object, key, (double)value) != NULL;
}

static bool add_best(cJSON *o, const apus_trainer_state *s)
{
    if (!s->has_best)
        return cJSON_AddNullToObject(o, "best_global_step") &&
               cJSON_AddNullToObject(o, "best_metric") &&
               cJSON_AddNullToObject(o, "best_model_checkpoint");
    /* The reference rounds this one number. */
    char text[400];
    snprintf(text, sizeof text, "%.8f", s->best_metric);
    const double metric = isfinite(s->best_metric) ? strtod(text, NULL) : s->best_metric;
    return add_whole(o, "best_global_step", s->best_step) &&
           apus_json_add_float(o, "best_metric", metric) &&
           (s->best_checkpoint
                ? cJSON_AddStringToObject(o, "best_model_checkpoint", s->best_checkpoint) != NULL
                : cJSON_AddNullToObject(o, "best_model_checkpoint") != NULL);
}

static bool add_history(cJSON *o, const cJSON *history)
{
    cJSON *array = cJSON_AddArrayToObject(o, "log_history");
    const cJSON *entry;

    if (!array)
        return false;
    cJSON_ArrayForEach(entry, history)
    {
        cJSON *copy = sorted_copy(entry);
        if (!copy || !cJSON_AddItemToArray(array, copy)) {
            cJSON_Delete(copy);
            return false;
        }
    }
    return true;
}

/* transformers' record of its control flags; what reads it looks at nothing else in here. */
static bool add_callbacks(cJSON *o, bool ended)
{
    cJSON *control =
        cJSON_AddObjectToObject(cJSON_AddObjectToObject(o, "stateful_callbacks"), "TrainerControl");
    cJSON *args = cJSON_AddObjectToObject(control, "args");

    return cJSON_AddBoolToObject(args, "should_epoch_stop", false) &&
           cJSON_AddBoolToObject(args, "should_evaluate", false) &&
           cJSON_AddBoolToObject(args, "should_log", false) &&
           cJSON_AddBoolToObject(args, "should_save", true) &&
           cJSON_AddBoolToObject(args, "should_training_stop", ended) &&
           cJSON_AddObjectToObject(control, "attributes");
}

apus_status apus_run_log_write_state(const apus_run_log *log, const char *path,
                                     const apus_trainer_state *s)
{
    cJSON *o = cJSON_CreateObject();
    char *text = NULL;
    apus_str file = { 0 };
    apus_status st = APUS_ERR_MEMORY;
    const bool ok =
        o && add_best(o, s) && apus_json_add_float(o, "epoch", s->epoch) &&
        add_whole(o, "eval_steps", s->eval_steps) && add_whole(o, "global_step", s->step) &&
        cJSON_AddBoolToObject(o, "is_hyper_param_search", false) &&
        cJSON_AddBoolToObject(o, "is_local_process_zero", true) &&
        cJSON_AddBoolToObject(o, "is_world_process_zero", true) && add_history(o, log->history) &&
        add_whole(o, "logging_steps", s->logging_steps) &&
        add_whole(o, "max_steps", s->max_steps) && add_whole(o, "num_input_tokens_seen", 0) &&
        add_whole(o, "num_train_epochs", s->epochs) && add_whole(o, "save_steps", s->save_steps) &&
        add_callbacks(o, s->ended) && apus_json_add_float(o, "total_flos", s->total_flos) &&
        add_whole(o, "train_batch_size", s->batch) && cJSON_AddNullToObject(o, "trial_name") &&
        cJSON_AddNullToObject(o, "trial_params");

    if (ok)
        text = apus_json_text(o, 2);
    if (text) {
        apus_str_add(&file, text);
        apus_str_add(&file, "\n");
    }
    if (text && !file.failed)
        st = apus_file_write(path, file.data, file.len);
    apus_str_release(&file);
    apus_free(text);
    cJSON_Delete(o);
    return st;
}

static apus_status read_numbers(const cJSON *o, apus_trainer_state *s)
{
    const uint64_t most = (uint64_t)1 << 53;

    APUS_FORWARD(apus_json_u64(o, "global_step", 0, most, &s->step));
    APUS_FORWARD(apus_json_u64(o, "max_steps", 0, most, &s->max_steps));
    APUS_FORWARD(apus_json_u64(o, "num_train_epochs", 0, most, &s->epochs));
    s->eval_steps = (uint64_t)fmax(0.0, apus_json_number(o, "eval_steps", 0.0));
    s->save_steps = (uint64_t)fmax(0.0, apus_json_number(o, "save_steps", 0.0));
    s->logging_steps = (uint64_t)fmax(0.0, apus_json_number(o, "logging_steps", 0.0));
    s->batch = (uint64_t)fmax(0.0, apus_json_number(o, "train_batch_size", 0.0));
    s->epoch = apus_json_number(o, "epoch", 0.0);
    s->total_flos = apus_json_number(o, "total_flos", 0.0);
    s->has_best = cJSON_IsNumber(apus_json_get(o, "best_metric"));
    s->best_metric = apus_json_number(o, "best_metric", 0.0);
    s->best_step = (uint64_t)fmax(0.0, apus_json_number(o, "best_global_step", 0.0));
    return APUS_OK;
}

apus_status apus_run_log_read_state(apus_run_log *log, const char *path, apus_trainer_state *state)
{
    apus_status st;
    cJSON *o = NULL, *history;
    const cJSON *entry;
    const char *best;

    *state = (apus_trainer_state) { 0 };
    APUS_TRY(apus_json_read(&o, path));
    if (!cJSON_IsObject(o) || !cJSON_IsArray(apus_json_get(o, "log_history"))) {
        st = apus_fail(APUS_ERR_FORMAT, "%s: no log_history; is it a trainer_state.json?", path);
        goto fail;
    }
    APUS_TRY(read_numbers(o, state));
    cJSON_ArrayForEach(entry, apus_json_get(o, "log_history"))
    {
        if (!cJSON_IsObject(entry)) {
            st = apus_fail(APUS_ERR_FORMAT, "%s: log_history holds something else than logs", path);
            goto fail;
        }
    }
    best = apus_json_string(o, "best_model_checkpoint", NULL);
    apus_free(log->best_checkpoint);
    log->best_checkpoint = best ? apus_strdup(best) : NULL;
    if (best && !log->best_checkpoint) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    state->best_checkpoint = log->best_checkpoint;
    history = cJSON_DetachItemFromObjectCaseSensitive(o, "log_history");
    cJSON_Delete(log->history);
    log->history = history;

fail:
    cJSON_Delete(o);
    return st;
}

void apus_log_tag(char *out, size_t room, const char *key)
{
    const bool eval = strncmp(key, "eval_", 5) == 0;

    snprintf(out, room, "%s/%s", eval ? "eval" : "train", eval ? key + 5 : key);
}

static apus_status curve_add(apus_curve *curve, double step, double value)
{
    /* Room doubles whenever the count reaches a power of two. */
    if ((curve->n & (curve->n - 1)) == 0) {
        const size_t room = curve->n ? curve->n * 2 : 1;
        double *steps = apus_realloc(curve->steps, room * sizeof(*steps));
        if (!steps)
            return APUS_ERR_MEMORY;
        curve->steps = steps;
        double *values = apus_realloc(curve->values, room * sizeof(*values));
        if (!values)
            return APUS_ERR_MEMORY;
        curve->values = values;
    }
    curve->steps[curve->n] = step;
    curve->values[curve->n++] = value;
    return APUS_OK;
}

/* The curve of a tag, new if there is none yet. */
static apus_status curve_of(apus_curve **curves, size_t *n, const char *tag, apus_curve **out)
{
    for (size_t i = 0; i < *n; i++) {
        if (strcmp((*curves)[i].tag, tag) == 0) {
            *out = &(*curves)[i];
            return APUS_OK;
        }
    }
    apus_curve *more = apus_realloc(*curves, (*n + 1) * sizeof(*more));
    if (!more)
        return APUS_ERR_MEMORY;
    *curves = more;
    more[*n] = (apus_curve) { .tag = apus_strdup(tag) };
    if (!more[*n].tag)
        return APUS_ERR_MEMORY;
    *out = &more[(*n)++];
    return APUS_OK;
}

apus_status apus_run_log_curves(const apus_run_log *log, apus_curve **curves, size_t *n)
{
    apus_status st = APUS_OK;
    const cJSON *entry, *member;

    *curves = NULL;
    *n = 0;
    cJSON_ArrayForEach(entry, log->history)
    {
        const double step = apus_json_number(entry, "step", 0.0);

        cJSON_ArrayForEach(member, entry)
        {
            apus_curve *curve;
            char tag[160];

            if (!cJSON_IsNumber(member) || strcmp(member->string, "step") == 0)
                continue;
            apus_log_tag(tag, sizeof tag, member->string);
            APUS_TRY(curve_of(curves, n, tag, &curve));
            APUS_TRY(curve_add(curve, step, member->valuedouble));
        }
    }
    return APUS_OK;

fail:
    apus_curves_release(*curves, *n);
    *curves = NULL;
    *n = 0;
    return st;
}

void apus_curves_release(apus_curve *curves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        apus_free(curves[i].tag);
        apus_free(curves[i].steps);
        apus_free(curves[i].values);
    }
    apus_free(curves);
}
