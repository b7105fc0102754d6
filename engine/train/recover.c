/* recover.c - a run that survives its device.
 *
 * When the device is lost, or has no memory left for something that is made on the way, everything
 * that lived on it is destroyed, what can be halved is halved, the device is opened again, and the
 * run goes on from its newest checkpoint: the same steps with the same numbers, as if it had been
 * resumed by hand, in the same folder.  What was logged after that checkpoint is taken out of the
 * logs, since its steps come again.
 *
 *   lost            half the work in a submission (watchdogs end what takes seconds): the same bits
 *   out of memory   half the rows in a micro batch, twice as many of them: the same rows in a step,
 *                   summed in another order
 *
 * After 100 steps without a loss the work in a submission is doubled again; a device that is lost
 * after that has to do twice as many steps first.  A run that fails again and again without a new
 * step in between ends. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "os.h"
#include "trainer_internal.h"

#define MOST_TRIES 3u
#define MOST_HALVINGS 10u /* of a submission; one dispatch is the least there is */
#define PATIENCE 100u     /* steps before half of that is taken back */
#define MOST_PATIENCE (64 * PATIENCE)

/* ---- before anything fails ---- */

apus_status apusi_recovery_mark(apusi_trainer *t)
{
    apusi_recovery *r = &t->recovery;

    r->marked_batch = t->plan.batch;
    r->marked_accumulation = t->plan.accumulation;
    r->host_failures = apus_memory_failures(); /* those so far did not end the run */
    APUS_FORWARD(apus_run_log_mark(t->log, &r->log_mark));
    return t->board ? apus_file_bytes(&r->board_mark, apus_tensorboard_path(t->board)) : APUS_OK;
}

apus_status apusi_recovery_begin(apusi_trainer *t)
{
    apusi_recovery *r = &t->recovery;
    const uint8_t *uuid = apus_gpu_caps(t->model->gpu)->uuid;

    for (int i = 0; i < 16; i++)
        snprintf(r->device + 2 * i, 3, "%02x", uuid[i]);
    r->params = *t->p;
    r->params.device = r->device; /* this one again, not what else there is */
    r->params.torch_dtype = t->model->types.torch_dtype;
    r->begun_from = t->p->resume;
    r->batch = t->plan.batch;
    r->first_step = r->furthest = t->start_step;
    t->p = &r->params;
    return apusi_recovery_mark(t);
}

void apusi_recovery_release(apusi_recovery *r)
{
    apus_free(r->from);
}

static void set_share(const apusi_trainer *t)
{
    apus_exec_bound(t->model->exec, ldexp(1, -(int)t->recovery.halvings));
}

static void raise_share(apusi_trainer *t, uint64_t step)
{
    apusi_recovery *r = &t->recovery;
    char share[32] = "all";

    if (!r->halvings || ++r->good < r->patience)
        return;
    r->good = 0;
    r->halvings--;
    set_share(t);
    if (r->halvings)
        snprintf(share, sizeof(share), "1/%u", 1u << r->halvings);
    apus_log(APUS_LOG_INFO,
             "step %llu: the device was not lost for %u steps; %s of the work in a "
             "submission again",
             (unsigned long long)step, r->patience, share);
}

void apusi_recovery_progress(apusi_trainer *t, uint64_t step)
{
    apusi_recovery *r = &t->recovery;

    raise_share(t, step);
    if (step <= r->furthest)
        return;
    r->furthest = step;
    r->tries = 0;
}

uint64_t apusi_device_peak(const apusi_trainer *t)
{
    const uint64_t now = apus_model_memory(t->model).device_peak;

    return now > t->recovery.peak ? now : t->recovery.peak;
}

/* ---- what failed, and what is halved ---- */

