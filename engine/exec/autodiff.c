/* autodiff.c - the backward walk, with recomputation of regions.  See autodiff.h. */
#include "autodiff.h"

#include "base.h"
#include "op.h"

/* Marks copies of forward nodes (in their `region`) while the walk is on. */
#define COPY UINT32_MAX

/* Copies of a region's forward: clone[id] replaces the tensor `id` while its region is walked.
 * again[id] is the second result that stands for a cheap first one, `id`, in gradient rules. */
typedef struct walk {
    apus_graph *g;
    apus_tensor **clone, **again;
    size_t n_again, again_room;
    uint32_t n_forward_tensors;
} walk;

/* View `v` of another tensor than its own base; it shares the gradient so far. */
static apus_tensor *view_over(apus_graph *g, apus_tensor *base, const apus_tensor *v)
{
    apus_tensor *copy = apus_graph_with_rows(g, base, v->rows);

    if (!copy)
        return NULL;
    copy->n_dims = v->n_dims;
    memcpy(copy->dims, v->dims, sizeof(v->dims));
    copy->bytes = v->bytes;
    copy->at = v->at;
    copy->wants_grad = v->wants_grad;
    copy->grad = v->grad;
    return copy;
}

/* What stands for `t` in the region's second forward; the views of a copy are made here. */
static apus_tensor *cloned(walk *w, apus_tensor *t)
{
    if (!t || t->id >= w->n_forward_tensors)
        return t;
    if (w->clone[t->id] || t->storage != APUS_STORE_VIEW || cloned(w, t->base) == t->base)
        return w->clone[t->id] ? w->clone[t->id] : t;
    w->clone[t->id] = view_over(w->g, cloned(w, t->base), t);
    return w->clone[t->id];
}

/* A node like n with other inputs.  Its outputs share the gradients that n's have so far. */
static apus_node *copy_node(apus_graph *g, const apus_node *n, apus_tensor *const *in)
{
    apus_node *copy = apus_graph_node(g, n->op, NULL, 0, in, n->n_in);

    if (!copy)
        return NULL;
    copy->attr = n->attr;
    copy->mutates = n->mutates;
    copy->region = COPY;
    copy->name = n->name;
    for (uint32_t i = 0; i < n->n_out; i++) {
        const apus_tensor *o = n->out[i];
        apus_tensor *t = apus_node_output(g, copy, o->dtype, o->n_dims, o->dims, o->rows);
        if (!t)
            return NULL;
        t->wants_grad = o->wants_grad;
        t->grad = o->grad;
    }
    return copy;
}

/* Gradients that consumers left on views belong to the tensor they view. */
static void gather_views(apus_graph *g, apus_tensor *root)
{
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        apus_tensor *v = g->tensors[i];
        if (v->storage != APUS_STORE_VIEW || v->base != root || !v->grad)
            continue;
        apus_add_grad(g, root, apus_graph_reshape(g, v->grad, root->n_dims, root->dims));
        v->grad = NULL;
    }
}

static bool has_grad(apus_graph *g, const apus_node *n)
{
    bool any = false;

    for (uint32_t i = 0; i < n->n_out; i++) {
        gather_views(g, n->out[i]);
        any = any || n->out[i]->grad;
    }
    return any;
}

static uint32_t index_of(const apus_node *n, const apus_tensor *out)
{
    uint32_t i = 0;

    while (n->out[i] != out)
        i++;
    return i;
}

static apus_tensor *remember(walk *w, uint32_t id, apus_tensor *fresh)
{
    const size_t more = id >= w->n_again ? id + 1 - w->n_again : 0;

    if (apus_grow(&w->again, w->n_again, more, &w->again_room, sizeof(*w->again)) != APUS_OK)
        return apus_graph_fail(w->g, APUS_ERR_MEMORY, "%s", apus_error_text());
    memset(w->again + w->n_again, 0, more * sizeof(*w->again));
    w->n_again += more;
    w->again[id] = fresh;
    return fresh;
}

