/* fuse.c - patterns of nodes replaced by fused operators.  See fuse.h. */
#include "fuse.h"

#include "lora.h"
#include "matmul.h"
#include "matmul_batch.h"
#include "matmul_group.h"
#include "op.h"
#include "rms_norm.h"
#include "rope.h"
#include "swiglu.h"

#define SMALL 64  /* rows, columns or k of a product that goes along with others: ranks */
#define WINDOW 24 /* nodes among which those are looked for: about a layer's */

typedef struct fuser {
    apus_graph *g;
    const apus_caps *caps;
    apus_narrow narrow;
    const char *force;
    uint32_t *uses; /* by tensor id: times that nodes read it or a view of it, and the host */
    bool *dead;     /* by node id */
} fuser;

static uint32_t *uses_of(const fuser *f, const apus_tensor *t)
{
    return &f->uses[apus_tensor_root(t, NULL)->id];
}

static void count_uses(fuser *f)
{
    const apus_graph *g = f->g;

    for (uint32_t i = 0; i < g->n_tensors; i++)
        *uses_of(f, g->tensors[i]) += g->tensors[i]->keep;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k])
                ++*uses_of(f, g->nodes[i]->in[k]);
}

/* The node that makes `t`, if that is of `op`, and `t` is read once and no view. */
static apus_node *only_for(const fuser *f, const apus_tensor *t, const apus_op_def *op)
{
    return t && t->storage == APUS_STORE_PLANNED && t->producer->op == op && *uses_of(f, t) == 1
               ? t->producer
               : NULL;
}

/* The node that reads `t`, which is read once. */
static apus_node *reader_of(const fuser *f, const apus_tensor *t)
{
    const apus_graph *g = f->g;

    for (uint32_t i = t->producer->id + 1; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_in && !f->dead[i]; k++)
            if (g->nodes[i]->in[k] == t)
                return g->nodes[i];
    return NULL;
}

/* The node that was built last takes the place of `old`, with the tensors `outs` as its first
 * n_outs results instead of those that it came with, which were built behind n_tensors others. */
static void take_place(fuser *f, apus_node *old, apus_tensor *const *outs, uint32_t n_outs,
                       uint32_t n_tensors)
{
    apus_graph *g = f->g;
    apus_node *n = g->nodes[--g->n_nodes];

    n->id = old->id;
    n->region = old->region;
    g->nodes[old->id] = n;
    g->n_tensors = n_tensors;
    for (uint32_t i = n_outs; i < n->n_out; i++) {
        n->out[i]->id = g->n_tensors;
        g->tensors[g->n_tensors++] = n->out[i];
    }
    for (uint32_t i = 0; i < n_outs; i++)
        n->out[i] = outs[i];
    for (uint32_t t = 0; t < g->n_tensors; t++)
        for (uint32_t i = 0; i < n_outs; i++)
            if (apus_tensor_root(g->tensors[t], NULL) == outs[i])
                g->tensors[t]->producer = n;
}

/* Build a group in the place of `old`, with the tensors `outs` as its results.  False: the graph is
 * poisoned. */
static bool build_group(fuser *f, apus_tensor *x, const apus_matmul_group_params *p, apus_node *old,
                        apus_tensor *const *outs)
{
    apus_tensor *fresh[APUS_GROUP_MOST];
    const uint32_t n_tensors = f->g->n_tensors;

    f->g->prefix = old->name;
    if (!apus_matmul_group(f->g, x, p, fresh) || f->g->status != APUS_OK)
        return false;
    take_place(f, old, outs, p->gate ? 1 : p->n, n_tensors);
    return true;
}

static bool is_projection(const apus_node *n)
{
    apus_tensor *a, *b;

    if (n->op != &apus_op_matmul)
        return false;
    const apus_matmul_params p = apus_matmul_of(n, &a, &b);
    return p.kind == APUS_NT && p.alpha == 1.0f && !p.into && !p.a2;
}

static bool fits(const fuser *f, const apus_tensor *x, const apus_matmul_group_params *p)
{
    return apus_matmul_group_fits(f->caps, f->narrow, f->force, x, p);
}

/* Whether a node from `from` on, before `to`, touches the bytes of t, or `changes` them. */
static bool touched(const fuser *f, const apus_tensor *t, uint32_t from, uint32_t to, bool changes)
{
    const apus_tensor *root = apus_tensor_root(t, NULL);

    for (uint32_t i = from; i < to; i++) {
        const apus_node *n = f->g->nodes[i];
        for (uint32_t k = 0; k < n->n_in && !f->dead[i]; k++)
            if (n->in[k] && apus_tensor_root(n->in[k], NULL) == root &&
                (!changes || n->mutates >> k & 1))
                return true;
    }
    return false;
}