static bool can_go_on(const apusi_trainer *t, apus_status st)
{
    const apusi_recovery *r = &t->recovery;

    if (t->p->cancel && t->p->cancel->requested)
        return false;
    if (st == APUS_ERR_LOST)
        return true;
    if (st == APUS_ERR_MEMORY) /* the host's own is not to be had by halving */
        return apus_memory_failures() == r->host_failures;
    /* While a driver starts anew its device may be missing or fail to open. */
    return r->reopening && (st == APUS_ERR_DEVICE || st == APUS_ERR_MISSING);
}

/* Divides evenly, so that a step has the rows that it had. */
static uint32_t half(uint32_t batch)
{
    return batch % 2 == 0 ? batch / 2 : 1;
}

static void halve_eval(apusi_trainer *t, apus_str *what)
{
    uint32_t *batch = &t->recovery.params.eval_batch;

    apus_str_addf(what, "--per_device_eval_batch_size %u in place of %u", half(*batch), *batch);
    *batch = half(*batch);
}

static void halve_batch(apusi_trainer *t, apus_str *what)
{
    const uint32_t batch = t->plan.batch, less = half(batch);

    t->plan.batch = less;
    t->plan.accumulation *= batch / less;
    apus_str_addf(what,
                  "--per_device_train_batch_size %u in place of %u and "
                  "--gradient_accumulation_steps %u (the same rows in a step; the last digits of "
                  "its numbers may differ)",
                  less, batch, t->plan.accumulation);
}

/* Halve what may have been too much, and say it as "with ...". */
static void halve(apusi_trainer *t, apus_status st, apus_str *what)
{
    apusi_recovery *r = &t->recovery;
    const bool evaluates = t->val.n && t->eval_every && r->params.eval_batch > 1;

    if (st == APUS_ERR_MEMORY && evaluates && (r->evaluating || t->plan.batch == 1)) {
        halve_eval(t, what);
    } else if (st == APUS_ERR_MEMORY && t->plan.batch > 1) {
        halve_batch(t, what);
    } else if (st == APUS_ERR_LOST && r->halvings < MOST_HALVINGS) {
        r->halvings++;
        r->good = 0;
        r->patience = r->patience ? 2 * r->patience : PATIENCE;
        if (r->patience > MOST_PATIENCE)
            r->patience = MOST_PATIENCE;
        apus_str_addf(what, "1/%u of the work in a submission", 1u << r->halvings);
    } else {
        apus_str_add(what, "everything as it was");
    }
}

static void say_where(const apusi_trainer *t, char *out, size_t room)
{
    const apusi_recovery *r = &t->recovery;

    snprintf(out, room, "%s step %llu",
             r->reopening    ? "opening the device again for"
             : r->evaluating ? "evaluation after"
             : r->saving     ? "checkpoint of"
                             : "in",
             (unsigned long long)r->step);
}

static apus_status tell_failure(apusi_trainer *t, apus_status st)
{
    apus_str what = { 0 };
    char where[64];

    say_where(t, where, sizeof(where));
    halve(t, st, &what);
    if (!what.failed)
        apus_log(APUS_LOG_WARN, "%s: %s; the device is opened again, with %s (try %u of %u)", where,
                 apus_error_text(), what.data, t->recovery.tries, MOST_TRIES);
    const bool failed = what.failed;
    apus_str_release(&what);
    return failed ? APUS_ERR_MEMORY : APUS_OK;
}

/* ---- the device again ---- */

static void close_device(apusi_trainer *t)
{
    if (t->model)
        t->recovery.peak = apusi_device_peak(t);
    apus_train_step_destroy(&t->step);
    apus_adapters_destroy(&t->adapters);
    apus_model_close(&t->model);
}

/* As before the first step; a checkpoint puts its own numbers there. */
static void forget_numbers(apusi_trainer *t)
{
    t->window = (apusi_window) { 0 };
    t->loss_sum = 0;
    t->overflows = 0;
    t->tokens = 0;
    t->start_step = 0;
    t->state.has_best = false;
    t->state.best_metric = 0;
    t->state.best_step = 0;
    t->state.best_checkpoint = NULL;
    apus_free(t->best_checkpoint);
    t->best_checkpoint = NULL;
    apus_sampler_seek(t->sampler, 0);
}

