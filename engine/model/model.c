/* model.c - opening a model: config, family, list of weights, and the forward graph. */
#include "model.h"

#include <math.h>

#include "embed.h"
#include "half.h"
#include "load.h"
#include "rms_norm.h"
#include "rng.h"
#include "rope.h"
#include "trace.h"

/* Projections of the first layers; and if there are such, a table of which only rows are read. */
static bool on_host(const apus_model *m, const char *name, uint32_t layer, bool target)
{
    const bool table = !m->config.tied && !strcmp(name, m->arch->embed);

    return m->host_layers && (layer == APUS_NO_LAYER ? table : target && layer < m->host_layers);
}

static apus_status add_weight(void *user, const char *name, uint32_t layer, uint32_t rows,
                              uint32_t cols, bool target)
{
    apus_model *m = user;
    apus_weight *w = &m->weights[m->n_weights];

    *w = (apus_weight) { .rows = rows,
                         .cols = cols,
                         .target = target,
                         .on_host = on_host(m, name, layer, target),
                         .name = apus_strdup(name) };
    if (!w->name)
        return APUS_ERR_MEMORY;
    m->n_params += (uint64_t)rows * (cols ? cols : 1);
    uint32_t at = (uint32_t)apus_hash(name, strlen(name), APUS_HASH_SEED) & (m->index_room - 1);
    while (m->index[at])
        at = (at + 1) & (m->index_room - 1);
    m->index[at] = ++m->n_weights;
    return APUS_OK;
}

static apus_status count_weight(void *user, const char *name, uint32_t layer, uint32_t rows,
                                uint32_t cols, bool target)
{
    uint32_t *n = user;

    (void)name, (void)layer, (void)rows, (void)cols, (void)target;
    ++*n;
    return APUS_OK;
}

static apus_status list_weights(apus_model *m)
{
    uint32_t n = 0;

    APUS_FORWARD(apus_arch_weights(m->arch, &m->dims, m->config.tied, count_weight, &n));
    for (m->index_room = 16; m->index_room < 2 * n; m->index_room *= 2)
        ;
    m->weights = apus_calloc(n, sizeof(*m->weights));
    m->index = apus_calloc(m->index_room, sizeof(*m->index));
    if (!m->weights || !m->index)
        return APUS_ERR_MEMORY;
    return apus_arch_weights(m->arch, &m->dims, m->config.tied, add_weight, m);
}

apus_weight *apus_model_weight(const apus_model *m, const char *name)
{
    uint32_t at = (uint32_t)apus_hash(name, strlen(name), APUS_HASH_SEED) & (m->index_room - 1);

    for (; m->index[at]; at = (at + 1) & (m->index_room - 1))
        if (!strcmp(m->weights[m->index[at] - 1].name, name))
            return &m->weights[m->index[at] - 1];
    return NULL;
}

/* cos and sin of every position and pair, times the attention factor, in f32 as transformers
 * does. */
static apus_status make_rope(apus_model *m)
{
    apus_status st = APUS_OK;
    const uint32_t pairs = m->config.head_dim / 2;
    const uint64_t bytes = (uint64_t)m->max_positions * pairs * 2 * sizeof(float);
    float *inv_freq = apus_calloc(pairs, sizeof(*inv_freq));
    float *table = apus_calloc(bytes / sizeof(*table), sizeof(*table));
    float factor = 1;

    if (!inv_freq || !table)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(apus_buffer_create(m->gpu, &m->rope, bytes, APUS_MEMORY_DEVICE, "rope table"));
    if (apus_gpu_counts(m->gpu))
        goto fail;
    apus_rope_frequencies(&m->config, inv_freq, &factor);
    for (uint32_t p = 0; p < m->max_positions; p++)
        for (uint32_t i = 0; i < pairs; i++) {
            const float angle = (float)p * inv_freq[i];
            table[((size_t)p * pairs + i) * 2] = cosf(angle) * factor;
            table[((size_t)p * pairs + i) * 2 + 1] = sinf(angle) * factor;
        }
    APUS_TRY(apus_buffer_write(m->gpu, &m->rope, 0, table, bytes));
fail:
    apus_free(inv_freq);
    apus_free(table);
    return st;
}