/* Whether n can run where node `first` does: what it reads, but for x (or NULL), is there by then
 * and is not changed in between, and what it changes nobody touches in between. */
static bool ready(const fuser *f, const apus_node *n, const apus_tensor *x, uint32_t first)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        if (!n->in[k] || n->in[k] == x)
            continue;
        const apus_tensor *t = apus_tensor_root(n->in[k], NULL);
        if ((t->storage == APUS_STORE_PLANNED && t->producer->id >= first) ||
            touched(f, t, first, n->id, !(n->mutates >> k & 1)))
            return false;
    }
    return true;
}

/* Whether n can run behind all nodes before `end`: nothing that it reads is changed there, and what
 * it changes nobody touches. */
static bool can_wait(const fuser *f, const apus_node *n, uint32_t end)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] && touched(f, n->in[k], n->id + 1, end, !(n->mutates >> k & 1)))
            return false;
    return true;
}

/* ---- the rows of fuse.def ---- */

/* A product of few k in f32 beside a larger one: adapters, forward and backward. */
static bool is_small(const apus_matmul_params *p, const apus_tensor *a, const apus_tensor *b)
{
    const uint32_t k = apus_tensor_cols(a);

    return k <= SMALL && a->dtype == APUS_F32 && b->dtype == APUS_F32 && !p->bias && !p->a2;
}

/* y = a b + .., where what is added is a product alone, of the same kind; one of both is small. */
static void fuse_dual(fuser *f, apus_node *n)
{
    apus_tensor *a, *b, *inner_a, *inner_b;

    if (n->op != &apus_op_matmul)
        return;
    apus_matmul_params p = apus_matmul_of(n, &a, &b);
    const apus_node *inner = only_for(f, p.acc, &apus_op_matmul);
    if (!inner || p.kind == APUS_TN || p.into || p.a2)
        return;
    apus_matmul_params q = apus_matmul_of(inner, &inner_a, &inner_b);
    if (q.kind != p.kind || q.into || q.a2)
        return;
    const bool inner_small = is_small(&q, inner_a, inner_b);
    const bool outer_small =
        is_small(&p, a, b) && (!inner_small || apus_tensor_cols(a) <= apus_tensor_cols(inner_a));
    if ((!outer_small && !inner_small) || !can_wait(f, inner, n->id))
        return;
    apus_matmul_params both = outer_small ? q : p;
    if (both.alpha != 1.0f || (outer_small && p.out != q.out))
        return;
    both.acc = q.acc;
    both.a2 = outer_small ? a : inner_a;
    both.b2 = outer_small ? b : inner_b;
    both.beta = outer_small ? p.alpha : q.alpha;
    const uint32_t n_tensors = f->g->n_tensors;
    f->g->prefix = n->name;
    if (!apus_matmul(f->g, outer_small ? inner_a : a, outer_small ? inner_b : b, &both))
        return;
    take_place(f, n, n->out, 1, n_tensors);
    f->dead[inner->id] = true;
}

/* A product with few columns, or the gradient of a small weight, without more. */
static bool goes_along(const apus_matmul_params *p, const apus_tensor *a, const apus_tensor *b)
{
    const uint32_t b_rows = apus_tensor_rows(b), b_cols = apus_tensor_cols(b);

    if (p->bias || p->a2)
        return false;
    if (p->kind == APUS_TN)
        return p->into && p->acc == p->into && (apus_tensor_cols(a) <= SMALL || b_cols <= SMALL);
    return !p->acc && !p->into && b->dtype == APUS_F32 &&
           (p->kind == APUS_NT ? b_rows : b_cols) <= SMALL;
}

/* Products being taken into a batch. */
typedef struct batch {
    apus_matmul_batch_params p;
    apus_node *members[APUS_BATCH_MOST];
} batch;

/* Whether the batch and n can be made in one place, without a barrier between them: gradients where
 * n is, since what the last of them needs is made only there (what the first reads lives that long:
 * within a layer it is little beside the layer's own work); others where the first is. */
static bool can_join(const fuser *f, const batch *b, const apus_node *n, bool gradient)
{
    if (!gradient)
        return ready(f, n, NULL, b->p.n ? b->members[0]->id : n->id);
    for (uint32_t i = 0; i < b->p.n; i++)
        if (!can_wait(f, b->members[i], n->id + 1))
            return false;
    return true;
}

