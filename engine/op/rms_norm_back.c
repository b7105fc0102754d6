/* rms_norm_back.c - gradient of rms_norm with respect to its input (with the sum of what was there)
 * and to its weight (added to the persistent buffer). */
#include "rms_norm_back.h"

#include "args/rms_norm_back.h"
#include "op.h"

struct attr {
    float eps;
    bool of_weight;
};

void apus_rms_norm_back(apus_graph *g, apus_tensor *x, apus_tensor *w, apus_tensor *dy, float eps)
{
    struct attr attr = { eps, true };
    apus_node *n;

    if (!x || !w || !dy)
        return;
    if (dy->dtype != x->dtype) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "rms_norm: the gradient of %s has another format",
                        x->name);
        return;
    }
    if (w->wants_grad) {
        n = apus_graph_node(g, &apus_op_rms_norm_back, &attr, sizeof(attr),
                            (apus_tensor *[]) { x, w, dy, w->grad_into }, 4);
        if (n)
            n->mutates = 1u << 3;
    }
    if (!x->wants_grad)
        return;
    attr.of_weight = false;
    n = apus_graph_node(g, &apus_op_rms_norm_back, &attr, sizeof(attr),
                        (apus_tensor *[]) { x, w, dy, x->grad }, 4);
    apus_set_grad(x, apus_node_output(g, n, x->dtype, x->n_dims, x->dims, x->rows));
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *x = n->in[0];
    const struct attr *attr = n->attr;
    const uint32_t cols = apus_tensor_cols(x), rows = apus_tensor_rows(x);
    const apus_rows_arg live = apus_rows_arg_of(apus_rows_flat(x), rows);
    const struct apus_rms_norm_back_push push = {
        .x = apus_address(l, x),
        .w = apus_address(l, n->in[1]),
        .dy = apus_address(l, n->in[2]),
        .acc = apus_address(l, n->in[3]),
        .dx = apus_address(l, attr->of_weight ? n->in[3] : n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = cols,
        .eps = attr->eps,
    };
    apus_dispatch d = {
        .kernel = attr->of_weight ? "rms_norm_back_weight" : "rms_norm_back",
        .spec = { l->caps->subgroup, cols % 4 ? 1 : 4, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 8.0 * rows * cols,
        .moved = 4.0 * (double)x->bytes,
    };

    if (attr->of_weight) {
        d.spec[1] = x->dtype;
        d.n_spec = 2;
        d.groups[0] = (uint32_t)apus_ceil_div(cols, l->caps->subgroup);
        return apus_emit(l, &d);
    }
    apus_grid_1d(rows, 1, d.groups);
    if (d.groups[1] <= 1) {
        d.live = apus_rows_flat(x);
        d.live_tile = 1;
    }
    return apus_emit(l, &d);
}

const apus_op_def apus_op_rms_norm_back = { "rms_norm_back", record, NULL, false };
