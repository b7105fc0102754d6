/* rope.c - rotary position embedding: builder, dispatch, gradient (the opposite angle). */
#include "rope.h"

#include "args/rope.h"
#include "op.h"

enum { IN_X, IN_TABLE, IN_POS, N_IN };

apus_tensor *apus_rope(apus_graph *g, apus_tensor *x, apus_tensor *table, apus_tensor *pos,
                       const apus_rope_params *p)
{
    apus_node *n;

    if (!x || !table || !pos)
        return NULL;
    if (x->dtype != APUS_F32 && p->head_dim % 4)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "rope: heads of %u elements are not whole fours",
                               p->head_dim);
    if (!apus_dtype_is_plain(x->dtype) || x->n_dims != 3 || x->dims[2] != p->head_dim ||
        p->head_dim % 2 || apus_tensor_cols(table) != p->head_dim || pos->dims[0] != x->dims[0])
        return apus_graph_fail(g, APUS_ERR_SHAPE, "rope: %s, head size %u", x->name, p->head_dim);
    n = apus_graph_node(g, &apus_op_rope, p, sizeof(*p), (apus_tensor *[]) { x, table, pos }, N_IN);
    return apus_node_output(g, n, x->dtype, 3, x->dims, x->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_rope_params *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *table = n->in[IN_TABLE];
    const apus_rows_arg rows = apus_rows_of(x);
    const uint32_t pairs = a->head_dim % 4 ? 1 : 2; /* an invocation */
    const struct apus_rope_push push = {
        .x = apus_address(l, x),
        .table = apus_address(l, table),
        .pos = apus_address(l, n->in[IN_POS]),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(rows),
        .heads = x->dims[1],
        .head_dim = x->dims[2],
        .max_pos = apus_tensor_rows(table),
        .sign = a->inverse ? -1.0f : 1.0f,
    };
    apus_dispatch d = {
        .kernel = "rope",
        .spec = { 64, pairs, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 3.0 * (double)apus_tensor_count(x),
        .moved = 2.0 * (double)x->bytes,
    };

    apus_grid_1d(apus_tensor_count(x) / 2 / pairs, 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    const apus_rope_params *a = n->attr;

    if (n->in[IN_X]->wants_grad)
        apus_add_grad(g, n->in[IN_X],
                      apus_rope(g, n->out[0]->grad, n->in[IN_TABLE], n->in[IN_POS],
                                &(apus_rope_params) { a->head_dim, !a->inverse }));
}

const apus_op_def apus_op_rope = { "rope", record, backward, false };