/* Take a node into the batch if it goes along. */
static bool add_product(const fuser *f, batch *to, apus_node *n)
{
    apus_matmul_batch_params *b = &to->p;
    apus_tensor *x, *y;

    if (n->op != &apus_op_matmul || f->dead[n->id])
        return false;
    const apus_matmul_params p = apus_matmul_of(n, &x, &y);
    if (!goes_along(&p, x, y) || !can_join(f, to, n, p.into != NULL))
        return false;
    /* A grid is as high and as wide as the largest member: gradients of one form. */
    if (b->n && (p.kind != b->kind || p.out != b->out ||
                 (p.into &&
                  (apus_tensor_cols(x) <= SMALL) != (apus_tensor_cols(b->product[0].a) <= SMALL))))
        return false;
    b->kind = p.kind;
    b->out = p.out;
    b->product[b->n].a = x;
    b->product[b->n].b = y;
    b->product[b->n].into = p.into;
    b->product[b->n].alpha = p.alpha;
    to->members[b->n++] = n;
    if (apus_matmul_batch_fits(f->caps, f->narrow, f->force, b))
        return true;
    b->n--;
    return false;
}

static void fuse_batch(fuser *f, apus_node *n)
{
    batch b = { 0 };
    apus_tensor *outs[APUS_BATCH_MOST], *fresh[APUS_BATCH_MOST];
    const uint32_t end = n->id + WINDOW < f->g->n_nodes ? n->id + WINDOW : f->g->n_nodes;

    if (!add_product(f, &b, n))
        return;
    for (uint32_t i = n->id + 1; i < end && b.p.n < APUS_BATCH_MOST; i++)
        add_product(f, &b, f->g->nodes[i]);
    if (b.p.n < 2)
        return;
    const bool gradients = b.p.product[0].into != NULL;
    const uint32_t n_tensors = f->g->n_tensors;
    f->g->prefix = n->name;
    if (!apus_matmul_batch(f->g, &b.p, fresh))
        return;
    for (uint32_t i = 0; i < b.p.n; i++) {
        outs[i] = gradients ? NULL : b.members[i]->out[0];
        f->dead[b.members[i]->id] = true;
    }
    apus_node *place = b.members[gradients ? b.p.n - 1 : 0];
    f->dead[place->id] = false;
    take_place(f, place, outs, gradients ? 0 : b.p.n, n_tensors);
}

/* Whether n can move to where `reader` is: others run in between, and none of them reads it. */
static bool is_early(const fuser *f, const apus_node *n, const apus_node *reader)
{
    bool others = false;

    for (uint32_t i = n->id + 1; i < reader->id; i++)
        others |= !f->dead[i] && !f->g->nodes[i]->op->rematerialize;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (touched(f, n->out[i], n->id + 1, reader->id, false))
            return false;
    return others && can_wait(f, n, reader->id);
}

/* A cheap result is made just before it is read first, and so is what that is made of: what is made
 * again for a gradient then lives no longer than it must. */
static void fuse_late(fuser *f, apus_node *n)
{
    apus_graph *g = f->g;

    for (uint32_t k = 0; k < n->n_in; k++) {
        apus_node *made = n->in[k] ? apus_tensor_root(n->in[k], NULL)->producer : NULL;
        if (!made || !made->op->rematerialize || !is_early(f, made, n))
            continue;
        for (uint32_t i = made->id; i + 1 < n->id; i++) {
            g->nodes[i] = g->nodes[i + 1];
            g->nodes[i]->id = i;
            f->dead[i] = f->dead[i + 1];
        }
        made->id = n->id - 1;
        g->nodes[made->id] = made;
        f->dead[made->id] = false;
        fuse_late(f, made);
    }
}

/* Made where the first was; the other's tensor is there by then. */
static void fuse_turned(fuser *f, apus_node *n)
{
    const uint32_t end = n->id + WINDOW < f->g->n_nodes ? n->id + WINDOW : f->g->n_nodes;

    if (n->op != &apus_op_rope)
        return;
    for (uint32_t i = n->id + 1; i < end; i++) {
        apus_node *other = f->g->nodes[i];
        if (f->dead[i] || !apus_rope_alike(n, other) || !ready(f, other, NULL, n->id))
            continue;
        apus_tensor *outs[2] = { n->out[0], other->out[0] };
        const uint32_t n_tensors = f->g->n_tensors;
        f->g->prefix = n->name;
        if (!apus_rope_both(f->g, n, other))
            return;
        f->dead[i] = true;
        take_place(f, n, outs, 2, n_tensors);
        return;
    }
}

/* Whether a projection alone is worth a group: for what is before it or behind it. */
static bool alone_pays(const fuser *f, const apus_node *n, const apus_tensor *x)
{
    if (only_for(f, x, &apus_op_rms_norm))
        return true;
    if (*uses_of(f, n->out[0]) != 1)
        return false;
    const apus_node *reader = reader_of(f, n->out[0]);
    return reader && reader->op == &apus_op_lora;
}

