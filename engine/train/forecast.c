/* forecast.c - a run on a device that is not there, counted and timed.  See apus/forecast.h.
 *
 * The trainer's own way (fit.c, step.c, session.c) makes everything on a device that only counts;
 * what stands here are rows that no data set gave, and sums. */
#include "apus/forecast.h"

#include <stdio.h>

#include "cache.h"
#include "duration.h"
#include "room.h"
#include "session.h"
#include "trainer_internal.h"

#define MOST_TOKENS 2048u /* of a row, where nothing is said */
#define PROMPT 512u       /* tokens of a prompt that are read at once */

typedef struct forecasting {
    const apus_forecast_params *p;
    apus_train_params train;
    apus_forecast *out;
    apusi_trainer t;
    uint32_t row_tokens, pack_rows; /* of a row of the data; such rows in one of a batch */
} forecasting;

/* ---- rows that are not there ---- */

static apus_status row_lengths(forecasting *f, const apus_checkpoint *ck)
{
    const apus_train_params *p = &f->train;
    apus_config config;
    uint64_t pack;

    APUS_FORWARD(apus_checkpoint_read_config(ck, &config));
    f->row_tokens = p->max_length                  ? (uint32_t)p->max_length
                    : config.max_pos < MOST_TOKENS ? config.max_pos
                                                   : MOST_TOKENS;
    pack = p->packing != APUS_PACKING_NONE && p->packing_length ? p->packing_length : f->row_tokens;
    f->pack_rows = pack > f->row_tokens ? (uint32_t)(pack / f->row_tokens) : 1;
    return APUS_OK;
}

/* A batch of rows, each as long as it may be. */
static apus_status make_rows(forecasting *f)
{
    const uint32_t n = f->train.batch;
    apusi_rows *rows = &f->t.train;

    if ((uint64_t)n * f->pack_rows > APUS_TRAIN_MOST_SEQUENCES)
        return apus_fail(APUS_ERR_ARG,
                         "a micro batch of %llu rows of %u tokens; at most %u rows are supported: "
                         "use a smaller --packing_length or batch size",
                         (unsigned long long)n * f->pack_rows, f->row_tokens,
                         APUS_TRAIN_MOST_SEQUENCES);
    rows->packs.tokens = apus_calloc(n, sizeof(*rows->packs.tokens));
    rows->lengths = apus_calloc((size_t)n * f->pack_rows, sizeof(*rows->lengths));
    if (!rows->packs.tokens || !rows->lengths)
        return APUS_ERR_MEMORY;
    rows->packs.n = n;
    rows->packs.most_rows = f->pack_rows;
    rows->packs.longest = f->row_tokens * f->pack_rows;
    rows->n = (size_t)n * f->pack_rows;
    rows->longest = f->row_tokens;
    for (uint32_t i = 0; i < n; i++)
        rows->packs.tokens[i] = rows->packs.longest;
    for (size_t i = 0; i < rows->n; i++) /* others may be short, so that a --max_length helps */
        rows->lengths[i] = 1;
    return APUS_OK;
}

static void release_rows(apusi_rows *rows)
{
    rows->n = 0; /* nothing was encoded */
    apusi_rows_release(rows);
}

/* ---- times ---- */

static apus_forecast_step time_of(const apus_model *m, const apus_plan *plan, uint32_t tokens,
                                  const apus_list_work *work)
{
    const apus_list_time t = apus_list_duration(apus_plan_list(plan), apus_gpu_class_of(m->gpu),
                                                apus_gpu_caps(m->gpu)->device_class, work);

    return (apus_forecast_step) { tokens, t.dispatches, t.flops, t.bytes, t.seconds };
}

static apus_status time_training(forecasting *f)
{
    apus_forecast_training *x = &f->out->training;
    const uint32_t tokens = apusi_largest_batch(&f->t, &f->t.train, f->train.batch);
    const uint32_t most = apusi_most_sequences(&f->t);
    uint32_t vars[APUS_STEP_VARS] = { 0 };
    apus_plan *micro, *update;

    APUS_FORWARD(apus_train_plan(f->t.step, tokens, most, &micro));
    APUS_FORWARD(apus_train_plan(f->t.step, 0, 0, &update));
    vars[APUS_VAR_TOKENS] = vars[APUS_VAR_UNIQUE] = tokens;
    vars[APUS_VAR_LOSS_ROWS] = tokens - most; /* all but the first token of each row */
    vars[APUS_VAR_SEQUENCES] = most;
    vars[APUS_VAR_BLOCKS] = UINT32_MAX;
    const apus_list_work work = { .vars = vars,
                                  .pairs = (double)most * f->row_tokens * f->row_tokens };
    x->micro = time_of(f->t.model, micro, tokens, &work);
    x->update = time_of(f->t.model, update, 0, &work);
    x->step_s = x->micro_batches * x->micro.seconds + x->update.seconds;
    x->tokens_s = (double)x->micro_batches * tokens / x->step_s;
    return APUS_OK;
}