static bool counts(const apus_model_params *params)
{
    return params->count_only || params->device_class;
}

static apus_status set_types(apus_model *m, const apus_model_params *params)
{
    const apus_model_types *t = &m->types;

    APUS_FORWARD(apus_types_choose(&m->types, params->torch_dtype, m->config.dtype, &m->dims,
                                   m->gpu ? apus_gpu_caps(m->gpu) : NULL));
    if (t->act == APUS_F32 && strcmp(t->torch_dtype, "float32") && !counts(params))
        apus_log(APUS_LOG_WARN,
                 "activations are kept in float32: a size of the model is no multiple of 4");
    return APUS_OK;
}

static apus_status open_numbers(apus_model *m, const char *path, const apus_model_params *params)
{
    const apus_config *c = &m->config;
    const char *type;
    apus_dtype named;

    if (params->torch_dtype)
        APUS_FORWARD(apus_torch_dtype_read(&named, params->torch_dtype));
    APUS_FORWARD(params->device_class ? apus_checkpoint_open_bare(&m->checkpoint, path)
                                      : apus_checkpoint_open(&m->checkpoint, path));
    /* The family first: one that is not known may have other keys than read_config wants. */
    type = apus_json_string(apus_checkpoint_config(m->checkpoint), "model_type", NULL);
    if (type)
        APUS_FORWARD(apus_arch_find(&m->arch, type));
    APUS_FORWARD(apus_checkpoint_read_config(m->checkpoint, &m->config));
    if (strcmp(c->activation, "silu"))
        return apus_fail(APUS_ERR_SUPPORT, "%s: activation \"%s\" is not supported yet", path,
                         c->activation);
    m->dims =
        (apus_net_dims) { c->hidden, c->layers, c->heads,   c->kv_heads,       c->head_dim,
                          c->ffn,    c->vocab,  c->rms_eps, c->sliding_window, c->window_from };
    m->host_layers = params->train_all                      ? 0
                     : params->host_layers < m->dims.layers ? params->host_layers
                                                            : m->dims.layers;
    m->max_positions = params->max_positions ? params->max_positions
                       : c->max_pos < 8192   ? c->max_pos
                                             : 8192;
    if (m->max_positions > c->max_pos && !counts(params))
        apus_log(APUS_LOG_WARN, "%u positions are more than the model was made for (%u)",
                 m->max_positions, c->max_pos);
    return list_weights(m);
}

/* The format that matrices are counted in; without files the config's, or bf16. */
static apus_status choose_formats(apus_model *m, const apus_model_params *params)
{
    const apus_dtype stated = m->config.dtype;
    const char *as = params->count_as;

    m->count_as = APUS_DTYPE_COUNT;
    m->bare = params->device_class && apus_checkpoint_count(m->checkpoint) == 0;
    if (as) {
        if (apus_dtype_by_name(as, &m->count_as) && apus_dtype_is_weight(m->count_as))
            return APUS_OK;
        return apus_fail(APUS_ERR_ARG, "no weights have the number format '%s'", as);
    }
    if (m->bare)
        m->count_as = stated == APUS_F32 || stated == APUS_F16 ? stated : APUS_BF16;
    return APUS_OK;
}

apus_status apus_model_open(apus_model **out, const char *path, const apus_model_params *params)
{
    apus_status st;
    apus_model *m = apus_alloc(sizeof(*m));
    const uint64_t began = apus_trace_begin();

    *out = NULL;
    if (!m)
        return APUS_ERR_MEMORY;
    m->train_all = params->train_all;
    APUS_TRY(open_numbers(m, path, params));
    APUS_TRY(choose_formats(m, params));
    if (!params->no_device) {
        APUS_TRY(
            apus_gpu_create(&m->gpu, &(apus_gpu_params) { .device = params->device,
                                                          .count_only = params->count_only,
                                                          .device_class = params->device_class,
                                                          .class_memory = params->class_memory }));
        APUS_TRY(apus_exec_create(&m->exec, m->gpu));
    }
    APUS_TRY(set_types(m, params));
    if (m->gpu) {
        APUS_TRY(make_rope(m));
        APUS_TRY(apus_model_load(m));
    }
    apus_trace_end(began, "open model", path, "bytes", m->weight_bytes);
    *out = m;
    return APUS_OK;

fail:
    apus_model_close(&m);
    return st;
}

