/* step.c - training steps: shared buffers, buckets, runs.  See step.h. */
#include "step.h"

#include <math.h>

#include "os.h"
#include "rng.h"
#include "step_internal.h"
#include "trace.h"

#define FIRST_SCALE 65536.0
#define MOST_SCALE 16777216.0
#define GOOD_UPDATES 2000 /* after which the loss scale doubles */

static apus_status make_buffers(apus_train_step *s)
{
    apus_gpu *gpu = s->model->gpu;

    APUS_FORWARD(apusi_buffer_zero(gpu, &s->grad, 4 * s->n, APUS_MEMORY_DEVICE, "gradients"));
    APUS_FORWARD(
        apus_buffer_create(gpu, &s->state, 4 * APUS_STATE_WORDS, APUS_MEMORY_HOST, "train state"));
    APUS_FORWARD(
        apusi_moments_create(&s->moments, s->model, s->params.adapters, s->params.optim,
                             s->params.host_moments ? APUS_MEMORY_AWAY : APUS_MEMORY_DEVICE, s->n));
    memset(s->state.host, 0, 4 * APUS_STATE_WORDS);
    return APUS_OK;
}

static bool scales(const apus_train_step *s)
{
    return s->model->types.act == APUS_F16;
}

apus_status apus_train_step_create(apus_train_step **out, apus_model *model,
                                   const apus_train_step_params *params)
{
    apus_status st;
    apus_train_step *s = apus_alloc(sizeof(*s));

    *out = NULL;
    if (!s)
        return APUS_ERR_MEMORY;
    s->model = model;
    s->params = *params;
    s->scale.scale = scales(s) ? FIRST_SCALE : 1;
    if (params->max_sequences < 1 || params->max_sequences > APUS_TRAIN_MOST_SEQUENCES)
        APUS_TRY(apus_fail(APUS_ERR_ARG, "a micro batch of %u sequences; it must be in [1, %u]",
                           params->max_sequences, APUS_TRAIN_MOST_SEQUENCES));
    if (params->adapters) {
        s->slab = &params->adapters->slots[0].slab;
        s->n = s->n_decay = params->adapters->slots[0].n;
    } else {
        APUS_BUG_IF(!model->train_all);
        s->slab = &model->slabs[0];
        s->copy = model->copy.address ? &model->copy : NULL;
        s->n = model->n_slab;
        s->n_decay = params->decay_all ? model->n_slab : model->n_matrix;
    }
    APUS_TRY(make_buffers(s));
    if (params->adapters) {
        params->adapters->grad = s->grad.address;
        s->hook = apus_adapters_hook(params->adapters);
    } else {
        for (uint32_t i = 0; i < model->n_weights; i++)
            model->weights[i].grad =
                s->grad.address + (model->weights[i].address - s->slab->address);
    }
    APUS_TRY(apusi_update_build(s));
    /* Without gradients, moments and learning rate an update only makes the working copy. */
    if (s->copy && !apus_gpu_counts(model->gpu))
        APUS_TRY(apus_train_update(s, 0, 0, 1));
    s->scale.good = 0;
    *out = s;
    return APUS_OK;

fail:
    apus_train_step_destroy(&s);
    return st;
}

static void micro_free(apusi_micro *b)
{
    if (!b)
        return;
    apus_plan_destroy(&b->plan);
    apus_graph_release(&b->graph);
    apus_free(b->bounds);
    apus_free(b);
}

void apus_train_step_destroy(apus_train_step **step)
{
    apus_train_step *s = *step;

    if (!s)
        return;
    for (uint32_t i = 0; i < s->n_micros; i++)
        micro_free(s->micros[i]);
    apus_plan_destroy(&s->update);
    apus_graph_release(&s->update_graph);
    apus_buffer_destroy(s->model->gpu, &s->grad);
    apusi_moments_destroy(&s->moments, s->model->gpu);
    apus_buffer_destroy(s->model->gpu, &s->state);
    apus_str_release(&s->choices);
    apus_free(s->sort);
    apus_free(s);
    *step = NULL;
}

/* At most two buckets a doubling: 2^k and 3 * 2^(k-1), from 32 on. */
static uint32_t bucket_of(uint32_t tokens)
{
    uint32_t b = 32;

    while (b < tokens) {
        if (b + b / 2 >= tokens)
            return b + b / 2;
        b *= 2;
    }
    return b;
}

