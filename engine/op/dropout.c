/* dropout.c - dropout: builder, dispatch, gradient (the same kernel with the same mask). */
#include "dropout.h"

#include "args/dropout.h"
#include "op.h"

enum { IN_X, IN_ROW_ID, IN_POS, IN_ACC, N_IN };

static apus_tensor *build(apus_graph *g, apus_tensor *x, apus_tensor *acc,
                          const apus_dropout_params *p)
{
    apus_node *n = apus_graph_node(g, &apus_op_dropout, p, sizeof(*p),
                                   (apus_tensor *[]) { x, p->row_id, p->pos, acc }, N_IN);

    return apus_node_output(g, n, x->dtype, x->n_dims, x->dims, x->rows);
}

apus_tensor *apus_dropout(apus_graph *g, apus_tensor *x, const apus_dropout_params *params)
{
    if (!x || params->p <= 0)
        return x;
    if (params->p >= 1 || !params->row_id || !params->pos)
        return apus_graph_fail(g, APUS_ERR_ARG, "dropout of %s: p is %g, it must be in [0, 1)",
                               x->name, (double)params->p);
    if (!apus_dtype_is_plain(x->dtype) || x->n_dims != 2 || x->dims[1] % 4 ||
        params->row_id->dims[0] < x->dims[0] || params->pos->dims[0] < x->dims[0])
        return apus_graph_fail(g, APUS_ERR_SHAPE, "dropout: %s has %u rows of %u, ids of %u and %u",
                               x->name, x->dims[0], apus_tensor_cols(x), params->row_id->dims[0],
                               params->pos->dims[0]);
    return build(g, x, NULL, params);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_dropout_params *a = n->attr;
    const apus_tensor *x = n->in[IN_X];
    const apus_rows_arg live = apus_rows_of(x);
    const struct apus_dropout_push push = {
        .x = apus_address(l, x),
        .row_id = apus_address(l, n->in[IN_ROW_ID]),
        .pos = apus_address(l, n->in[IN_POS]),
        .acc = apus_address(l, n->in[IN_ACC]),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = x->dims[1],
        .seed_var = APUS_VAR_SEED,
        .step_var = APUS_VAR_STEP,
        .name = a->name,
        .p = a->p,
    };
    apus_dispatch d = {
        .kernel = "dropout",
        .spec = { 64, x->dtype },
        .n_spec = 2,
        .push = &push,
        .push_bytes = sizeof(push),
        .moved = (n->in[IN_ACC] ? 3.0 : 2.0) * (double)x->bytes,
    };

    apus_grid_1d(apus_tensor_count(x) / 4, 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    apus_tensor *x = n->in[IN_X];

    if (x->wants_grad)
        apus_set_grad(x, build(g, n->out[0]->grad, x->grad, n->attr));
}

const apus_op_def apus_op_dropout = { "dropout", record, backward, true };
