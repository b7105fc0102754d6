/* fit.c - model and plans of a run, made or only counted: whether it fits the device and the host,
 * and if not, what would. */
#include <stdio.h>

#include "room.h"
#include "trainer_internal.h"

/* ---- model and plans ---- */

apus_status apusi_model_prepare(apusi_trainer *t)
{
    const apus_train_params *p = t->p;
    uint32_t longest = t->train.longest > t->val.longest ? t->train.longest : t->val.longest;
    const char *from = p->resume ? p->resume : p->n_adapters ? p->adapters[0] : NULL;
    const apus_lora_config fresh = { .rank = p->lora_rank,
                                     .alpha = p->lora_alpha,
                                     .dropout = p->lora_dropout,
                                     .rslora = p->use_rslora,
                                     .targets = p->targets,
                                     .n_targets = p->n_targets,
                                     .seed = (uint32_t)p->seed };

    if (t->clip && longest > t->clip)
        longest = t->clip;
    if (p->n_adapters > 1)
        return apus_fail(APUS_ERR_SUPPORT, "training goes on from one adapter; %zu were given",
                         p->n_adapters);
    const char *resumed = t->torch_dtype[0] ? t->torch_dtype : NULL;

    APUS_FORWARD(apus_model_open(
        &t->model, p->full && p->resume ? p->resume : p->model,
        &(apus_model_params) { .device = p->device,
                               .torch_dtype = p->torch_dtype ? p->torch_dtype : resumed,
                               .max_positions = longest,
                               .train_all = p->full,
                               .host_layers = t->host_layers,
                               .count_only = t->count_only,
                               .count_as = t->count_as,
                               .device_class = p->device_class,
                               .class_memory = p->class_memory }));
    if (p->resume)
        APUS_FORWARD(apusi_checkpoint_tuned(t, p->resume));
    if (p->full)
        return APUS_OK;
    APUS_FORWARD(apus_adapters_create(&t->adapters, t->model, 1, 1024));
    if (!from)
        return apus_adapters_new(t->adapters, 0, &fresh);
    APUS_FORWARD(apus_adapters_load(t->adapters, 0, from));
    t->adapters->slots[0].dropout = p->lora_dropout;
    return p->resume ? APUS_OK : apus_adapters_set_rslora(t->adapters, 0, p->use_rslora);
}

static uint32_t length_of(const apusi_trainer *t, const apusi_rows *rows, size_t pack)
{
    const uint32_t tokens = rows->packs.tokens[pack];

    return t->clip && tokens > t->clip ? t->clip : tokens;
}

/* Tokens of the largest micro batch of an epoch-long look at the packs: the longest together. */
uint32_t apusi_largest_batch(const apusi_trainer *t, const apusi_rows *rows, uint32_t batch)
{
    uint32_t sum = 0, top[APUSI_MOST_BATCH] = { 0 };

    batch = batch > APUSI_MOST_BATCH ? APUSI_MOST_BATCH : batch;
    for (size_t i = 0; i < rows->packs.n; i++)
        for (uint32_t k = 0, x = length_of(t, rows, i); k < batch; k++)
            if (x > top[k]) {
                const uint32_t y = top[k];
                top[k] = x;
                x = y;
            }
    for (uint32_t k = 0; k < batch; k++)
        sum += top[k];
    return sum;
}

static uint32_t sequences_of(const apusi_rows *rows, uint32_t batch)
{
    const uint64_t most = (uint64_t)rows->packs.most_rows * batch;

    return most < rows->n ? (uint32_t)most : (uint32_t)rows->n;
}

uint32_t apusi_most_sequences(const apusi_trainer *t)
{
    const uint32_t train = sequences_of(&t->train, t->plan.batch);
    const uint32_t val = t->eval_every ? sequences_of(&t->val, apusi_eval_batch(t)) : 0;

    return train > val ? train : val;
}

uint32_t apusi_eval_batch(const apusi_trainer *t)
{
    const uint32_t batch = t->p->eval_batch;

    return batch == 0 ? 1 : batch > APUSI_MOST_BATCH ? APUSI_MOST_BATCH : batch;
}