/* What stands for the input `in` of a gradient rule: itself, or a second result of its producer
 * where the operator says that this is cheaper to make again than to keep; made from what the
 * first was made of, by the same rule.  One serves all readers.  NULL: the graph is poisoned. */
static apus_tensor *rematerialized(walk *w, apus_tensor *in)
{
    if (!in || !in->producer || !in->producer->op->rematerialize)
        return in;
    if (in->id < w->n_again && w->again[in->id])
        return w->again[in->id];
    if (in->storage == APUS_STORE_VIEW) {
        apus_tensor *base = rematerialized(w, in->base);
        return base ? remember(w, in->id, view_over(w->g, base, in)) : NULL;
    }
    apus_tensor *made_of[APUS_MAX_IN];
    const apus_node *n = in->producer;
    for (uint32_t i = 0; i < n->n_in; i++)
        made_of[i] = rematerialized(w, n->in[i]);
    const apus_node *copy = w->g->status == APUS_OK ? copy_node(w->g, n, made_of) : NULL;
    return copy ? remember(w, in->id, copy->out[index_of(n, in)]) : NULL;
}

/* The gradient rule of n.  It sees second results in place of cheap ones; the gradients that it
 * leaves there are the first one's. */
static void back(walk *w, apus_node *n)
{
    apus_graph *g = w->g;
    apus_node seen = *n;

    if (!has_grad(g, n))
        return;
    if (!n->op->backward) {
        apus_graph_fail(g, APUS_ERR_ARG, "%s has no gradient", n->op->name);
        return;
    }
    for (uint32_t i = 0; i < n->n_in; i++) {
        seen.in[i] = rematerialized(w, n->in[i]);
        if (seen.in[i] && seen.in[i] != n->in[i])
            seen.in[i]->grad = n->in[i]->grad;
    }
    if (g->status != APUS_OK)
        return;
    const char *prefix = g->prefix;
    g->prefix = n->name;
    n->op->backward(g, &seen);
    g->prefix = prefix;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (seen.in[i] != n->in[i])
            n->in[i]->grad = seen.in[i]->grad;
}

/* Run the forward of nodes [first, last] again. */
static bool copy_region(walk *w, uint32_t first, uint32_t last)
{
    for (uint32_t i = first; i <= last; i++) {
        const apus_node *n = w->g->nodes[i];
        apus_tensor *in[APUS_MAX_IN];
        for (uint32_t k = 0; k < n->n_in; k++)
            in[k] = cloned(w, n->in[k]);
        const apus_node *copy = copy_node(w->g, n, in);
        if (!copy)
            return false;
        for (uint32_t k = 0; k < n->n_out; k++)
            w->clone[n->out[k]->id] = copy->out[k];
    }
    return true;
}

/* Nodes [first, last] are one region: run its forward again, then walk the copies.  Outputs that
 * are used outside carry their gradients over. */
static void back_region(walk *w, uint32_t first, uint32_t last)
{
    apus_graph *g = w->g;
    bool any = false;

    for (uint32_t i = first; i <= last; i++)
        any = has_grad(g, g->nodes[i]) || any;
    const uint32_t copies_at = g->n_nodes;
    if (!any || !copy_region(w, first, last))
        return;
    const uint32_t copies_end = g->n_nodes;
    for (uint32_t i = copies_end; i-- > copies_at;)
        back(w, g->nodes[i]);
}

/* Nodes [first, second - 1] and [second, last] are two regions, and what the first hands to the
 * second was not kept: run the first to have it, walk the second, which leaves its gradient at the
 * copies, and then the first as any other. */
static void back_two(walk *w, uint32_t first, uint32_t second, uint32_t last)
{
    apus_graph *g = w->g;

    if (!copy_region(w, first, second - 1))
        return;
    back_region(w, second, last);
    for (uint32_t i = first; i < second; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_out; k++) {
            apus_tensor *copy = w->clone[g->nodes[i]->out[k]->id];
            gather_views(g, copy);
            g->nodes[i]->out[k]->grad = copy->grad;
        }
    for (uint32_t i = 0; i < w->n_forward_tensors; i++) {
        const apus_node *by = apus_tensor_root(g->tensors[i], NULL)->producer;
        if (by && by->id >= first && by->id < second)
            w->clone[i] = NULL;
    }
    back_region(w, first, second - 1);
}

