/* rms_norm.c - root mean square normalization: builder, dispatch, gradient rule. */
#include "rms_norm.h"

#include "args/rms_norm.h"
#include "op.h"
#include "rms_norm_back.h"

struct attr {
    float eps;
};

apus_tensor *apus_rms_norm(apus_graph *g, apus_tensor *x, apus_tensor *w, float eps)
{
    const struct attr attr = { eps };
    apus_node *n;

    if (!x || !w)
        return NULL;
    if (!apus_dtype_is_plain(x->dtype) || w->dtype != APUS_F32 ||
        apus_tensor_count(w) != apus_tensor_cols(x))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "rms_norm: %s has %u columns, weight %s has %u",
                               x->name, apus_tensor_cols(x), w->name, apus_tensor_cols(w));
    n = apus_graph_node(g, &apus_op_rms_norm, &attr, sizeof(attr), (apus_tensor *[]) { x, w }, 2);
    return apus_node_output(g, n, x->dtype, x->n_dims, x->dims, x->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *x = n->in[0];
    const struct attr *attr = n->attr;
    const uint32_t cols = apus_tensor_cols(x), rows = apus_tensor_rows(x);
    const apus_rows_arg live = apus_rows_arg_of(apus_rows_flat(x), rows);
    const struct apus_rms_norm_push push = {
        .x = apus_address(l, x),
        .w = apus_address(l, n->in[1]),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = cols,
        .eps = attr->eps,
    };
    apus_dispatch d = {
        .kernel = "rms_norm",
        .spec = { l->caps->subgroup, cols % 4 ? 1 : 4, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .live = apus_rows_flat(x),
        .live_tile = 1,
        .flops = 4.0 * rows * cols,
        .moved = 2.0 * (double)x->bytes,
    };

    apus_grid_1d(rows, 1, d.groups);
    if (d.groups[1] > 1)
        d.live = (apus_rows) { 0 };
    return apus_emit(l, &d);
}

float apus_rms_norm_eps(const apus_node *n)
{
    return ((const struct attr *)n->attr)->eps;
}

static void backward(apus_graph *g, apus_node *n)
{
    const struct attr *attr = n->attr;

    apus_rms_norm_back(g, n->in[0], n->in[1], n->out[0]->grad, attr->eps);
}

const apus_op_def apus_op_rms_norm = { "rms_norm", record, backward, true };