void apus_model_close(apus_model **model)
{
    apus_model *m = *model;

    if (!m)
        return;
    if (m->gpu) {
        apus_exec_destroy(&m->exec);
        for (uint32_t i = 0; i < m->n_slabs; i++)
            apus_buffer_destroy(m->gpu, &m->slabs[i]);
        apus_buffer_destroy(m->gpu, &m->copy);
        apus_buffer_destroy(m->gpu, &m->rope);
        apus_gpu_destroy(&m->gpu);
    }
    for (uint32_t i = 0; i < m->n_weights; i++)
        apus_free(m->weights[i].name);
    apus_free(m->weights);
    apus_free(m->index);
    apus_free(m->slabs);
    apus_checkpoint_close(&m->checkpoint);
    apus_free(m);
    *model = NULL;
}

void apus_model_describe(const apus_model *m, apus_model_about *out)
{
    *out = (apus_model_about) {
        .name = apus_checkpoint_name(m->checkpoint),
        .path = apus_checkpoint_path(m->checkpoint),
        .family = m->arch->name,
        .model_type = m->config.model_type,
        .device = m->gpu ? apus_gpu_caps(m->gpu)->name : "",
        .n_params = m->n_params,
        .weight_bytes = m->weight_bytes,
        .host_weight_bytes = m->host_bytes,
        .layers = m->dims.layers,
        .hidden = m->dims.hidden,
        .heads = m->dims.heads,
        .kv_heads = m->dims.kv_heads,
        .head_dim = m->dims.head_dim,
        .ffn = m->dims.ffn,
        .vocab = m->dims.vocab,
        .max_positions = m->max_positions,
        .host_layers = m->host_layers,
        .tied = m->config.tied,
    };
}

apus_memory_use apus_model_memory(const apus_model *m)
{
    if (!m->gpu)
        return (apus_memory_use) { 0 };
    const apus_gpu_usage u = apus_gpu_memory(m->gpu);
    return (apus_memory_use) { u.device, u.device_peak, u.host, u.host_peak };
}

apus_tensor *apus_model_tensor(void *user, apus_graph *g, const char *name)
{
    apus_model_net *net = user;
    const apus_weight *w = apus_model_weight(net->model, name);

    if (!w)
        return apus_graph_fail(g, APUS_ERR_MISSING, "the model has no weight %s", name);
    apus_tensor **t = &net->made[w - net->model->weights];
    if (!*t) {
        const uint32_t dims[2] = { w->rows, w->cols }, n_dims = w->cols ? 2 : 1;
        *t = apus_graph_bound(g, w->name, w->copy ? net->model->types.act : w->dtype, n_dims, dims,
                              w->copy ? w->copy : w->address);
        if (*t)
            (*t)->place.host = w->on_host;
        if (*t && w->grad) {
            (*t)->wants_grad = true;
            (*t)->grad_into = apus_graph_bound(g, w->name, APUS_F32, n_dims, dims, w->grad);
        }
    }
    return *t;
}

const char *apus_model_head_name(const apus_model *m)
{
    return m->config.tied ? m->arch->embed : m->arch->head;
}

apus_tensor *apus_model_forward(apus_net *net, const apus_model *m, apus_tensor *tokens,
                                const apus_embed_order *order,
                                void (*set_layer)(void *user, apus_net *net, uint32_t layer),
                                void *user)
{
    apus_graph *g = net->g;

    g->prefix = m->arch->embed;
    net->x = apus_embed(g, tokens, net->weight(net->weight_user, g, m->arch->embed), order,
                        m->types.act);
    for (uint32_t i = 0; i < m->dims.layers; i++) {
        net->prefix = apus_arena_format(&g->arena, m->arch->layer_prefix, i);
        if (!net->prefix)
            return apus_graph_fail(g, APUS_ERR_MEMORY, "out of host memory building a graph");
        if (set_layer)
            set_layer(user, net, i);
        apus_net_layer(net, m->arch->layer, i);
    }
    g->prefix = m->arch->norm;
    return apus_rms_norm(g, net->x, net->weight(net->weight_user, g, m->arch->norm),
                         m->dims.rms_eps);
}
