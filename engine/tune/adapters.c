/* adapters.c - adapters on the device: modules, slots, the table, the graph hook.  See
 * adapters.h. */
#include "adapters.h"

#include <math.h>

#include "args/lora.h"
#include "adapters_internal.h"
#include "lora.h"
#include "rng.h"

static char *module_name(const char *weight)
{
    const size_t n = strlen(weight), tail = strlen(".weight");

    return apus_strndup(weight, n > tail ? n - tail : n);
}

static apus_status list_modules(apus_adapters *ad)
{
    const apus_model *m = ad->model;

    ad->modules = apus_calloc(m->n_weights, sizeof(*ad->modules));
    if (!ad->modules)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        if (!m->weights[i].target)
            continue;
        apus_lora_module *mod = &ad->modules[ad->n_modules];
        mod->weight = &m->weights[i];
        mod->name = module_name(m->weights[i].name);
        if (!mod->name)
            return APUS_ERR_MEMORY;
        ad->n_modules++;
    }
    return APUS_OK;
}

apus_status apus_adapters_create(apus_adapters **out, apus_model *model, uint32_t n_slots,
                                 uint32_t max_rank)
{
    apus_status st;
    apus_adapters *ad = apus_alloc(sizeof(*ad));
    void *zeros = NULL;

    *out = NULL;
    if (!ad)
        return APUS_ERR_MEMORY;
    ad->model = model;
    ad->n_slots = n_slots;
    ad->max_rank = max_rank;
    APUS_TRY(list_modules(ad));
    ad->slots = apus_calloc(n_slots, sizeof(*ad->slots));
    const uint64_t bytes = (uint64_t)ad->n_modules * n_slots * sizeof(struct apus_lora_entry);
    zeros = apus_alloc(bytes);
    if (!ad->slots || !zeros)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(
        apus_buffer_create(model->gpu, &ad->table, bytes, APUS_MEMORY_DEVICE, "adapter table"));
    APUS_TRY(apus_buffer_write(model->gpu, &ad->table, 0, zeros, bytes));
    *out = ad;
    ad = NULL;
fail:
    apus_free(zeros);
    apus_adapters_destroy(&ad);
    return st;
}

void apus_adapters_destroy(apus_adapters **adapters)
{
    apus_adapters *ad = *adapters;

    if (!ad)
        return;
    for (uint32_t i = 0; ad->slots && i < ad->n_slots; i++) {
        apus_buffer_destroy(ad->model->gpu, &ad->slots[i].slab);
        apus_free(ad->slots[i].places);
    }
    for (uint32_t i = 0; i < ad->n_modules; i++)
        apus_free(ad->modules[i].name);
    apus_buffer_destroy(ad->model->gpu, &ad->table);
    apus_free(ad->modules);
    apus_free(ad->slots);
    apus_free(ad);
    *adapters = NULL;
}

apus_status apusi_slot_begin(apus_adapters *ad, uint32_t slot)
{
    apus_lora_slot *s = &ad->slots[slot];

    apus_buffer_destroy(ad->model->gpu, &s->slab);
    apus_free(s->places);
    *s = (apus_lora_slot) { .places = apus_calloc(ad->n_modules, sizeof(*s->places)) };
    return s->places ? APUS_OK : APUS_ERR_MEMORY;
}

void apusi_slot_place(apus_adapters *ad, uint32_t slot, uint32_t module, uint32_t rank)
{
    apus_lora_slot *s = &ad->slots[slot];
    const apus_weight *w = ad->modules[module].weight;
    apus_lora_place *p = &s->places[module];

    p->rank = rank;
    p->a = s->n;
    s->n += apus_round_up((uint64_t)rank * w->cols, 64);
    p->b = s->n;
    s->n += apus_round_up((uint64_t)rank * w->rows, 64);
    s->n_params += (uint64_t)rank * (w->cols + w->rows);
}

static apus_status write_entries(apus_adapters *ad, uint32_t slot)
{
    apus_lora_slot *s = &ad->slots[slot];

    s->scale = (float)(s->rslora ? s->alpha / sqrt((double)s->rank) : s->alpha / s->rank);
    for (uint32_t i = 0; i < ad->n_modules; i++) {
        const apus_lora_place *p = &s->places[i];
        struct apus_lora_entry e = { 0 };
        if (p->rank)
            e = (struct apus_lora_entry) { .a = s->slab.address + 4 * p->a,
                                           .b = s->slab.address + 4 * p->b,
                                           .scale = s->scale,
                                           .rank = p->rank };
        APUS_FORWARD(apus_buffer_write(ad->model->gpu, &ad->table,
                                       ((uint64_t)i * ad->n_slots + slot) * sizeof(e), &e,
                                       sizeof(e)));
    }
    return APUS_OK;
}

apus_status apusi_slot_end(apus_adapters *ad, uint32_t slot, const float *values)
{
    apus_lora_slot *s = &ad->slots[slot];

    APUS_FORWARD(
        apus_buffer_create(ad->model->gpu, &s->slab, s->n * 4, APUS_MEMORY_DEVICE, "adapter"));
    APUS_FORWARD(apus_buffer_write(ad->model->gpu, &s->slab, 0, values, s->n * 4));
    return write_entries(ad, slot);
}

apus_status apus_adapters_set_rslora(apus_adapters *ad, uint32_t slot, bool rslora)
{
    ad->slots[slot].rslora = rslora;
    return write_entries(ad, slot);
}

/* Is "model.layers.0.self_attn.q_proj" a target by its last part or its full name? */
static bool is_target(const apus_lora_config *c, const char *module)
{
    const char *last = strrchr(module, '.');

    for (size_t i = 0; i < c->n_targets; i++)
        if (!strcmp(c->targets[i], module) || (last && !strcmp(c->targets[i], last + 1)))
            return true;
    return c->n_targets == 0;
}

