/* tuning.c - `apus tune`: the plans of inference and of a training step, as the benchmark makes
 * them, with their choices measured (exec/tuner.h) and kept in a file (op/tuned.h).  It stands in
 * this layer because it trains. */
#include <stdio.h>

#include "bench_internal.h"
#include "env.h"
#include "file.h"
#include "os.h"
#include "tuner.h"
#include "tuning_internal.h"

typedef struct tuning {
    const apus_tuning_params *p;
    apus_tuning_result *result;
    apus_bench *bench;   /* where there is a model */
    apusi_shapes shapes; /* where there is none */
    apus_exec *exec;     /* of either */
    apus_tuned *found;
    const char *part;
} tuning;

static void progress(void *user, uint32_t done, uint32_t total, const char *problem)
{
    const tuning *t = user;

    if (t->p->progress)
        t->p->progress(t->p->user, t->part, done, total, problem);
}

static void measured(void *user, const apus_tuned_row *row)
{
    const tuning *t = user;

    t->result->faster += row->ns > 0 && strcmp(row->choice, row->or_else) != 0;
    if (t->p->row)
        t->p->row(t->p->user, &(apus_tuning_row) { .problem = row->problem,
                                                   .choice = row->choice,
                                                   .or_else = row->or_else,
                                                   .bits = apus_tuned_bits(row->narrow),
                                                   .seconds = row->ns * 1e-9,
                                                   .or_else_seconds = row->or_else_ns * 1e-9 });
}

static apus_status measure(tuning *t, apus_plan *const *plans, uint32_t n, double seconds,
                           double *spent)
{
    const apus_tuner_params params = { .seconds = seconds,
                                       .cancel = t->p->cancel,
                                       .progress = progress,
                                       .measured = measured,
                                       .user = t };
    apus_tuner_result got;
    const uint64_t start = apus_now_ns();
    const apus_status st = apus_tuner_run(t->exec, plans, n, t->found, &params, &got);

    *spent = (double)(apus_now_ns() - start) * 1e-9;
    t->result->problems += got.problems;
    t->result->measured += got.measured;
    return st;
}

/* A step of each plan, so that its operands lie there. */
static apus_status measure_inference(tuning *t, double seconds, double *spent)
{
    const apus_bench_test test = { .prompt = t->p->prompt, .gen = 1 };
    apus_bench *b = t->bench;
    apus_bench_run run;
    apus_plan *plans[2];
    uint32_t n = 0;

    t->part = "inference";
    APUS_FORWARD(apus_bench_generate(b, &test, &run));
    APUS_FORWARD(apus_session_plan(b->session, 1, 1, &plans[n++]));
    if (t->p->prompt > 1)
        APUS_FORWARD(apus_session_plan(b->session, t->p->prompt, 1, &plans[n++]));
    return measure(t, plans, n, seconds, spent);
}

static apus_status measure_training(tuning *t, double seconds, double *spent)
{
    const apus_bench_train_params params = { .tokens = t->p->train, .rank = t->p->rank };
    apus_bench_run run;
    apus_plan *plan;

    t->part = "training";
    APUS_FORWARD(apus_bench_train(t->bench, &params, &run));
    APUS_FORWARD(apus_train_plan(t->bench->step, t->p->train, 1, &plan));
    return measure(t, &plan, 1, seconds, spent);
}

static apus_status measure_shapes(tuning *t, double seconds, double *spent)
{
    t->part = "shapes";
    return measure(t, &t->shapes.plan, 1, seconds, spent);
}

/* Half of the time is for training, and what inference leaves. */
static apus_status measure_all(tuning *t)
{
    const double all = t->p->seconds;
    double spent = 0;

    if (!t->bench)
        return measure_shapes(t, all, &spent);
    APUS_FORWARD(measure_inference(t, t->p->train ? all / 2 : all, &spent));
    if (!t->p->train)
        return APUS_OK;
    return measure_training(t, spent < all / 2 ? all - spent : all / 2, &spent);
}

/* ---- the file ---- */