apus_status apusi_step_prepare(apusi_trainer *t)
{
    const apus_train_params *p = t->p;
    const uint32_t eval_batch = apusi_eval_batch(t), most = apusi_most_sequences(t);

    if (t->plan.batch > APUSI_MOST_BATCH)
        return apus_fail(APUS_ERR_SUPPORT,
                         "--per_device_train_batch_size is %u; at most %u is supported",
                         t->plan.batch, APUSI_MOST_BATCH);
    if (most > APUS_TRAIN_MOST_SEQUENCES)
        return apus_fail(APUS_ERR_SUPPORT,
                         "a micro batch may have %u rows, at most %u are supported: use a smaller "
                         "--packing_length or batch size",
                         most, APUS_TRAIN_MOST_SEQUENCES);
    APUS_FORWARD(
        apus_train_step_create(&t->step, t->model,
                               &(apus_train_step_params) { .adapters = t->adapters,
                                                           .max_sequences = most,
                                                           .recompute = t->recompute,
                                                           .pairs = t->pairs,
                                                           .host_moments = t->host_moments,
                                                           .optim = p->optim,
                                                           .beta1 = (float)p->adam_beta1,
                                                           .beta2 = (float)p->adam_beta2,
                                                           .eps = (float)p->adam_epsilon,
                                                           .decay = (float)p->weight_decay }));
    APUS_FORWARD(apus_train_step_prepare(t->step, apusi_largest_batch(t, &t->train, t->plan.batch),
                                         most, false));
    if (t->val.n && t->eval_every)
        APUS_FORWARD(apus_train_step_prepare(t->step, apusi_largest_batch(t, &t->val, eval_batch),
                                             most, true));
    return APUS_OK;
}

/* ---- does it fit ---- */

#define ALL_LAYERS UINT32_MAX

/* A run of other parameters: its memory, planned by making everything on a device that counts. */
typedef struct trial {
    apus_train_params params;
    const char *count_as;
    uint32_t batch, clip, recompute, pairs, host_layers;
    bool host_moments;
} trial;

typedef struct need {
    uint64_t device, host; /* bytes of buffers */
    uint32_t layers;
    apus_status status; /* APUS_ERR_MEMORY: a tensor is larger than the device allows any to be */
    bool fits, easily;  /* easily: a quarter is left */
} need;

/* Errors: those of opening and planning but APUS_ERR_MEMORY, which is an answer. */
static apus_status count(const apusi_trainer *t, const trial *x, need *out, apus_room *r)
{
    apusi_trainer c = *t; /* rows and the like are borrowed */
    apus_status st;

    c.p = &x->params;
    c.plan.batch = x->batch;
    c.clip = x->clip;
    c.recompute = x->recompute;
    c.pairs = x->pairs;
    c.host_layers = x->host_layers;
    c.host_moments = x->host_moments;
    c.count_only = true;
    c.count_as = x->count_as;
    st = apusi_model_prepare(&c);
    if (st == APUS_OK)
        st = apusi_step_prepare(&c);
    *out = (need) { .status = st };
    if (c.model) {
        const apus_memory_use use = apus_model_memory(c.model);

        apus_room_of(r, c.model, 0);
        if (t->p->device_class) /* of its host nothing is known: it counts as large enough */
            r->free = UINT64_MAX;
        out->device = use.device_peak;
        out->host = use.host_peak;
        out->layers = c.model->dims.layers;
        out->fits = st == APUS_OK && apus_room_fits(r, out->device, out->host);
        out->easily = out->fits && apus_room_fits(r, out->device / 3 * 4, out->host / 3 * 4);
    }
    apus_train_step_destroy(&c.step);
    apus_adapters_destroy(&c.adapters);
    apus_model_close(&c.model);
    return st == APUS_ERR_MEMORY ? APUS_OK : st;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576;
}

/* Count a trial and add a line about it, unless it takes no less than `most` bytes of the device;
 * true if it fits. */
static bool tried(const apusi_trainer *t, const trial *x, uint64_t most, const char *what,
                  apus_str *advice)
{
    need n;
    apus_room r = { 0 };

    if (count(t, x, &n, &r) != APUS_OK || (n.status == APUS_OK && n.device >= most))
        return false;
    if (n.status != APUS_OK)
        apus_str_addf(advice, "%s: no, %s\n", what, apus_error_text());
    else if (r.shared)
        apus_str_addf(advice, "%s: %.1f MiB, %s\n", what, mib(n.device + n.host),
                      n.fits ? "fits" : "too much");
    else
        apus_str_addf(advice, "%s: %.1f MiB on the device, %.1f MiB on the host, %s\n", what,
                      mib(n.device), mib(n.host), n.fits ? "fits" : "too much");
    return n.fits;
}

/* 64, 48, 32, 24, ... */
static uint32_t next_length(uint32_t n)
{
    return n & (n - 1) ? n / 3 * 2 : n / 4 * 3;
}

/* The longest rows, or packs, that fit, by halves and thirds; x->clip is left at the last that was
 * tried. */