/* ---- training ---- */

static void keep_advice(void *user, const apus_train_plan_info *info)
{
    apus_forecast *out = user;

    out->training.advice = apus_strdup(info->advice ? info->advice : "");
}

static void count_training(forecasting *f)
{
    apus_forecast_training *x = &f->out->training;
    const apus_model *m = f->t.model;
    const apus_memory_use use = apus_model_memory(m);
    const apus_train_memory held = apus_train_memory_of(f->t.step);
    const uint64_t n = apus_train_count(f->t.step);

    x->n_trained = f->t.adapters ? f->t.adapters->slots[0].n_params : m->n_params;
    x->dtype = apus_dtype_torch(m->types.act);
    x->layers = m->dims.layers;
    x->recomputed = f->t.recompute < x->layers ? f->t.recompute : x->layers;
    x->twice = f->t.pairs;
    x->host_layers = m->host_layers;
    x->host_weights = m->host_bytes;
    x->weights = m->weight_bytes - m->host_bytes + m->copy.bytes;
    x->adapter = f->t.adapters ? f->t.adapters->slots[0].slab.bytes : 0;
    x->gradients = 4 * n;
    x->optimizer = f->t.host_moments ? 0 : held.moments;
    x->host_optimizer = held.moments - x->optimizer;
    x->scratch = held.scratch;
    x->device = use.device_peak;
    x->host = use.host_peak;
    x->other = x->device - x->weights - x->adapter - x->gradients - x->optimizer - x->scratch;
}

static void close_training(forecasting *f)
{
    apus_train_step_destroy(&f->t.step);
    apus_adapters_destroy(&f->t.adapters);
    apus_model_close(&f->t.model);
}

/* Does it fit, and if not, why; then what it takes. */
static apus_status forecast_training(forecasting *f)
{
    apus_forecast_training *x = &f->out->training;
    const apus_train_callbacks callbacks = { .user = f->out, .plan = keep_advice };
    apus_status st;

    f->t.cb = &callbacks;
    f->t.plan.batch = f->train.batch;
    x->rows = f->train.batch;
    x->row_tokens = f->t.train.packs.longest;
    x->micro_batches =
        f->train.accumulation ? f->train.accumulation : (15 + f->train.batch) / f->train.batch;
    st = apusi_fit_check(&f->t);
    x->fits = st == APUS_OK;
    if (st == APUS_ERR_MEMORY && x->advice)
        x->why = apus_strdup(apus_error_text());
    else if (st != APUS_OK)
        return st;
    f->t.count_only = true;
    st = apusi_model_prepare(&f->t);
    if (st == APUS_OK)
        st = apusi_step_prepare(&f->t);
    if (st == APUS_OK) {
        count_training(f);
        st = time_training(f);
    }
    close_training(f);
    /* A tensor that is larger than any may be: `why` says which. */
    return st == APUS_ERR_MEMORY && !x->fits ? APUS_OK : st;
}

/* ---- inference ---- */

static apus_status time_inference(forecasting *f, apus_model *m, apus_session *s)
{
    apus_forecast_inference *x = &f->out->inference;
    const uint32_t prompt = x->context < PROMPT ? x->context : PROMPT;
    uint32_t vars[APUS_STEP_VARS] = { 0 };
    apus_plan *plan;

    vars[APUS_VAR_SEQUENCES] = vars[APUS_VAR_OUT_ROWS] = 1;
    vars[APUS_VAR_BLOCKS] = UINT32_MAX;
    vars[APUS_VAR_TOKENS] = prompt;
    apus_list_work work = { .vars = vars, .pairs = (double)prompt * prompt };
    APUS_FORWARD(apus_session_plan(s, prompt, 1, &plan));
    x->prompt = time_of(m, plan, prompt, &work);
    vars[APUS_VAR_TOKENS] = 1;
    work.pairs = 2.0 * x->context; /* one row sees all: twice a row's part of a square's half */
    work.cache_bytes = (double)x->cache / m->dims.layers;
    APUS_FORWARD(apus_session_plan(s, 1, 1, &plan));
    x->decode = time_of(m, plan, 1, &work);
    return APUS_OK;
}

