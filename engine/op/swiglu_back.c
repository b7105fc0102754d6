/* swiglu_back.c - the gradient of swiglu: both inputs in one pass. */
#include "swiglu_back.h"

#include "args/swiglu_back.h"
#include "op.h"

struct attr {
    uint32_t gate;
};

void apus_swiglu_back(apus_graph *g, uint32_t which, apus_tensor *gate, apus_tensor *up,
                      apus_tensor *dy)
{
    const struct attr attr = { which };
    apus_node *n;

    if (!gate || !up || !dy)
        return;
    if (dy->dtype != gate->dtype || up->dtype != gate->dtype) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "swiglu: the gradient of %s has another format",
                        gate->name);
        return;
    }
    n = apus_graph_node(g, &apus_op_swiglu_back, &attr, sizeof(attr),
                        (apus_tensor *[]) { gate, up, dy }, 3);
    apus_tensor *d_gate = apus_node_output(g, n, gate->dtype, gate->n_dims, gate->dims, gate->rows);
    apus_tensor *d_up = apus_node_output(g, n, up->dtype, up->n_dims, up->dims, up->rows);
    apus_add_grad(g, gate, d_gate);
    apus_add_grad(g, up, d_up);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *dy = n->in[2];
    const apus_rows_arg rows = apus_rows_of(n->out[0]);
    const uint64_t count = apus_tensor_count(dy);
    const struct apus_swiglu_back_push push = {
        .gate = apus_address(l, n->in[0]),
        .up = apus_address(l, n->in[1]),
        .dy = apus_address(l, dy),
        .d_gate = apus_address(l, n->out[0]),
        .d_up = apus_address(l, n->out[1]),
        .step = l->step,
        APUS_ROWS_VALUES(rows),
        .cols = (uint32_t)(count / ((uint64_t)rows.max * rows.mul)),
    };
    apus_dispatch d = {
        .kernel = "swiglu_back",
        .spec = { 64, dy->dtype, a->gate },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 10.0 * (double)count,
        .moved = 5.0 * (double)dy->bytes,
    };

    apus_grid_1d(apus_ceil_div(count, 4), 64, d.groups);
    return apus_emit(l, &d);
}

const apus_op_def apus_op_swiglu_back = { "swiglu_back", record, NULL, false };
