/* lora.c - a low-rank term beside a projection: builder, and two dispatches where adapters come
 * from a table. */
#include "lora.h"

#include "args/lora.h"
#include "dropout.h"
#include "matmul.h"
#include "op.h"

struct attr {
    uint32_t module, slots, rank;
};

enum { IN_X, IN_Y, IN_TABLE, IN_INDEX, N_IN };

/* One adapter for all rows, as two products: their gradients are its gradient, and the second goes
 * along with the projection (exec/fuse.c). */
static apus_tensor *trained(apus_graph *g, apus_tensor *x, apus_tensor *y,
                            const apus_lora_params *p)
{
    x = apus_dropout(g, x, &(apus_dropout_params) { p->p, p->row_id, p->pos, p->name });
    apus_tensor *h = apus_matmul(g, x, p->a, &(apus_matmul_params) { .kind = APUS_NT });
    return apus_matmul(
        g, h, p->b,
        &(apus_matmul_params) { .kind = APUS_NT, .alpha = p->scale, .out = y->dtype, .acc = y });
}

apus_tensor *apus_lora(apus_graph *g, apus_tensor *x, apus_tensor *y, const apus_lora_params *p)
{
    const struct attr attr = { p->module, p->slots, p->rank };
    apus_node *n;

    if (!x || !y || !p->table || !p->index)
        return NULL;
    if (!apus_dtype_is_plain(x->dtype) || y->dtype != x->dtype || x->n_dims != 2 ||
        y->n_dims != 2 || x->dims[0] != y->dims[0] || x->dims[1] % 4 || p->rank == 0 ||
        p->index->dims[0] < x->dims[0])
        return apus_graph_fail(g, APUS_ERR_SHAPE, "lora: %s (%u, %u), rank %u", x->name, x->dims[0],
                               x->dims[1], p->rank);
    if ((p->a && (p->a->dims[0] != p->rank || p->a->dims[1] != x->dims[1])) ||
        (p->b && (p->b->dims[0] != y->dims[1] || p->b->dims[1] != p->rank)))
        return apus_graph_fail(g, APUS_ERR_SHAPE,
                               "lora: the trained adapter of %s is not (%u, %u), (%u, %u)", x->name,
                               p->rank, x->dims[1], y->dims[1], p->rank);
    if (p->a && p->b)
        return trained(g, x, y, p);
    n = apus_graph_node(g, &apus_op_lora, &attr, sizeof(attr),
                        (apus_tensor *[]) { x, y, p->table, p->index }, N_IN);
    apus_tensor *out = apus_node_output(g, n, y->dtype, 2, y->dims, y->rows);
    apus_node_output(g, n, APUS_F32, 2, (uint32_t[]) { x->dims[0], p->rank }, x->rows); /* h */
    return out;
}

apus_lora_params apus_lora_of(const apus_node *n, apus_tensor **x, apus_tensor **y)
{
    const struct attr *a = n->attr;

    *x = n->in[IN_X];
    *y = n->in[IN_Y];
    return (apus_lora_params) { .table = n->in[IN_TABLE],
                                .index = n->in[IN_INDEX],
                                .module = a->module,
                                .slots = a->slots,
                                .rank = a->rank };
}

apus_addr apusi_lora_entry(const apus_lower *l, const apus_tensor *table, uint32_t module,
                           uint32_t slots)
{
    return apus_address(l, table) + (uint64_t)module * slots * sizeof(struct apus_lora_entry);
}

apus_status apusi_lora_few_emit(apus_lower *l, const apusi_lora_few *f)
{
    const apus_rows_arg live = apus_rows_of(f->x);
    struct apus_lora_vec_push push = {
        .x = apus_address(l, f->x),
        .norm = apus_address(l, f->norm),
        .h = apus_address(l, f->h),
        .index = apus_address(l, f->index),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .k = f->x->dims[1],
        .rank = f->rank,
        .slots = f->slots,
        .eps = f->eps,
    };
    apus_access access[5];
    apus_dispatch d = {
        .kernel = "lora_vec",
        .spec = { l->caps->subgroup, f->x->dtype, f->n, f->norm != NULL },
        .n_spec = 4,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = { (uint32_t)apus_ceil_div(f->rank, 8) * f->n, f->x->dims[0] },
        .live = apus_rows_flat(f->x),
        .live_axis = 1,
        .live_tile = 1,
        .access = access,
        .flops = 2.0 * f->x->dims[0] * f->x->dims[1] * f->rank * f->n,
        .moved = (double)f->x->bytes + (double)f->h->bytes + 4.0 * f->rank * f->x->dims[1] * f->n,
        .fixed = 4.0 * f->rank * f->x->dims[1] * f->n,
    };

    for (uint32_t i = 0; i < f->n; i++)
        push.entry[i] = apusi_lora_entry(l, f->table, f->module[i], f->slots);
    access[d.n_access++] = apus_reads(l, f->x);
    access[d.n_access++] = apus_reads(l, f->table);
    access[d.n_access++] = apus_reads(l, f->index);
    access[d.n_access++] = apus_writes(l, f->h);
    if (f->norm)
        access[d.n_access++] = apus_reads(l, f->norm);
    return apus_emit(l, &d);
}