static apus_status check_targets(const apus_adapters *ad, const apus_lora_config *c)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        const apus_lora_config one = { .targets = &c->targets[i], .n_targets = 1 };
        bool found = false;
        for (uint32_t k = 0; k < ad->n_modules && !found; k++)
            found = is_target(&one, ad->modules[k].name);
        if (!found)
            return apus_fail(APUS_ERR_ARG,
                             "no module of the model is called %s; projections are q_proj, "
                             "k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or all-linear",
                             c->targets[i]);
    }
    return APUS_OK;
}

/* Uniform in +-1/sqrt(K): kaiming_uniform with a = sqrt(5), as PEFT starts a. */
static void fill_a(float *a, uint64_t n, uint32_t k, const char *module, uint32_t seed)
{
    const uint64_t name = apus_hash(module, strlen(module), APUS_HASH_SEED);
    const uint32_t key[2] = { seed, (uint32_t)name };
    const float bound = 1.0f / sqrtf((float)k);

    for (uint64_t i = 0; i < n; i += 4) {
        const uint32_t counter[4] = { (uint32_t)(i / 4), (uint32_t)(i >> 34),
                                      (uint32_t)(name >> 32), 0x4c6f5241 };
        uint32_t out[4];
        apus_philox(key, counter, out);
        for (uint64_t j = i; j < i + 4 && j < n; j++)
            a[j] = (apus_uniform_f32(out[j - i]) * 2 - 1) * bound;
    }
}

apus_status apus_adapters_new(apus_adapters *ad, uint32_t slot, const apus_lora_config *c)
{
    apus_status st;
    apus_lora_slot *s = &ad->slots[slot];
    float *values = NULL;

    if (c->rank < 1 || c->rank > ad->max_rank)
        return apus_fail(APUS_ERR_ARG, "lora_rank is %u; it must be in [1, %u]", c->rank,
                         ad->max_rank);
    APUS_TRY(check_targets(ad, c));
    APUS_TRY(apusi_slot_begin(ad, slot));
    s->rank = c->rank;
    s->alpha = c->alpha;
    s->dropout = c->dropout;
    s->rslora = c->rslora;
    for (uint32_t i = 0; i < ad->n_modules; i++)
        if (is_target(c, ad->modules[i].name))
            apusi_slot_place(ad, slot, i, c->rank);
    values = apus_calloc(s->n, sizeof(*values));
    if (!values)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < ad->n_modules && !apus_gpu_counts(ad->model->gpu); i++)
        if (s->places[i].rank)
            fill_a(values + s->places[i].a, (uint64_t)c->rank * ad->modules[i].weight->cols,
                   ad->modules[i].weight->cols, ad->modules[i].name, c->seed);
    APUS_TRY(apusi_slot_end(ad, slot, values));
fail:
    apus_free(values);
    return st;
}

/* ---- the hook ---- */

static void begin(void *user, apus_graph *g, apus_tensor *slot, apus_tensor *row_id,
                  apus_tensor *pos)
{
    apus_adapters *ad = user;
    const uint32_t words = (uint32_t)(ad->table.bytes / 4);

    ad->index = slot;
    ad->row_id = row_id;
    ad->pos = pos;
    ad->table_tensor = apus_graph_bound(g, "adapter table", APUS_U32, 1, &words, ad->table.address);
}

/* The matrix of slot 0 as a trained tensor. */
static apus_tensor *trained(apus_adapters *ad, apus_graph *g, const char *name, uint64_t at,
                            uint32_t rows, uint32_t cols)
{
    const uint32_t dims[2] = { rows, cols };
    apus_tensor *t =
        apus_graph_bound(g, name, APUS_F32, 2, dims, ad->slots[0].slab.address + 4 * at);

    if (t) {
        t->wants_grad = true;
        t->grad_into = apus_graph_bound(g, name, APUS_F32, 2, dims, ad->grad + 4 * at);
    }
    return t;
}

static apus_tensor *adapt(void *user, apus_graph *g, const char *module, apus_tensor *x,
                          apus_tensor *y)
{
    apus_adapters *ad = user;
    uint32_t i = 0, rank = 0;

    while (i < ad->n_modules && strcmp(ad->modules[i].name, module))
        i++;
    if (i == ad->n_modules)
        return y;
    for (uint32_t s = 0; s < ad->n_slots; s++)
        if (ad->slots[s].places && ad->slots[s].places[i].rank > rank)
            rank = ad->slots[s].places[i].rank;
    if (ad->n_slots > 1 || !ad->grad)
        rank = rank ? ad->max_rank : 0; /* slots may be filled later */
    if (!rank)
        return y;
    apus_lora_params p = { .table = ad->table_tensor,
                           .index = ad->index,
                           .module = i,
                           .slots = ad->n_slots,
                           .rank = rank };
    if (ad->grad) {
        const apus_lora_slot *s = &ad->slots[0];
        const apus_weight *w = ad->modules[i].weight;
        p.a = trained(ad, g, module, s->places[i].a, rank, w->cols);
        p.b = trained(ad, g, module, s->places[i].b, w->rows, rank);
        p.scale = s->scale;
        p.p = ad->row_id ? (float)s->dropout : 0;
        p.row_id = ad->row_id;
        p.pos = ad->pos;
        p.name = (uint32_t)apus_hash(module, strlen(module), APUS_HASH_SEED);
    }
    return apus_lora(g, x, y, &p);
}

apus_adapt_hook apus_adapters_hook(apus_adapters *ad)
{
    return (apus_adapt_hook) { .user = ad, .begin = begin, .adapt = adapt };
}