/* What a file holds that is of the same device, driver and build. */
static apus_status read_before(apus_tuned **out, const char *path, const apus_caps *caps)
{
    apus_str why = { 0 };
    apus_status st = APUS_OK;

    *out = NULL;
    if (apus_path_exists(path))
        st = apus_tuned_open(out, &why, path, caps);
    if (st != APUS_OK && st != APUS_ERR_MEMORY) {
        apus_log(APUS_LOG_WARN, "%s; it is written anew", apus_error_text());
        st = APUS_OK;
    } else if (why.len) {
        apus_log(APUS_LOG_INFO, "%s is written anew: %s", path, why.data);
    }
    apus_str_release(&why);
    return st == APUS_OK && !*out ? apus_tuned_create(out) : st;
}

static apus_status write_file(tuning *t, const char *path)
{
    const apus_caps *caps = apus_gpu_caps(apus_exec_gpu(t->exec));
    apus_status st;
    apus_tuned *all = NULL;

    APUS_TRY(read_before(&all, path, caps));
    for (uint32_t i = 0; i < t->found->n; i++)
        APUS_TRY(apus_tuned_add(all, &t->found->rows[i]));
    APUS_TRY(apus_tuned_save(all, caps, path));
    snprintf(t->result->path, sizeof(t->result->path), "%s", path);
    t->result->rows = all->n;
    t->result->hash = apus_tuned_hash(all);
fail:
    apus_tuned_destroy(&all);
    return st;
}

/* Where the file belongs; freed by the caller. */
static apus_status find_path(const tuning *t, char **out)
{
    const apus_caps *caps = apus_gpu_caps(apus_exec_gpu(t->exec));

    *out = t->p->path ? apus_strdup(t->p->path) : apus_tuned_path(caps);
    return *out ? APUS_OK
                : apus_fail(APUS_ERR_MISSING,
                            "there is no folder for the tune file: set HOME, APUS_CACHE_DIR or "
                            "--result_path");
}

/* Keep what was measured, however that ended. */
static apus_status keep(tuning *t, apus_status st)
{
    char *why = st != APUS_OK ? apus_strdup(apus_error_text()) : NULL, *path = NULL;
    apus_status kept = APUS_OK;

    if (t->found->n)
        kept = find_path(t, &path);
    if (path)
        kept = write_file(t, path);
    apus_free(path);
    if (st != APUS_OK && kept != APUS_OK)
        apus_log(APUS_LOG_WARN, "%s", apus_error_text());
    if (st != APUS_OK)
        st = apus_fail(st, "%s", why ? why : "");
    apus_free(why);
    return st != APUS_OK ? st : kept;
}

static apus_status open_model(tuning *t)
{
    const apus_tuning_params *p = t->p;
    const uint32_t most = p->prompt + 1 > p->train ? p->prompt + 1 : p->train;

    if (p->prompt > 512)
        return apus_fail(APUS_ERR_ARG, "at most 512 tokens are read at once, not %u", p->prompt);
    APUS_FORWARD(apus_bench_open(&t->bench, p->model,
                                 &(apus_bench_params) { .device = p->device,
                                                        .torch_dtype = p->torch_dtype,
                                                        .max_tokens = most }));
    t->exec = t->bench->model->exec;
    return APUS_OK;
}

static apus_status open_shapes(tuning *t)
{
    APUS_FORWARD(apusi_shapes_open(&t->shapes, t->p));
    t->exec = t->shapes.exec;
    return APUS_OK;
}

apus_status apus_tuning_run(const apus_tuning_params *params, apus_tuning_result *result)
{
    tuning t = { .p = params, .result = result };
    apus_status st;

    *result = (apus_tuning_result) { 0 };
    if (apus_env_get(APUS_KERNEL)[0])
        return apus_fail(APUS_ERR_ARG, "APUS_KERNEL is set: there is nothing to measure where an "
                                       "algorithm is forced");
    APUS_TRY(apus_tuned_create(&t.found));
    APUS_TRY(params->model ? open_model(&t) : open_shapes(&t));
    apus_exec_set_tuned(t.exec, NULL); /* defaults are the defaults */
    st = keep(&t, measure_all(&t));
fail:
    apus_bench_close(&t.bench);
    apusi_shapes_close(&t.shapes);
    apus_tuned_destroy(&t.found);
    return st;
}
