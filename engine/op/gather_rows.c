/* gather_rows.c - rows of a matrix by index: builder, dispatch, gradient (the inverse gather). */
#include "gather_rows.h"

#include "args/gather_rows.h"
#include "op.h"

enum { IN_X, IN_INDEX, IN_INVERSE, N_IN };

apus_tensor *apus_gather_rows(apus_graph *g, apus_tensor *x, apus_tensor *index,
                              apus_tensor *inverse)
{
    apus_node *n;

    if (!x || !index)
        return NULL;
    if (!apus_dtype_is_plain(x->dtype) || x->n_dims != 2 || index->dtype != APUS_U32 ||
        (inverse && inverse->dims[0] != x->dims[0]))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "gather_rows: %s", x->name);
    n = apus_graph_node(g, &apus_op_gather_rows, NULL, 0, (apus_tensor *[]) { x, index, inverse },
                        N_IN);
    return apus_node_output(g, n, x->dtype, 2, (uint32_t[]) { index->dims[0], x->dims[1] },
                            index->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *x = n->in[IN_X], *index = n->in[IN_INDEX];
    const apus_rows_arg live = apus_rows_of(index);
    const uint32_t cols = x->dims[1], vec = cols % 4 ? 1 : 4;
    const struct apus_gather_rows_push push = {
        .x = apus_address(l, x),
        .index = apus_address(l, index),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = cols,
        .x_rows = x->dims[0],
    };
    apus_dispatch d = {
        .kernel = "gather_rows",
        .spec = { 64, vec, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .moved = 2.0 * (double)n->out[0]->bytes,
    };

    apus_grid_1d((uint64_t)index->dims[0] * cols / vec, 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    apus_tensor *x = n->in[IN_X];

    if (x->wants_grad && n->in[IN_INVERSE])
        apus_add_grad(g, x,
                      apus_gather_rows(g, n->out[0]->grad, n->in[IN_INVERSE], n->in[IN_INDEX]));
}

const apus_op_def apus_op_gather_rows = { "gather_rows", record, backward, false };
