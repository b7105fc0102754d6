/* lora.c - a low-rank term beside a projection: builder, two dispatches, gradient rule. */
#include "lora.h"

#include "args/lora.h"
#include "dropout.h"
#include "matmul.h"
#include "op.h"

struct attr {
    uint32_t module, slots, rank;
    float scale;
};

enum { IN_X, IN_Y, IN_TABLE, IN_INDEX, IN_A, IN_B, N_IN };

apus_tensor *apus_lora(apus_graph *g, apus_tensor *x, apus_tensor *y, const apus_lora_params *p)
{
    const struct attr attr = { p->module, p->slots, p->rank, p->scale };
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
    x = apus_dropout(g, x, &(apus_dropout_params) { p->p, p->row_id, p->pos, p->name });
    n = apus_graph_node(g, &apus_op_lora, &attr, sizeof(attr),
                        (apus_tensor *[]) { x, y, p->table, p->index, p->a, p->b }, N_IN);
    apus_tensor *out = apus_node_output(g, n, y->dtype, 2, y->dims, y->rows);
    apus_node_output(g, n, APUS_F32, 2, (uint32_t[]) { x->dims[0], p->rank }, x->rows); /* h */
    return out;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *y = n->in[IN_Y], *h = n->out[1], *out = n->out[0];
    const apus_rows_arg live = apus_rows_of(x);
    const uint32_t lanes = l->caps->subgroup;
    const uint32_t tm = x->dims[0] < 16 ? (x->dims[0] < 4 ? 1 : 4) : 16;
    const struct apus_lora_push push = {
        .x = apus_address(l, x),
        .table = apus_address(l, n->in[IN_TABLE]) +
                 (uint64_t)a->module * a->slots * sizeof(struct apus_lora_entry),
        .index = apus_address(l, n->in[IN_INDEX]),
        .h = apus_address(l, h),
        .acc = apus_address(l, y),
        .y = apus_address(l, out),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .k = x->dims[1],
        .n = y->dims[1],
        .rank = a->rank,
        .slots = a->slots,
    };
    apus_access down[8], up[8];
    uint32_t n_down = 0, n_up = 0;

    down[n_down++] = apus_reads(l, x);
    down[n_down++] = apus_reads(l, n->in[IN_TABLE]);
    down[n_down++] = apus_reads(l, n->in[IN_INDEX]);
    down[n_down++] = apus_writes(l, h);
    if (n->in[IN_A])
        down[n_down++] = apus_reads(l, n->in[IN_A]);
    up[n_up++] = apus_reads(l, h);
    up[n_up++] = apus_reads(l, y);
    up[n_up++] = apus_reads(l, n->in[IN_TABLE]);
    up[n_up++] = apus_reads(l, n->in[IN_INDEX]);
    up[n_up++] = apus_writes(l, out);
    if (n->in[IN_B])
        up[n_up++] = apus_reads(l, n->in[IN_B]);
    apus_dispatch d = {
        .kernel = "lora",
        .spec = { lanes, tm, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = { (uint32_t)apus_ceil_div(a->rank, lanes),
                    (uint32_t)apus_ceil_div(x->dims[0], tm) },
        .live = apus_rows_flat(x),
        .live_axis = 1,
        .live_tile = tm,
        .access = down,
        .n_access = n_down,
        .flops = 2.0 * x->dims[0] * x->dims[1] * a->rank,
        .moved = (double)x->bytes + (double)h->bytes + 4.0 * a->rank * x->dims[1],
        .fixed = 4.0 * a->rank * x->dims[1],
    };
    APUS_FORWARD(apus_emit(l, &d));
    d.kernel = "lora_up";
    d.groups[0] = (uint32_t)apus_ceil_div(y->dims[1], y->dtype == APUS_F32 ? lanes : 2 * lanes);
    d.access = up;
    d.n_access = n_up;
    d.flops = 2.0 * x->dims[0] * y->dims[1] * a->rank;
    d.moved = 2.0 * (double)y->bytes + (double)h->bytes + 4.0 * a->rank * y->dims[1];
    d.fixed = 4.0 * a->rank * y->dims[1];
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    const struct attr *at = n->attr;
    apus_tensor *x = n->in[IN_X], *y = n->in[IN_Y], *a = n->in[IN_A], *b = n->in[IN_B];
    apus_tensor *dy = n->out[0]->grad, *h = n->out[1];

    apus_add_grad(g, y, dy);
    if (!a || !b) {
        apus_graph_fail(g, APUS_ERR_ARG, "lora: the gradient needs the adapter's own tensors");
        return;
    }
    apus_tensor *dh =
        apus_matmul(g, dy, b, &(apus_matmul_params) { .kind = APUS_NN, .alpha = at->scale });
    if (b->wants_grad)
        apus_matmul(
            g, dy, h,
            &(apus_matmul_params) {
                .kind = APUS_TN, .alpha = at->scale, .acc = b->grad_into, .into = b->grad_into });
    if (a->wants_grad)
        apus_matmul(
            g, dh, x,
            &(apus_matmul_params) { .kind = APUS_TN, .acc = a->grad_into, .into = a->grad_into });
    if (x->wants_grad)
        apus_set_grad(x, apus_matmul(g, dh, a,
                                     &(apus_matmul_params) {
                                         .kind = APUS_NN, .out = x->dtype, .acc = x->grad }));
}

const apus_op_def apus_op_lora = { "lora", record, backward, false };
