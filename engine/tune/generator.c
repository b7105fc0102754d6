/* generator.c - a generator: its adapters, its session with a cache for all texts; what that takes.
 * It stands in this layer because it loads adapters. */
#include "generator.h"

#include <stdio.h>

#include "room.h"

_Static_assert(APUS_GENERATE_MOST == APUS_SESSION_SEQUENCES, "a lane is a sequence of a run");

static apus_status load_adapters(apus_generator *g, const apus_generator_params *p)
{
    uint32_t rank = 1;

    for (size_t i = 0; i < p->n_adapters; i++) {
        apus_lora_config c;
        APUS_FORWARD(apus_adapter_peek(p->adapters[i], &c));
        rank = c.rank > rank ? c.rank : rank;
    }
    APUS_FORWARD(apus_adapters_create(&g->adapters, g->model, (uint32_t)p->n_adapters, rank));
    for (size_t i = 0; i < p->n_adapters; i++)
        APUS_FORWARD(apus_adapters_load(g->adapters, (uint32_t)i, p->adapters[i]));
    g->hook = apus_adapters_hook(g->adapters);
    return APUS_OK;
}

static apus_status make_largest(apus_generator *g, uint32_t longest)
{
    const uint32_t most = longest < g->max_length ? longest : g->max_length;
    apus_plan *plan;

    APUS_FORWARD(apus_session_plan(
        g->session, most < APUSI_GENERATE_CHUNK ? most : APUSI_GENERATE_CHUNK, 1, &plan));
    return apus_session_plan(g->session, g->n_lanes, g->n_lanes, &plan);
}

apus_status apus_generator_create(apus_generator **out, apus_model *model,
                                  const apus_generator_params *p)
{
    apus_status st;
    apus_generator *g;

    *out = NULL;
    if (p->batch > APUS_GENERATE_MOST)
        return apus_fail(APUS_ERR_ARG, "%u prompts at once; at most %d are possible", p->batch,
                         APUS_GENERATE_MOST);
    g = apus_alloc(sizeof(*g));
    if (!g)
        return APUS_ERR_MEMORY;
    g->model = model;
    g->n_lanes = p->batch ? p->batch : 1;
    g->max_length = p->max_length && p->max_length < model->max_positions ? p->max_length
                                                                          : model->max_positions;
    for (uint32_t i = 0; i < g->n_lanes; i++) {
        g->lanes[i].adapter = -1;
        g->lanes[i].text = apus_calloc(g->max_length, sizeof(*g->lanes[i].text));
        if (!g->lanes[i].text)
            APUS_TRY(APUS_ERR_MEMORY);
    }
    if (p->n_adapters)
        APUS_TRY(load_adapters(g, p));
    /* Whole pages for each, so that none waits for another's. */
    const uint64_t tokens = apus_round_up(g->max_length, APUS_PAGE_TOKENS) * g->n_lanes;
    if (tokens > UINT32_MAX)
        APUS_TRY(apus_fail(APUS_ERR_MEMORY, "a cache of %u texts of %u tokens is too large",
                           g->n_lanes, g->max_length));
    APUS_TRY(
        apus_session_create(&g->session, model,
                            &(apus_session_params) { .tokens = (uint32_t)tokens,
                                                     .length = g->max_length,
                                                     .chunk = APUSI_GENERATE_CHUNK,
                                                     .max_sequences = g->n_lanes,
                                                     .hook = p->n_adapters ? &g->hook : NULL }));
    if (p->longest_prompt)
        APUS_TRY(make_largest(g, p->longest_prompt));
    *out = g;
    return APUS_OK;

fail:
    apus_generator_destroy(&g);
    return st;
}

void apus_generator_destroy(apus_generator **generator)
{
    apus_generator *g = *generator;

    if (!g)
        return;
    for (uint32_t i = 0; i < g->n_lanes; i++) {
        if (g->session)
            apus_sequence_release(apus_session_cache(g->session), &g->lanes[i].sequence);
        apus_free(g->lanes[i].text);
    }
    apus_session_destroy(&g->session);
    apus_adapters_destroy(&g->adapters);
    apus_free(g);
    *generator = NULL;
}

