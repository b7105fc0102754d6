/* autodiff.c - the backward walk, with recomputation of regions.  See autodiff.h. */
#include "autodiff.h"

#include "base.h"
#include "op.h"

/* Clones of a region's forward: clone[id] replaces the tensor `id` while its region is walked. */
typedef struct walk {
    apus_graph *g;
    apus_tensor **clone;
    uint32_t n_forward_tensors;
} walk;

static apus_tensor *cloned(const walk *w, apus_tensor *t)
{
    return t && t->id < w->n_forward_tensors && w->clone[t->id] ? w->clone[t->id] : t;
}

/* A view of a clone: the chain of views is rebuilt over the clone of its root. */
static apus_tensor *clone_view(walk *w, apus_tensor *t)
{
    apus_tensor *base, *copy;

    if (!t || t->storage != APUS_STORE_VIEW || t->id >= w->n_forward_tensors)
        return cloned(w, t);
    if (w->clone[t->id])
        return w->clone[t->id];
    base = clone_view(w, t->base);
    if (base == t->base)
        return t;
    copy = apus_graph_with_rows(w->g, base, t->rows);
    if (!copy)
        return t;
    copy->n_dims = t->n_dims;
    memcpy(copy->dims, t->dims, sizeof(t->dims));
    copy->bytes = t->bytes;
    copy->at = t->at;
    copy->wants_grad = t->wants_grad;
    copy->grad = t->grad;
    w->clone[t->id] = copy;
    return copy;
}

static apus_node *clone_node(walk *w, const apus_node *n)
{
    apus_graph *g = w->g;
    apus_tensor *in[APUS_MAX_IN];
    apus_node *copy;

    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = clone_view(w, n->in[i]);
    copy = apus_graph_node(g, n->op, NULL, 0, in, n->n_in);
    if (!copy)
        return NULL;
    copy->attr = n->attr;
    copy->mutates = n->mutates;
    copy->region = 0;
    copy->name = n->name;
    for (uint32_t i = 0; i < n->n_out; i++) {
        const apus_tensor *o = n->out[i];
        apus_tensor *t = apus_node_output(g, copy, o->dtype, o->n_dims, o->dims, o->rows);
        if (!t)
            return NULL;
        t->wants_grad = o->wants_grad;
        t->grad = o->grad;
        w->clone[o->id] = t;
    }
    return copy;
}

/* Gradients that consumers left on views belong to the tensor they view. */
static void gather_views(walk *w, apus_node *n)
{
    apus_graph *g = w->g;

    for (uint32_t o = 0; o < n->n_out; o++) {
        apus_tensor *root = n->out[o];
        for (uint32_t i = 0; i < g->n_tensors; i++) {
            apus_tensor *v = g->tensors[i];
            if (v->storage != APUS_STORE_VIEW || v->base != root || !v->grad)
                continue;
            apus_add_grad(g, root, apus_graph_reshape(g, v->grad, root->n_dims, root->dims));
            v->grad = NULL;
        }
    }
}

static bool has_grad(const apus_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->grad)
            return true;
    return false;
}

static void back(walk *w, apus_node *n)
{
    apus_graph *g = w->g;

    gather_views(w, n);
    if (!has_grad(n))
        return;
    if (!n->op->backward) {
        apus_graph_fail(g, APUS_ERR_ARG, "%s has no gradient", n->op->name);
        return;
    }
    const char *prefix = g->prefix;
    g->prefix = n->name;
    n->op->backward(g, n);
    g->prefix = prefix;
}

/* Nodes [first, last] are one region: run its forward again, then walk the copies. */
static void back_region(walk *w, uint32_t first, uint32_t last)
{
    apus_graph *g = w->g;
    const uint32_t copies_at = g->n_nodes;

    for (uint32_t i = first; i <= last; i++) /* outputs used outside carry their gradients over */
        if (g->nodes[i] && !clone_node(w, g->nodes[i]))
            return;
    const uint32_t copies_end = g->n_nodes;
    for (uint32_t i = copies_end; i-- > copies_at;)
        back(w, g->nodes[i]);
}

apus_status apus_autodiff(apus_graph *g, const bool *recompute, uint32_t n_regions)
{
    const uint32_t n_forward = g->n_nodes;
    walk w = { .g = g, .n_forward_tensors = g->n_tensors };

    APUS_FORWARD(apus_graph_status(g));
    w.clone = apus_calloc(w.n_forward_tensors + 1, sizeof(*w.clone));
    if (!w.clone)
        return APUS_ERR_MEMORY;
    for (uint32_t i = n_forward; i-- > 0 && g->status == APUS_OK;) {
        const uint32_t region = g->nodes[i]->region;
        uint32_t first = i;

        if (!recompute || region == 0 || region >= n_regions || !recompute[region]) {
            back(&w, g->nodes[i]);
            continue;
        }
        while (first > 0 && g->nodes[first - 1]->region == region)
            first--;
        for (uint32_t k = first; k <= i; k++)
            gather_views(&w, g->nodes[k]);
        back_region(&w, first, i);
        i = first;
    }
    apus_free(w.clone);
    return apus_graph_status(g);
}