static bool try_lengths(const apusi_trainer *t, trial *x, const char *before, apus_str *advice)
{
    const uint32_t longest = t->train.packs.longest > t->val.packs.longest ? t->train.packs.longest
                                                                           : t->val.packs.longest;
    const bool packs = t->pack_length && t->p->packing_length; /* else they follow the rows */
    uint32_t power = 32, shortest = longest;
    bool good = false;

    for (size_t i = 0; i < t->train.n; i++)
        if (t->train.lengths[i] < shortest)
            shortest = t->train.lengths[i];
    while (power < longest)
        power *= 2;
    for (uint32_t n = power; n >= 32 && n >= shortest && !good; n = next_length(n)) {
        char what[160], packing[32];

        if (n >= longest)
            continue;
        snprintf(packing, sizeof(packing), " --packing_length %u", n);
        x->clip = n;
        snprintf(what, sizeof(what), "%s--max_length %u%s", before, n, packs ? packing : "");
        const size_t at = advice->len;
        good = tried(t, x, UINT64_MAX, what, advice);
        if (!good && next_length(n) >= 32 &&
            next_length(n) >= shortest) { /* one line for the search: what it ends with */
            advice->len = at;
            advice->data[at] = '\0';
        }
    }
    return good;
}

static bool try_batches(const apusi_trainer *t, trial *x, apus_str *advice)
{
    bool good = false;

    while (x->batch > 1 && !good) {
        char what[64];

        x->batch /= 2;
        snprintf(what, sizeof(what), "--per_device_train_batch_size %u", x->batch);
        good = tried(t, x, UINT64_MAX, what, advice);
    }
    return good;
}

/* One change at a time, then all of them; a format that takes no less than the model's own is no
 * advice. */
static void advise(const apusi_trainer *t, const trial *base, uint64_t most, bool shared,
                   apus_str *advice)
{
    static const char *const formats[] = { "q8_0", "q4_0" };
    trial all = *base, x = *base;
    bool good = false;

    if (base->recompute == 0) {
        all.recompute = x.recompute = ALL_LAYERS;
        good |= tried(t, &x, UINT64_MAX, "--gradient_checkpointing true", advice);
    }
    if (base->params.recompute != APUS_RECOMPUTE_FIT && base->pairs == 0) {
        x.recompute = ALL_LAYERS;
        all.pairs = x.pairs = UINT32_MAX;
        good |= tried(t, &x, most, "no --gradient_checkpointing", advice);
    }
    x = *base;
    good |= try_batches(t, &x, advice);
    all.batch = x.batch;
    x = *base;
    good |= try_lengths(t, &x, "", advice);
    if (base->params.full && base->params.optim == APUS_OPTIM_ADAMW) {
        x = *base;
        x.params.optim = APUS_OPTIM_ADAMW_8BIT;
        good |= tried(t, &x, most, "--optim adamw_8bit", advice);
    }
    if (base->params.full) {
        x = *base;
        x.params.full = all.params.full = false;
        x.host_layers = all.host_layers = shared ? 0 : ALL_LAYERS;
        x.host_moments = all.host_moments = false;
        good |= tried(t, &x, UINT64_MAX, "--tuner_type lora", advice);
    }
    for (size_t i = 0; i < APUS_COUNT(formats) && !base->params.full; i++) {
        char what[64];

        x = *base;
        x.count_as = formats[i];
        snprintf(what, sizeof(what), "a model in %s", formats[i]);
        good |= tried(t, &x, most, what, advice);
    }
    if (!good)
        good = try_lengths(t, &all, "all of these flags and ", advice);
    all.count_as = formats[1];
    if (!good)
        try_lengths(t, &all, "all of these flags, a model in q4_0 and ", advice);
}

static apus_status does_not_fit(const apusi_trainer *t, const trial *base, const need *n,
                                const apus_room *r, const char *why)
{
    apus_str advice = { 0 };
    uint64_t needed, there;
    const char *where = apus_room_short(r, n->device, n->host, &needed, &there);
    apus_status st;

    advise(t, base, n->status == APUS_OK ? n->device : UINT64_MAX, r->shared, &advice);
    if (t->cb->plan)
        t->cb->plan(t->cb->user,
                    &(apus_train_plan_info) { .model = t->p->model,
                                              .device = r->name,
                                              .device_bytes = n->device,
                                              .host_bytes = n->host,
                                              .device_heap = r->heap,
                                              .advice = advice.data ? advice.data : "" });
    if (n->status != APUS_OK)
        st = apus_fail(APUS_ERR_MEMORY, "this run does not fit: %s", why);
    else
        st = apus_fail(APUS_ERR_MEMORY,
                       "this run does not fit: %.1f MiB are planned, %s has %.1f MiB; see above "
                       "what was tried in its place; nothing was written",
                       mib(needed), where, mib(there));
    apus_str_release(&advice);
    return st;
}