static apus_status find_micro(apus_train_step *s, uint32_t tokens, uint32_t sequences,
                              bool evaluation, apusi_micro **out)
{
    const uint32_t t = bucket_of(tokens);
    apus_status st;
    apusi_micro *b;

    while (s->params.fresh && s->n_micros)
        micro_free(s->micros[--s->n_micros]);
    for (uint32_t i = 0; i < s->n_micros; i++) {
        b = s->micros[i];
        if (b->tokens == t && b->sequences >= sequences && b->evaluation == evaluation) {
            *out = b;
            return APUS_OK;
        }
    }
    if (s->n_micros == APUSI_MAX_BUCKETS)
        return apus_fail(APUS_ERR_SUPPORT, "more than %d shapes of micro batches",
                         APUSI_MAX_BUCKETS);
    b = apus_alloc(sizeof(*b));
    if (!b)
        return APUS_ERR_MEMORY;
    b->tokens = t;
    b->sequences = sequences > s->params.max_sequences ? sequences : s->params.max_sequences;
    b->evaluation = evaluation;
    b->bounds = apus_calloc(b->sequences, 2 * sizeof(*b->bounds));
    st = b->bounds ? apusi_micro_build(s, b) : APUS_ERR_MEMORY;
    if (st != APUS_OK) {
        micro_free(b);
        return st;
    }
    s->micros[s->n_micros++] = b;
    const apus_plan_info *info = apus_plan_about(b->plan);
    if (info->scratch_bytes > s->scratch)
        s->scratch = info->scratch_bytes;
    if (!evaluation && s->choices.len == 0)
        apus_str_add(&s->choices, info->choices);
    *out = b;
    return APUS_OK;
}

apus_status apus_train_step_prepare(apus_train_step *s, uint32_t tokens, uint32_t sequences,
                                    bool evaluation)
{
    apusi_micro *b;

    return find_micro(s, tokens, sequences, evaluation, &b);
}

static void set_f32(uint32_t *vars, apus_step_var var, double value)
{
    const float f = (float)value;

    memcpy(&vars[var], &f, 4);
}

static apus_status run_micro(apus_train_step *s, const apus_train_sequence *seqs, uint32_t n,
                             bool evaluation, double scale, uint64_t number, uint32_t seed,
                             const apus_cancel *cancel)
{
    uint32_t tokens = 0, labels = 0;
    apusi_micro *b;
    apus_step step;

    for (uint32_t i = 0; i < n; i++)
        tokens += seqs[i].n;
    if (n < 1 || n > APUS_TRAIN_MOST_SEQUENCES || tokens == 0)
        return apus_fail(APUS_ERR_ARG, "a micro batch of %u sequences and %u tokens", n, tokens);
    APUS_FORWARD(find_micro(s, tokens, n, evaluation, &b));
    const uint64_t start = apus_now_ns(), began = apus_trace_begin();
    APUS_FORWARD(apusi_micro_fill(s, b, seqs, n, &step, &labels));
    step.vars[APUS_VAR_STEP] = (uint32_t)number;
    step.vars[APUS_VAR_SEED] = seed;
    set_f32(step.vars, APUS_VAR_LOSS_SCALE, scale * s->scale.scale);
    s->host_ns += apus_now_ns() - start;
    apus_trace_end(began, "batch", evaluation ? "evaluation" : NULL, "tokens", tokens);
    APUS_FORWARD(apus_plan_run(b->plan, cancel));
    s->host_ns += apus_plan_host_ns(b->plan);
    return APUS_OK;
}

apus_status apus_train_micro(apus_train_step *s, const apus_train_sequence *seqs, uint32_t n,
                             double scale, uint64_t number, uint32_t seed,
                             const apus_cancel *cancel)
{
    return run_micro(s, seqs, n, false, scale, number, seed, cancel);
}

apus_status apus_train_eval(apus_train_step *s, const apus_train_sequence *seqs, uint32_t n,
                            const apus_cancel *cancel)
{
    return run_micro(s, seqs, n, true, 0, 0, 0, cancel);
}

apus_loss_scale apus_train_loss_scale(const apus_train_step *s)
{
    return s->scale;
}