static void fuse_projections(fuser *f, apus_node *n)
{
    apus_tensor *x, *outs[APUS_GROUP_MOST];
    apus_node *members[APUS_GROUP_MOST];
    apus_matmul_group_params p = { 0 };

    if (!is_projection(n))
        return;
    p.out = apus_matmul_of(n, &x, &p.member[0].b).out;
    for (uint32_t i = n->id; i < f->g->n_nodes && p.n < APUS_GROUP_MOST; i++) {
        apus_node *other = f->g->nodes[i];
        apus_tensor *a, *b;
        if (f->dead[i] || !is_projection(other))
            continue;
        const apus_matmul_params o = apus_matmul_of(other, &a, &b);
        if (a != x || o.out != p.out || !ready(f, other, x, n->id))
            continue;
        p.member[p.n].b = b;
        p.member[p.n].bias = o.bias;
        p.member[p.n].acc = o.acc;
        outs[p.n] = other->out[0];
        members[p.n++] = other;
    }
    if ((p.n == 1 && !alone_pays(f, n, x)) || !fits(f, x, &p) || !build_group(f, x, &p, n, outs))
        return;
    for (uint32_t i = 1; i < p.n; i++)
        f->dead[members[i]->id] = true;
    *uses_of(f, x) -= p.n - 1;
}

static void fuse_adapted(fuser *f, apus_node *n)
{
    apus_tensor *x, *y, *outs[APUS_GROUP_MOST];
    uint32_t member = 0;

    if (n->op != &apus_op_lora)
        return;
    const apus_lora_params lora = apus_lora_of(n, &x, &y);
    apus_node *group = only_for(f, y, &apus_op_matmul_group);
    if (!group || group->in[0] != x)
        return;
    apus_matmul_group_params p = *apus_matmul_group_of(group);
    while (group->out[member] != y)
        member++;
    if (p.norm || p.gate ||
        (p.lora.table && (p.lora.table != lora.table || p.lora.index != lora.index ||
                          p.lora.slots != lora.slots || p.lora.rank != lora.rank)))
        return;
    p.lora = lora;
    p.member[member].adapted = true;
    p.member[member].module = lora.module;
    for (uint32_t i = 0; i < p.n; i++)
        outs[i] = group->out[i];
    outs[member] = n->out[0];
    if (!fits(f, x, &p) || !build_group(f, x, &p, group, outs))
        return;
    f->dead[n->id] = true;
    --*uses_of(f, x);
}

static void fuse_gated(fuser *f, apus_node *n)
{
    if (n->op != &apus_op_swiglu)
        return;
    apus_node *group = only_for(f, n->in[0], &apus_op_matmul_group);
    if (!group || only_for(f, n->in[1], &apus_op_matmul_group) != group ||
        n->in[0] != group->out[0])
        return;
    apus_matmul_group_params p = *apus_matmul_group_of(group);
    p.gate = apus_swiglu_gate(n);
    if (!fits(f, group->in[0], &p) || !build_group(f, group->in[0], &p, group, n->out))
        return;
    f->dead[n->id] = true;
}

static void fuse_normalized(fuser *f, apus_node *n)
{
    if (n->op != &apus_op_matmul_group)
        return;
    apus_node *norm = only_for(f, n->in[0], &apus_op_rms_norm);
    apus_matmul_group_params p = *apus_matmul_group_of(n);
    if (!norm || p.norm || !can_wait(f, norm, n->id))
        return;
    p.norm = norm->in[1];
    p.eps = apus_rms_norm_eps(norm);
    if (!fits(f, norm->in[0], &p) || !build_group(f, norm->in[0], &p, n, n->out))
        return;
    f->dead[norm->id] = true;
}

/* ---- the walk ---- */

static const struct {
    void (*look)(fuser *f, apus_node *n);
} rows[] = {
#define FUSE(name, pattern, result) { fuse_##name },
#include "fuse.def"
#undef FUSE
};

apus_status apus_fuse(apus_graph *g, const apus_caps *caps, apus_narrow narrow, const char *force)
{
    apus_status st = APUS_OK;
    const char *prefix = g->prefix;
    fuser f = { .g = g,
                .caps = caps,
                .narrow = narrow,
                .force = force,
                /* A node has one new tensor at most. */
                .uses = apus_calloc(g->n_tensors + g->n_nodes + 1, sizeof(*f.uses)),
                .dead = apus_calloc(g->n_nodes + 1, sizeof(*f.dead)) };

    if (!f.uses || !f.dead)
        APUS_TRY(APUS_ERR_MEMORY);
    count_uses(&f);
    for (size_t r = 0; r < APUS_COUNT(rows); r++)
        for (uint32_t i = 0; i < g->n_nodes; i++)
            if (!f.dead[i])
                rows[r].look(&f, g->nodes[i]);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (f.dead[i])
            g->nodes[i] = NULL;
    apus_graph_compact(g);
    g->prefix = prefix;
    st = apus_graph_status(g);
fail:
    apus_free(f.uses);
    apus_free(f.dead);
    return st;
}