/* What is searched for: how much of *what a trial needs to fit. */
typedef struct search {
    const apusi_trainer *t;
    trial *x;
    uint32_t *what; /* layers to recompute, pairs, layers of the host */
    bool easily;    /* that a quarter is left is asked for */
    bool device;    /* the host is not looked at */
} search;

static apus_status search_fits(void *user, uint32_t n, bool *ok)
{
    const search *s = user;
    apus_room r = { 0 };
    need got;

    *s->what = n;
    APUS_FORWARD(count(s->t, s->x, &got, &r));
    const uint64_t device = s->easily ? got.device / 3 * 4 : got.device;
    *ok = s->device ? got.status == APUS_OK && apus_room_fits(&r, device, 0)
                    : (s->easily ? got.easily : got.fits);
    return APUS_OK;
}

/* The least *what with which it fits; *what has enough. */
static apus_status fewest(search s, need *n, apus_room *r)
{
    uint32_t enough = *s.what;

    APUS_FORWARD(apus_fewest(&enough, search_fits, &s));
    *s.what = enough;
    return count(s.t, s.x, n, r);
}

/* All layers are recomputed, and the run does not fit easily: as few pairs as make it fit, easily
 * if that can be had; none where they do not help. */
static apus_status fewest_pairs(const apusi_trainer *t, trial *x, need *n, apus_room *r)
{
    const need without = *n;

    x->pairs = n->layers / 2;
    APUS_FORWARD(count(t, x, n, r));
    if (n->status == APUS_OK && (n->easily || (n->fits && !without.fits)))
        return fewest((search) { t, x, &x->pairs, n->easily, false }, n, r);
    if (n->status != APUS_OK || without.fits ||
        (without.status == APUS_OK && n->device >= without.device)) {
        x->pairs = 0;
        *n = without;
    }
    return APUS_OK;
}

/* It does not fit a device with memory of its own: the optimizer's state, or the projections of as
 * few layers as help, stay in the host's. */
static apus_status to_host(const apusi_trainer *t, trial *x, need *n, apus_room *r)
{
    const trial before = *x;
    const need without = *n;

    if (n->status == APUS_OK && apus_room_fits(r, n->device, 0)) /* the host is what is short */
        return APUS_OK;
    x->host_moments = x->params.full;
    x->host_layers = x->params.full ? 0 : n->layers;
    APUS_FORWARD(count(t, x, n, r));
    if (n->status != APUS_OK || (without.status == APUS_OK && n->device >= without.device)) {
        *x = before;
        *n = without;
        return APUS_OK;
    }
    if (x->params.full || !apus_room_fits(r, n->device, 0))
        return APUS_OK;
    const bool easily = apus_room_fits(r, n->device / 3 * 4, 0);
    return fewest((search) { t, x, &x->host_layers, easily, true }, n, r);
}

/* Layers are recomputed, then left with the host, then recomputed twice: to bring them over a bus
 * takes less time than to run them once more. */
static apus_status make_fit(const apusi_trainer *t, trial *x, need *n, apus_room *r)
{
    const bool as_needed = t->p->recompute == APUS_RECOMPUTE_FIT;

    if (as_needed && !n->easily) {
        x->recompute = ALL_LAYERS;
        APUS_FORWARD(count(t, x, n, r));
        if (n->easily) {
            x->recompute = n->layers;
            return fewest((search) { t, x, &x->recompute, true, false }, n, r);
        }
    }
    if (!n->fits && !r->shared)
        APUS_FORWARD(to_host(t, x, n, r));
    /* What is left with the host leaves a quarter, if that can be had. */
    if (as_needed && (!n->fits || (!n->easily && !x->host_layers && !x->host_moments)))
        APUS_FORWARD(fewest_pairs(t, x, n, r));
    if (!n->fits && !r->shared && !x->host_layers && !x->host_moments)
        return to_host(t, x, n, r);
    return APUS_OK;
}

apus_status apusi_fit_check(apusi_trainer *t)
{
    const apus_recompute how = t->p->recompute;
    trial base = { .params = *t->p,
                   .count_as = t->count_as,
                   .batch = t->plan.batch,
                   .recompute = how == APUS_RECOMPUTE_ALL ? ALL_LAYERS : 0 };
    apus_status st;
    need n;
    apus_room r = { 0 };
    char *why;

    APUS_FORWARD(count(t, &base, &n, &r));
    APUS_FORWARD(make_fit(t, &base, &n, &r));
    t->recompute = base.recompute;
    t->pairs = base.pairs;
    t->host_layers = base.host_layers;
    t->host_moments = base.host_moments;
    if (n.fits)
        return APUS_OK;
    why = apus_strdup(n.status == APUS_OK ? "" : apus_error_text());
    st = does_not_fit(t, &base, &n, &r, why ? why : "");
    apus_free(why);
    return st;
}
