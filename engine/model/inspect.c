/* inspect.c - a model as a text for people: formula, numbers, tensors and formats, memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache.h"
#include "model.h"
#include "str.h"

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576;
}

/* How many layers have a tensor like this one but for the layer: same name, format and shape; 0 for
 * a tensor that is of no layer.  *first: no earlier layer has. */
static uint32_t layers_alike(const apus_model *m, const apus_file_tensor *t, bool *first)
{
    const char *layers = strstr(t->name, "layers.");
    const char *rest = layers ? strchr(layers + 7, '.') : NULL;
    const unsigned long mine = layers ? strtoul(layers + 7, NULL, 10) : 0;
    uint32_t n = 0;

    *first = true;
    for (uint32_t i = 0; rest && i < m->dims.layers; i++) {
        char name[256];
        snprintf(name, sizeof(name), "%.*s%u%s", (int)(layers + 7 - t->name), t->name, i, rest);
        const apus_file_tensor *u = apus_checkpoint_find(m->checkpoint, name);
        if (!u || strcmp(t->format, u->format) || t->n_dims != u->n_dims ||
            memcmp(t->dims, u->dims, t->n_dims * sizeof(*t->dims)))
            continue;
        *first &= i >= mine;
        n++;
    }
    return n;
}

/* Tensors of one format and shape together, in the order of first appearance. */
static void list_tensors(const apus_model *m, apus_str *out)
{
    const size_t n = apus_checkpoint_count(m->checkpoint);
    uint64_t total = 0;

    apus_str_addf(out, "tensors  %zu\n", n);
    for (size_t i = 0; i < n; i++) {
        const apus_file_tensor *t = apus_checkpoint_at(m->checkpoint, i);
        bool first;
        const uint32_t layers = layers_alike(m, t, &first);
        total += t->bytes;
        if (!first)
            continue;
        apus_str_addf(out, "  %-52s %-6s", t->name, t->format);
        for (uint32_t d = 0; d < t->n_dims; d++)
            apus_str_addf(out, "%s%" PRIu64, d ? " x " : " ", t->dims[d]);
        if (layers)
            apus_str_addf(out, "   (%u layer%s)", layers, layers > 1 ? "s" : "");
        apus_str_add(out, "\n");
    }
    apus_str_addf(out, "  in files: %.1f MiB\n", mib(total));
}

apus_status apus_model_inspect(const apus_model *m, uint32_t context, char **text)
{
    const apus_net_dims *d = &m->dims;
    apus_str out = { 0 };
    char *formula = apus_arch_formula(m->arch);
    uint64_t weights = 0;

    *text = NULL;
    if (!context)
        context = m->config.max_pos;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const apus_weight *w = &m->weights[i];
        const apus_file_tensor *t = apus_checkpoint_find(m->checkpoint, w->name);
        uint64_t bytes = 4 * (uint64_t)w->rows;
        if (t && w->cols && t->dtype < APUS_DTYPE_COUNT)
            apus_tensor_bytes(t->dtype, 2, (uint32_t[]) { w->rows, w->cols }, &bytes);
        weights += bytes;
    }
    const uint64_t cache =
        apus_cache_bytes(d->layers, d->kv_heads * d->head_dim, context, m->types.cache);
    apus_str_addf(&out, "model    %s\npath     %s\nfamily   %s (model_type %s)\n",
                  apus_checkpoint_name(m->checkpoint), apus_checkpoint_path(m->checkpoint),
                  m->arch->name, m->config.model_type);
    apus_str_addf(&out, "layer    %s\n", formula ? formula : "");
    apus_str_addf(
        &out,
        "shape    %u layers, hidden %u, %u heads of %u, %u of keys and values, feed-forward %u, "
        "vocabulary %u, %u positions%s\n",
        d->layers, d->hidden, d->heads, d->head_dim, d->kv_heads, d->ffn, d->vocab,
        m->config.max_pos, m->config.tied ? ", tied head" : "");
    apus_str_addf(&out, "params   %" PRIu64 "\n", m->n_params);
    list_tensors(m, &out);
    apus_str_addf(&out, "memory   weights %.1f MiB, cache of %u tokens (%s) %.1f MiB\n",
                  mib(weights), context, apus_dtype_of(m->types.cache)->name, mib(cache));
    apus_free(formula);
    if (out.failed || !out.data) {
        apus_str_release(&out);
        return APUS_ERR_MEMORY;
    }
    *text = strdup(out.data); /* the caller frees with free() */
    apus_str_release(&out);
    return *text ? APUS_OK : APUS_ERR_MEMORY;
}