/* ---- what it takes ---- */

/* The plans of shorter prompts, and of fewer answers.  A step of one is among the first. */
static apus_status make_smaller(apus_generator *g, uint32_t longest)
{
    apus_plan *plan;

    for (uint32_t n = 1; n < longest && n < APUSI_GENERATE_CHUNK; n *= 2)
        APUS_FORWARD(apus_session_plan(g->session, n, 1, &plan));
    for (uint32_t n = 2; n < g->n_lanes; n *= 2)
        APUS_FORWARD(apus_session_plan(g->session, n, n, &plan));
    return APUS_OK;
}

/* What a model and a generator take, and what there is. */
typedef struct need {
    apus_memory_use use;
    apus_room room;
    uint32_t layers;
} need;

/* Make all of it on a device that counts.  Errors: those of making. */
static apus_status count(need *out, const char *path, const apus_model_params *open,
                         const apus_generator_params *p)
{
    apus_model_params counted = *open;
    apus_generator_params those = *p;
    apus_model *m = NULL;
    apus_generator *g = NULL;
    apus_status st;

    *out = (need) { 0 };
    counted.count_only = true;
    APUS_TRY(apus_model_open(&m, path, &counted));
    apus_room_of(&out->room, m, 0);
    out->layers = m->dims.layers;
    if (!those.longest_prompt)
        those.longest_prompt = p->max_length ? p->max_length : m->max_positions;
    APUS_TRY(apus_generator_create(&g, m, &those));
    APUS_TRY(make_smaller(g, those.longest_prompt));
    out->use = apus_model_memory(m);
fail:
    apus_generator_destroy(&g);
    apus_model_close(&m);
    return st;
}

/* The same beside a model that is there. */
static apus_status count_like(need *out, const apus_model *like, const apus_generator_params *p)
{
    const apus_caps *caps = apus_gpu_caps(like->gpu);
    apus_model_about about;
    char uuid[33];

    for (int i = 0; i < 16; i++)
        snprintf(uuid + 2 * (size_t)i, 3, "%02x", caps->uuid[i]);
    apus_model_describe(like, &about);
    return count(out, about.path,
                 &(apus_model_params) { .device = uuid,
                                        .torch_dtype = like->types.torch_dtype,
                                        .max_positions = like->max_positions,
                                        .host_layers = like->host_layers },
                 p);
}

/* A model and a generator with the projections of so many layers in the host's memory. */
typedef struct away {
    const char *path;
    apus_model_params open;
    const apus_generator_params *p;
    need n; /* of the last try */
} away;

/* Whether the device has room for its part. */
static apus_status device_fits(void *user, uint32_t layers, bool *ok)
{
    away *x = user;

    x->open.host_layers = layers;
    const apus_status st = count(&x->n, x->path, &x->open, x->p);
    *ok = st == APUS_OK && apus_room_fits(&x->n.room, x->n.use.device_peak, 0);
    return st == APUS_ERR_MEMORY ? APUS_OK : st;
}

/* The fewest layers that make it fit; 0 where nothing helps. */
static apus_status fewest_layers(uint32_t *out, const char *path, const apus_model_params *open,
                                 const apus_generator_params *p)
{
    away x = { .path = path, .open = *open, .p = p };
    bool ok;

    *out = 0;
    APUS_FORWARD(device_fits(&x, 0, &ok));
    uint32_t layers = x.n.layers;
    if (ok || x.n.room.shared)
        return APUS_OK;
    APUS_FORWARD(device_fits(&x, layers, &ok));
    if (!ok)
        return APUS_OK;
    APUS_FORWARD(apus_fewest(&layers, device_fits, &x));
    *out = layers;
    return APUS_OK;
}

typedef struct trial {
    const apus_model *model;
    const apus_generator_params *p;
    apus_room room;
} trial;

