/* graph.c - building graphs: tensors, nodes, views, step arrays.  See graph.h. */
#include "graph.h"

#include <stdarg.h>
#include <stdio.h>

#include "layout.h"

apus_status apus_graph_init(apus_graph *g)
{
    *g = (apus_graph) { .step_bytes = APUS_STEP_ARRAYS_AT };
    return APUS_OK;
}

void apus_graph_release(apus_graph *g)
{
    apus_free(g->nodes);
    apus_free(g->tensors);
    apus_arena_release(&g->arena);
    *g = (apus_graph) { 0 };
}

apus_status apus_graph_status(const apus_graph *g)
{
    return g->status == APUS_OK ? APUS_OK : apus_fail(g->status, "%s", g->error);
}

void *apus_graph_fail(apus_graph *g, apus_status status, const char *fmt, ...)
{
    va_list args;

    if (g->status != APUS_OK)
        return NULL;
    g->status = status;
    va_start(args, fmt);
    vsnprintf(g->error, sizeof(g->error), fmt, args);
    va_end(args);
    return NULL;
}

apus_rows apus_rows_live(apus_step_var var, uint32_t max)
{
    return (apus_rows) { .var = (int32_t)var, .max = max, .mul = 1 };
}

static apus_tensor *new_tensor(apus_graph *g, const char *name, apus_dtype dtype, uint32_t n_dims,
                               const uint32_t *dims)
{
    apus_tensor *t;

    if (g->status != APUS_OK)
        return NULL;
    if (n_dims < 1 || n_dims > APUS_MAX_DIMS)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "%s: %u dimensions", name, n_dims);
    t = apus_arena_alloc(&g->arena, sizeof(*t));
    if (!t || apus_grow(&g->tensors, g->n_tensors, 1, &g->tensor_room, sizeof(t)) != APUS_OK)
        return apus_graph_fail(g, APUS_ERR_MEMORY, "out of host memory building a graph");
    t->name = name;
    t->id = g->n_tensors;
    t->dtype = dtype;
    t->n_dims = n_dims;
    memcpy(t->dims, dims, n_dims * sizeof(*dims));
    t->rows = APUS_ROWS_ALL;
    if (!apus_tensor_bytes(dtype, n_dims, dims, &t->bytes))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "%s: shape too large, or not whole blocks of %s",
                               name, apus_dtype_of(dtype)->name);
    g->tensors[g->n_tensors++] = t;
    return t;
}

bool apus_tensor_bytes(apus_dtype dtype, uint32_t n_dims, const uint32_t *dims, uint64_t *bytes)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < n_dims; i++)
        if (dims[i] == 0 || !apus_mul_u64(n, dims[i], &n))
            return false;
    if (n >> 32 > 1024)
        return false;
    if (apus_dtype_is_quant(dtype))
        return apus_layout_bytes(dtype, n / dims[n_dims - 1], dims[n_dims - 1], bytes);
    return apus_dtype_bytes(dtype, n, bytes);
}

uint64_t apus_tensor_count(const apus_tensor *t)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < t->n_dims; i++)
        n *= t->dims[i];
    return n;
}

uint32_t apus_tensor_cols(const apus_tensor *t)
{
    return t->dims[t->n_dims - 1];
}

uint32_t apus_tensor_rows(const apus_tensor *t)
{
    return (uint32_t)(apus_tensor_count(t) / t->dims[t->n_dims - 1]);
}

const apus_tensor *apus_tensor_root(const apus_tensor *t, uint64_t *offset)
{
    uint64_t at = 0;

    while (t->storage == APUS_STORE_VIEW) {
        at += t->at;
        t = t->base;
    }
    if (offset)
        *offset = at;
    return t;
}

apus_tensor *apus_graph_bound(apus_graph *g, const char *name, apus_dtype dtype, uint32_t n_dims,
                              const uint32_t *dims, uint64_t address)
{
    apus_tensor *t = new_tensor(g, name, dtype, n_dims, dims);

    if (!t)
        return NULL;
    t->storage = APUS_STORE_BOUND;
    t->at = address;
    return t;
}

apus_tensor *apus_graph_step(apus_graph *g, const char *name, apus_dtype dtype, uint32_t n,
                             apus_rows rows)
{
    apus_tensor *t = new_tensor(g, name, dtype, 1, &n);

    if (!t)
        return NULL;
    t->storage = APUS_STORE_STEP;
    t->rows = rows;
    t->at = g->step_bytes;
    if (apus_round_up(t->bytes, 16) > UINT32_MAX - g->step_bytes)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "%s: the arrays of a step are too large", name);
    g->step_bytes += (uint32_t)apus_round_up(t->bytes, 16);
    return t;
}

static apus_tensor *new_view(apus_graph *g, apus_tensor *x, uint64_t at, uint32_t n_dims,
                             const uint32_t *dims)
{
    apus_tensor *t = new_tensor(g, x->name, x->dtype, n_dims, dims);

    if (!t)
        return NULL;
    t->storage = APUS_STORE_VIEW;
    t->place = x->place;
    t->base = x->storage == APUS_STORE_VIEW ? x->base : x; /* never a view of a view */
    t->at = x->storage == APUS_STORE_VIEW ? x->at + at : at;
    t->producer = x->producer;
    return t;
}