static apus_status reopen(apusi_trainer *t)
{
    apusi_recovery *r = &t->recovery;
    const char *from = t->last_checkpoint ? t->last_checkpoint : r->begun_from;

    apus_free(r->from);
    r->from = from ? apus_strdup(from) : NULL;
    if (from && !r->from)
        return APUS_ERR_MEMORY;
    r->params.resume = r->from;
    forget_numbers(t);
    APUS_FORWARD(apusi_model_prepare(t));
    set_share(t);
    APUS_FORWARD(apusi_step_prepare(t));
    APUS_FORWARD(apus_run_log_rewind(t->log, &r->log_mark));
    if (t->board)
        APUS_FORWARD(apus_file_cut(apus_tensorboard_path(t->board), r->board_mark));
    if (r->from)
        APUS_FORWARD(apusi_checkpoint_resume(t, r->from));
    t->steps_done = t->start_step - r->first_step;
    return APUS_OK;
}

static void tell_going_on(const apusi_trainer *t)
{
    const apusi_recovery *r = &t->recovery;

    if (r->from)
        apus_log(APUS_LOG_WARN, "going on after step %llu, from %s",
                 (unsigned long long)t->start_step, r->from);
    else
        apus_log(APUS_LOG_WARN, "starting again with step 1: %s",
                 t->save_every ? "there is no checkpoint yet"
                               : "no checkpoints are written (--save_strategy no)");
}

static apus_status give_up(const apusi_trainer *t, apus_status st)
{
    const apusi_recovery *r = &t->recovery;
    char where[64], work[64] = "", batch[64] = "";

    say_where(t, where, sizeof(where));
    if (r->halvings)
        snprintf(work, sizeof(work), ", in the end with 1/%u of the work in a submission",
                 1u << r->halvings);
    if (t->plan.batch < r->batch)
        snprintf(batch, sizeof(batch), ", in the end with micro batches of %u", t->plan.batch);
    return apus_fail(st, "%s: %s; the device was opened again %u times without a new step%s%s",
                     where, apus_error_text(), r->tries, work, batch);
}

apus_status apusi_recover(apusi_trainer *t, apus_status st)
{
    apusi_recovery *r = &t->recovery;

    while (can_go_on(t, st)) {
        if (r->tries == MOST_TRIES)
            return give_up(t, st);
        r->tries++;
        APUS_FORWARD(tell_failure(t, st));
        close_device(t);
        apus_sleep_ns(50000000ull << (2 * r->tries)); /* 0.2, 0.8, 3.2 s: drivers start anew */
        r->reopening = true;
        st = reopen(t);
        if (st == APUS_OK) {
            r->reopening = r->evaluating = r->saving = false;
            tell_going_on(t);
            return APUS_OK;
        }
    }
    return st;
}

apus_status apusi_recovery_hint(const apusi_trainer *t, apus_status st)
{
    const apusi_recovery *r = &t->recovery;
    const char *newest = t->last_checkpoint ? t->last_checkpoint : r->begun_from;
    char batch[128] = "";

    if (st == APUS_ERR_CANCELLED)
        return st;
    if (!newest)
        return apus_fail(st, "%s; there is no checkpoint to go on from", apus_error_text());
    if (r->marked_batch < r->batch)
        snprintf(batch, sizeof(batch),
                 "--per_device_train_batch_size %u --gradient_accumulation_steps %u ",
                 r->marked_batch, r->marked_accumulation);
    return apus_fail(st,
                     "%s; the newest checkpoint is %s: the same command with "
                     "%s--resume_from_checkpoint %s goes on from it",
                     apus_error_text(), newest, batch, newest);
}