apus_status apus_train_set_loss_scale(apus_train_step *s, apus_loss_scale scale)
{
    int exponent;

    if (!scales(s))
        return APUS_OK;
    if (!(scale.scale >= 1 && scale.scale <= MOST_SCALE) || frexp(scale.scale, &exponent) != 0.5 ||
        scale.good >= GOOD_UPDATES)
        return apus_fail(APUS_ERR_FORMAT, "a loss scale of %g, good for %u updates", scale.scale,
                         scale.good);
    s->scale = scale;
    return APUS_OK;
}

/* After an update: did the scaled gradients overflow? */
static void adapt_scale(apus_train_step *s)
{
    const float *w = s->state.host;
    apus_loss_scale *x = &s->scale;

    if (!scales(s))
        return;
    if (!isfinite(w[APUS_STATE_NORM]))
        *x = (apus_loss_scale) { x->scale > 1 ? x->scale / 2 : 1, 0 };
    else if (++x->good == GOOD_UPDATES)
        *x = (apus_loss_scale) { x->scale < MOST_SCALE ? 2 * x->scale : MOST_SCALE, 0 };
}

apus_status apus_train_update(apus_train_step *s, double lr, double max_norm, uint64_t number)
{
    apus_step step = apus_plan_step(s->update);

    step.vars[APUS_VAR_STEP] = (uint32_t)number;
    set_f32(step.vars, APUS_VAR_LR, lr);
    set_f32(step.vars, APUS_VAR_BIAS1, 1 - pow((double)s->params.beta1, (double)number));
    set_f32(step.vars, APUS_VAR_BIAS2, sqrt(1 - pow((double)s->params.beta2, (double)number)));
    set_f32(step.vars, APUS_VAR_MAX_NORM, max_norm);
    set_f32(step.vars, APUS_VAR_UNSCALE, 1 / s->scale.scale);
    APUS_FORWARD(apus_plan_run(s->update, NULL));
    adapt_scale(s);
    s->host_ns += apus_plan_host_ns(s->update);
    return APUS_OK;
}

apus_status apus_train_read(apus_train_step *s, apus_train_numbers *out)
{
    float *w = s->state.host;

    *out = (apus_train_numbers) {
        .loss = (double)w[APUS_STATE_LOSS],
        .correct = (double)w[APUS_STATE_CORRECT],
        .tokens = (double)w[APUS_STATE_TOKENS],
        .norm = (double)w[APUS_STATE_NORM],
        .skipped = (double)w[APUS_STATE_SKIPPED],
    };
    w[APUS_STATE_LOSS] = w[APUS_STATE_CORRECT] = w[APUS_STATE_TOKENS] = 0;
    return APUS_OK;
}

uint64_t apus_train_count(const apus_train_step *s)
{
    return s->n;
}

const apusi_moments *apus_train_moments(const apus_train_step *s)
{
    return &s->moments;
}

const apus_buffer *apus_train_slab(const apus_train_step *s)
{
    return s->slab;
}

const apus_buffer *apus_train_gradients(const apus_train_step *s)
{
    return &s->grad;
}

apus_train_memory apus_train_memory_of(const apus_train_step *s)
{
    const uint64_t moments = apusi_moments_bytes(&s->moments);

    return (apus_train_memory) { .scratch = s->scratch,
                                 .optimizer = 4 * s->n + moments,
                                 .trained = 4 * s->n,
                                 .moments = moments,
                                 .coded = s->moments.coded };
}

uint64_t apus_train_choices(apus_train_step *s, const char **text)
{
    const char *all = s->choices.data ? s->choices.data : "";

    if (text)
        *text = all;
    return apus_hash(all, strlen(all), APUS_HASH_SEED);
}

uint64_t apus_train_host_ns(apus_train_step *s)
{
    const uint64_t ns = s->host_ns;

    s->host_ns = 0;
    return ns;
}

apus_status apus_train_plan(apus_train_step *s, uint32_t tokens, uint32_t sequences,
                            apus_plan **out)
{
    apusi_micro *b;

    *out = s->update;
    if (tokens == 0)
        return APUS_OK;
    APUS_FORWARD(find_micro(s, tokens, sequences, false, &b));
    *out = b->plan;
    return APUS_OK;
}