/* With the projections of so many layers in the host's memory. */
static apus_status infer_with(forecasting *f, uint32_t host_layers)
{
    apus_forecast_inference *x = &f->out->inference;
    const apus_train_params *p = &f->train;
    apus_model *m = NULL;
    apus_session *s = NULL;
    apus_model_about about;
    apus_plan *plan;
    apus_status st;

    *x = (apus_forecast_inference) { .context = f->row_tokens, .host_layers = host_layers };
    APUS_TRY(apus_model_open(&m, p->model,
                             &(apus_model_params) { .torch_dtype = p->torch_dtype,
                                                    .max_positions = x->context,
                                                    .host_layers = host_layers,
                                                    .count_only = true,
                                                    .count_as = f->p->weights,
                                                    .device_class = p->device_class,
                                                    .class_memory = p->class_memory }));
    apus_model_describe(m, &about);
    const apus_caps *caps = apus_gpu_caps(m->gpu);
    snprintf(f->out->model, sizeof(f->out->model), "%s", about.name);
    snprintf(f->out->device, sizeof(f->out->device), "%s", about.device);
    f->out->n_params = about.n_params;
    f->out->device_heap = caps->heap;
    f->out->shared = caps->integrated;
    x->layers = about.layers;
    x->host_weights = m->host_bytes;
    x->weights = m->weight_bytes - m->host_bytes;
    x->cache = apus_cache_bytes(m->dims.layers, m->dims.kv_heads * m->dims.head_dim, x->context,
                                m->types.cache);
    APUS_TRY(apus_session_create(&s, m,
                                 &(apus_session_params) { .tokens = x->context, .chunk = PROMPT }));
    APUS_TRY(time_inference(f, m, s));
    const apus_memory_use use = apus_model_memory(m);
    APUS_TRY(apus_session_plan(s, f->out->inference.prompt.tokens, 1, &plan));
    x->scratch = apus_plan_about(plan)->scratch_bytes;
    x->device = use.device_peak;
    x->host = use.host_peak;
    x->other = x->device - x->weights - x->cache - x->scratch;
    x->fits = x->device + (f->out->shared ? x->host : 0) <= f->out->device_heap;
fail:
    apus_session_destroy(&s);
    apus_model_close(&m);
    return st;
}

static apus_status inference_fits(void *user, uint32_t host_layers, bool *ok)
{
    forecasting *f = user;

    APUS_FORWARD(infer_with(f, host_layers));
    *ok = f->out->inference.fits;
    return APUS_OK;
}

/* With as few layers of the host's as make it fit, or none. */
static apus_status forecast_inference(forecasting *f)
{
    bool ok;

    APUS_FORWARD(inference_fits(f, 0, &ok));
    uint32_t layers = f->out->inference.layers;
    if (ok || f->out->shared)
        return APUS_OK;
    APUS_FORWARD(inference_fits(f, layers, &ok));
    if (!ok)
        return infer_with(f, 0);
    APUS_FORWARD(apus_fewest(&layers, inference_fits, f));
    return infer_with(f, layers);
}

apus_status apus_forecast_make(apus_forecast *out, const apus_forecast_params *params)
{
    forecasting f = { .p = params, .train = params->train, .out = out };
    apus_checkpoint *ck = NULL;
    apus_status st;

    *out = (apus_forecast) { 0 };
    if (!params->train.device_class)
        return apus_fail(APUS_ERR_ARG, "a forecast is made for a class of devices: name one");
    if (f.train.batch == 0)
        f.train.batch = 1;
    f.t.p = &f.train;
    f.t.count_as = params->weights;
    APUS_TRY(apus_checkpoint_open_bare(&ck, params->train.model));
    APUS_TRY(row_lengths(&f, ck));
    APUS_TRY(make_rows(&f));
    APUS_TRY(forecast_inference(&f));
    APUS_TRY(forecast_training(&f));
fail:
    apus_checkpoint_close(&ck);
    release_rows(&f.t.train);
    return st;
}

void apus_forecast_release(apus_forecast *forecast)
{
    apus_free(forecast->training.why);
    apus_free(forecast->training.advice);
    *forecast = (apus_forecast) { 0 };
}