static void count_uses(const apus_node *n, uint32_t *uses, uint32_t by)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i])
            uses[apus_tensor_root(n->in[i], NULL)->id] += by;
}

/* Take out copies whose results no gradient rule has asked for.  uses[id] counts readers. */
static void sweep(apus_graph *g, uint32_t *uses)
{
    for (uint32_t i = 0; i < g->n_nodes; i++)
        count_uses(g->nodes[i], uses, 1);
    for (uint32_t i = g->n_nodes; i-- > 0;) {
        apus_node *n = g->nodes[i];
        bool used = n->region != COPY || n->mutates;
        for (uint32_t k = 0; k < n->n_out; k++)
            used = used || uses[n->out[k]->id];
        if (used)
            continue;
        count_uses(n, uses, UINT32_MAX); /* one less */
        g->nodes[i] = NULL;
    }
    apus_graph_compact(g);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i]->region == COPY)
            g->nodes[i]->region = 0;
}

/* Views of parameters get the parameter's gradient buffer, in their own shape. */
static void view_buffers(apus_graph *g)
{
    const uint32_t n = g->n_tensors;

    for (uint32_t i = 0; i < n; i++) {
        apus_tensor *v = g->tensors[i];
        if (v->storage == APUS_STORE_VIEW && v->wants_grad && !v->grad_into && v->base->grad_into)
            v->grad_into = apus_graph_reshape(g, v->base->grad_into, v->n_dims, v->dims);
    }
}

/* The first node of the region that node `last` is of. */
static uint32_t begin_of(const apus_graph *g, uint32_t last)
{
    uint32_t first = last;

    while (first > 0 && g->nodes[first - 1]->region == g->nodes[last]->region)
        first--;
    return first;
}

static void walk_back(walk *w, const apus_region *recompute, uint32_t n_regions)
{
    apus_graph *g = w->g;

    for (uint32_t i = g->n_nodes; i-- > 0 && g->status == APUS_OK;) {
        const uint32_t region = g->nodes[i]->region;

        if (!recompute || region == 0 || region >= n_regions || !recompute[region]) {
            back(w, g->nodes[i]);
            continue;
        }
        const uint32_t begin = begin_of(g, i), last = i;
        const uint32_t before = begin ? g->nodes[begin - 1]->region : 0;
        i = begin;
        if (before > 0 && before < n_regions && recompute[before] == APUS_REGION_TWICE) {
            i = begin_of(g, begin - 1);
            back_two(w, i, begin, last);
        } else {
            back_region(w, begin, last);
        }
    }
    for (uint32_t i = 0; i < w->n_forward_tensors && g->status == APUS_OK; i++)
        if (g->tensors[i]->storage == APUS_STORE_BOUND && g->tensors[i]->wants_grad)
            gather_views(g, g->tensors[i]);
}

apus_status apus_autodiff(apus_graph *g, const apus_region *recompute, uint32_t n_regions)
{
    apus_status st = APUS_OK;
    walk w = { .g = g };
    uint32_t *uses = NULL;

    APUS_FORWARD(apus_graph_status(g));
    view_buffers(g);
    w.n_forward_tensors = g->n_tensors;
    w.clone = apus_calloc(w.n_forward_tensors + 1, sizeof(*w.clone));
    if (!w.clone)
        APUS_TRY(APUS_ERR_MEMORY);
    walk_back(&w, recompute, n_regions);
    APUS_TRY(apus_graph_status(g));
    uses = apus_calloc(g->n_tensors + 1, sizeof(*uses));
    if (!uses)
        APUS_TRY(APUS_ERR_MEMORY);
    sweep(g, uses);

fail:
    apus_free(w.clone);
    apus_free(w.again);
    apus_free(uses);
    return st;
}