apus_tensor *apus_graph_reshape(apus_graph *g, apus_tensor *x, uint32_t n_dims,
                                const uint32_t *dims)
{
    apus_tensor *t;

    if (!x)
        return NULL;
    t = new_view(g, x, 0, n_dims, dims);
    if (!t)
        return NULL;
    if (apus_tensor_count(t) != apus_tensor_count(x) || apus_dtype_is_quant(x->dtype))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "reshape of %s: element counts differ", x->name);
    t->wants_grad = x->wants_grad;
    t->rows = x->rows;
    if (x->rows.var >= 0 && dims[0] != x->dims[0]) {
        if (dims[0] > x->dims[0] && dims[0] % x->dims[0] == 0)
            t->rows.mul *= dims[0] / x->dims[0];
        else if (x->dims[0] % dims[0] == 0 && x->rows.mul % (x->dims[0] / dims[0]) == 0)
            t->rows.mul /= x->dims[0] / dims[0];
        else
            return apus_graph_fail(g, APUS_ERR_SHAPE, "reshape of %s: live rows do not fit",
                                   x->name);
    }
    return t;
}

apus_tensor *apus_graph_slice(apus_graph *g, apus_tensor *x, uint32_t first, uint32_t n)
{
    uint32_t dims[APUS_MAX_DIMS];
    apus_tensor *t;

    if (!x)
        return NULL;
    if (apus_dtype_is_quant(x->dtype) || n == 0 || first > x->dims[0] || n > x->dims[0] - first)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "slice of %s: rows %u..%u of %u", x->name, first,
                               first + n, x->dims[0]);
    memcpy(dims, x->dims, sizeof(dims));
    dims[0] = n;
    t = new_view(g, x, x->bytes / x->dims[0] * first, x->n_dims, dims);
    return t;
}

apus_tensor *apus_graph_with_rows(apus_graph *g, apus_tensor *x, apus_rows rows)
{
    apus_tensor *t;

    if (!x)
        return NULL;
    t = new_view(g, x, 0, x->n_dims, x->dims);
    if (t)
        t->rows = rows;
    return t;
}

apus_node *apus_graph_node(apus_graph *g, const apus_op_def *op, const void *attr,
                           size_t attr_bytes, apus_tensor *const *in, uint32_t n_in)
{
    apus_node *n;

    if (g->status != APUS_OK)
        return NULL;
    APUS_BUG_IF(n_in > APUS_MAX_IN);
    n = apus_arena_alloc(&g->arena, sizeof(*n));
    if (n && attr_bytes)
        n->attr = apus_arena_alloc(&g->arena, attr_bytes);
    if (!n || (attr_bytes && !n->attr) ||
        apus_grow(&g->nodes, g->n_nodes, 1, &g->node_room, sizeof(n)) != APUS_OK)
        return apus_graph_fail(g, APUS_ERR_MEMORY, "out of host memory building a graph");
    if (attr_bytes)
        memcpy(n->attr, attr, attr_bytes);
    n->op = op;
    n->id = g->n_nodes;
    n->n_in = n_in;
    if (n_in)
        memcpy(n->in, in, n_in * sizeof(*in));
    n->region = g->region;
    n->name = g->prefix ? g->prefix : "";
    g->nodes[g->n_nodes++] = n;
    return n;
}

apus_tensor *apus_node_output(apus_graph *g, apus_node *n, apus_dtype dtype, uint32_t n_dims,
                              const uint32_t *dims, apus_rows rows)
{
    apus_tensor *t;

    if (!n)
        return NULL;
    t = new_tensor(g, n->name, dtype, n_dims, dims);
    if (!t)
        return NULL;
    if ((dtype == APUS_F16 || dtype == APUS_BF16) && dims[n_dims - 1] % 4)
        return apus_graph_fail(g, APUS_ERR_SHAPE,
                               "%s: rows of %u elements in %s, not of whole fours", n->name,
                               dims[n_dims - 1], apus_dtype_of(dtype)->name);
    t->storage = APUS_STORE_PLANNED;
    t->rows = rows;
    t->producer = n;
    APUS_BUG_IF(n->n_out == APUS_MAX_OUT);
    n->out[n->n_out++] = t;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->wants_grad)
            t->wants_grad = true;
    return t;
}

void apus_graph_compact(apus_graph *g)
{
    uint32_t n_tensors = 0, n_nodes = 0;

    for (uint32_t i = 0; i < g->n_tensors; i++) {
        const apus_tensor *root = apus_tensor_root(g->tensors[i], NULL);
        if (root->storage == APUS_STORE_PLANNED && g->nodes[root->producer->id] != root->producer)
            continue;
        g->tensors[n_tensors++] = g->tensors[i];
    }
    g->n_tensors = n_tensors;
    for (uint32_t i = 0; i < n_tensors; i++)
        g->tensors[i]->id = i;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i])
            g->nodes[n_nodes++] = g->nodes[i];
    g->n_nodes = n_nodes;
    for (uint32_t i = 0; i < n_nodes; i++)
        g->nodes[i]->id = i;
}