/* Whether a batch fits: it is then the best so far.  A buffer that is larger than the device allows
 * any to be does not fit either. */
static apus_status attempt(const trial *t, uint32_t batch, apus_generator_fit *best, bool *good)
{
    const apus_net_dims *d = &t->model->dims;
    apus_generator_params p = *t->p;
    uint64_t needed, there;
    apus_status st;
    need n;

    p.batch = batch;
    st = count_like(&n, t->model, &p);
    const apus_memory_use use = n.use;
    *good = st == APUS_OK && apus_room_fits(&t->room, use.device_peak, use.host_peak);
    if (*good) {
        const bool shorter = p.max_length && p.max_length < t->model->max_positions;

        best->batch = batch;
        best->device = use.device_peak;
        best->host = use.host_peak;
        best->cache = batch * apus_cache_bytes(d->layers, d->kv_heads * d->head_dim,
                                               shorter ? p.max_length : t->model->max_positions,
                                               t->model->types.cache);
    } else if (st == APUS_ERR_MEMORY && !best->why[0]) {
        snprintf(best->why, sizeof(best->why), "%s", apus_error_text());
    } else if (st == APUS_OK && !best->why[0]) {
        const char *where =
            apus_room_short(&t->room, use.device_peak, use.host_peak, &needed, &there);

        snprintf(best->why, sizeof(best->why), "%.1f MiB are planned, %s has %.1f MiB",
                 (double)needed / 1048576, where, (double)there / 1048576);
    }
    return st == APUS_ERR_MEMORY ? APUS_OK : st;
}

apus_status apus_generator_plan(apus_generator_fit *out, const apus_model *model,
                                const apus_generator_params *p)
{
    const apus_memory_use now = apus_model_memory(model);
    trial t = { .model = model, .p = p };
    uint32_t much = p->batch ? p->batch : 1;
    bool good;

    /* What the model has already is counted again. */
    apus_room_of(&t.room, model,
                 now.host + (apus_gpu_caps(model->gpu)->integrated ? now.device : 0));
    *out = (apus_generator_fit) { .heap = t.room.heap };
    APUS_FORWARD(attempt(&t, much, out, &good));
    while (!good && much - out->batch > 1) {
        const uint32_t middle = out->batch + (much - out->batch) / 2;
        bool fits;

        APUS_FORWARD(attempt(&t, middle, out, &fits));
        much = fits ? much : middle;
    }
    return APUS_OK;
}

/* Whether the device has room for a generator beside a model that is there.  Where that and a cache
 * take less than half of its memory, nothing is counted: a start is not to take longer. */
static apus_status fits_beside(bool *fits, const apus_model *m, const apus_generator_params *p)
{
    const apus_net_dims *d = &m->dims;
    const apus_caps *caps = apus_gpu_caps(m->gpu);
    const bool shorter = p->max_length && p->max_length < m->max_positions;
    const uint64_t cache =
        apus_cache_bytes(d->layers, d->kv_heads * d->head_dim,
                         shorter ? p->max_length : m->max_positions, m->types.cache);
    need n;

    *fits = caps->integrated || apus_model_memory(m).device + cache < caps->heap / 2;
    if (*fits)
        return APUS_OK;
    const apus_status st = count_like(&n, m, p);
    *fits = st == APUS_OK && apus_room_fits(&n.room, n.use.device_peak, 0);
    return st;
}

apus_status apus_generator_model(apus_model **out, const char *path, const apus_model_params *model,
                                 const apus_generator_params *params)
{
    apus_model_params open = *model;
    apus_generator_params p = *params;
    bool fits = false;
    apus_status st = apus_model_open(out, path, &open);

    p.batch = 1;
    if (st == APUS_OK)
        st = fits_beside(&fits, *out, &p);
    if (fits)
        return APUS_OK;
    apus_model_close(out);
    if (st != APUS_OK && st != APUS_ERR_MEMORY)
        return st;
    APUS_FORWARD(fewest_layers(&open.host_layers, path, model, &p));
    return apus_model_open(out, path, &open);
}