/* A half of the term, rows in tiles; `d` has the kernel, its columns' grid, accesses and
 * estimates. */
static apus_status emit_half(apus_lower *l, const apus_node *n, const struct apus_lora_push *push,
                             uint32_t tm, apus_dispatch *d)
{
    const apus_tensor *x = n->in[IN_X];

    d->spec[0] = l->caps->subgroup;
    d->spec[1] = tm;
    d->spec[2] = x->dtype;
    d->n_spec = 3;
    d->push = push;
    d->push_bytes = sizeof(*push);
    d->groups[1] = (uint32_t)apus_ceil_div(x->dims[0], tm);
    d->live = apus_rows_flat(x);
    d->live_axis = 1;
    d->live_tile = tm;
    return apus_emit(l, d);
}

static apus_status emit_down(apus_lower *l, const apus_node *n, const struct apus_lora_push *push,
                             uint32_t tm)
{
    const struct attr *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *h = n->out[1];
    const apus_access access[] = { apus_reads(l, x), apus_reads(l, n->in[IN_TABLE]),
                                   apus_reads(l, n->in[IN_INDEX]), apus_writes(l, h) };

    return emit_half(l, n, push, tm,
                     &(apus_dispatch) {
                         .kernel = "lora",
                         .groups = { (uint32_t)apus_ceil_div(a->rank, l->caps->subgroup) },
                         .access = access,
                         .n_access = APUS_COUNT(access),
                         .flops = 2.0 * x->dims[0] * x->dims[1] * a->rank,
                         .moved = (double)x->bytes + (double)h->bytes + 4.0 * a->rank * x->dims[1],
                         .fixed = 4.0 * a->rank * x->dims[1],
                     });
}

static apus_status emit_up(apus_lower *l, const apus_node *n, const struct apus_lora_push *push,
                           uint32_t tm)
{
    const struct attr *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *y = n->in[IN_Y], *h = n->out[1];
    const uint32_t columns = (y->dtype == APUS_F32 ? 1 : 2) * l->caps->subgroup;
    const apus_access access[] = { apus_reads(l, h), apus_reads(l, y),
                                   apus_reads(l, n->in[IN_TABLE]), apus_reads(l, n->in[IN_INDEX]),
                                   apus_writes(l, n->out[0]) };

    return emit_half(
        l, n, push, tm,
        &(apus_dispatch) {
            .kernel = "lora_up",
            .groups = { (uint32_t)apus_ceil_div(y->dims[1], columns) },
            .access = access,
            .n_access = APUS_COUNT(access),
            .flops = 2.0 * x->dims[0] * y->dims[1] * a->rank,
            .moved = 2.0 * (double)y->bytes + (double)h->bytes + 4.0 * a->rank * y->dims[1],
            .fixed = 4.0 * a->rank * y->dims[1],
        });
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *y = n->in[IN_Y], *h = n->out[1];
    const apus_rows_arg live = apus_rows_of(x);
    const uint32_t tm = x->dims[0] < 16 ? (x->dims[0] < 4 ? 1 : 4) : 16;
    const struct apus_lora_push push = {
        .x = apus_address(l, x),
        .table = apusi_lora_entry(l, n->in[IN_TABLE], a->module, a->slots),
        .index = apus_address(l, n->in[IN_INDEX]),
        .h = apus_address(l, h),
        .acc = apus_address(l, y),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .k = x->dims[1],
        .n = y->dims[1],
        .rank = a->rank,
        .slots = a->slots,
    };

    if (x->dims[0] <= APUSI_LORA_FEW)
        APUS_FORWARD(apusi_lora_few_emit(l, &(apusi_lora_few) { .x = x,
                                                                .table = n->in[IN_TABLE],
                                                                .index = n->in[IN_INDEX],
                                                                .h = h,
                                                                .module = { a->module },
                                                                .n = 1,
                                                                .slots = a->slots,
                                                                .rank = a->rank }));
    else
        APUS_FORWARD(emit_down(l, n, &push, tm));
    return emit_up(l, n, &push, tm);
}

const apus_op_def apus_op_lora = { "lora", record, NULL, false };
