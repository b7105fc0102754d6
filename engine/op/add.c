/* add.c - element-wise sum: builder, dispatch, gradient. */
#include "add.h"

#include "args/add.h"
#include "op.h"

apus_tensor *apus_add(apus_graph *g, apus_tensor *a, apus_tensor *b)
{
    apus_node *n;

    if (!a || !b)
        return NULL;
    if (!apus_dtype_is_plain(a->dtype) || b->dtype != a->dtype || a->n_dims != b->n_dims ||
        memcmp(a->dims, b->dims, a->n_dims * sizeof(a->dims[0])))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "add: %s and %s differ", a->name, b->name);
    n = apus_graph_node(g, &apus_op_add, NULL, 0, (apus_tensor *[]) { a, b }, 2);
    return apus_node_output(g, n, a->dtype, a->n_dims, a->dims, a->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *y = n->out[0];
    const apus_rows_arg rows = apus_rows_of(y);
    const uint32_t cols = (uint32_t)(apus_tensor_count(y) / (rows.max * rows.mul));
    const struct apus_add_push push = {
        .a = apus_address(l, n->in[0]),
        .b = apus_address(l, n->in[1]),
        .y = apus_address(l, y),
        .step = l->step,
        APUS_ROWS_VALUES(rows),
        .cols = cols,
    };
    apus_dispatch d = {
        .kernel = "add",
        .spec = { 64, y->dtype },
        .n_spec = 2,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = (double)apus_tensor_count(y),
        .moved = 3.0 * (double)y->bytes,
    };

    apus_grid_1d(apus_ceil_div(apus_tensor_count(y), 4), 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    apus_add_grad(g, n->in[0], n->out[0]->grad);
    apus_add_grad(g, n->in[1], n->out[0]->grad);
}

const apus_op_def apus_op_add = { "add", record, backward, false };
