/* swiglu.c - the gate of a gated MLP: builder, dispatch, gradient rule. */
#include "swiglu.h"

#include "op.h"
#include "swiglu_back.h"

struct attr {
    uint32_t gate;
};

static apus_tensor *build(apus_graph *g, apus_tensor *gate, apus_tensor *up, uint32_t which)
{
    const struct attr attr = { which };
    apus_node *n;

    if (!gate || !up)
        return NULL;
    if (!apus_dtype_is_plain(gate->dtype) || up->dtype != gate->dtype ||
        gate->n_dims != up->n_dims ||
        memcmp(gate->dims, up->dims, gate->n_dims * sizeof(gate->dims[0])))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "swiglu: %s and %s differ", gate->name, up->name);
    n = apus_graph_node(g, &apus_op_swiglu, &attr, sizeof(attr), (apus_tensor *[]) { gate, up }, 2);
    return apus_node_output(g, n, gate->dtype, gate->n_dims, gate->dims, gate->rows);
}

apus_tensor *apus_swiglu(apus_graph *g, apus_tensor *gate, apus_tensor *up)
{
    return build(g, gate, up, APUS_GATE_SILU);
}

apus_tensor *apus_geglu(apus_graph *g, apus_tensor *gate, apus_tensor *up)
{
    return build(g, gate, up, APUS_GATE_GELU);
}

uint32_t apus_swiglu_gate(const apus_node *n)
{
    return ((const struct attr *)n->attr)->gate;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *y = n->out[0];
    const apus_rows_arg rows = apus_rows_of(y);
    const uint64_t count = apus_tensor_count(y);
    const struct apus_swiglu_push push = {
        .gate = apus_address(l, n->in[0]),
        .up = apus_address(l, n->in[1]),
        .y = apus_address(l, y),
        .step = l->step,
        APUS_ROWS_VALUES(rows),
        .cols = (uint32_t)(count / ((uint64_t)rows.max * rows.mul)),
    };
    apus_dispatch d = {
        .kernel = "swiglu",
        .spec = { 64, y->dtype, apus_swiglu_gate(n) },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 4.0 * (double)count,
        .moved = 3.0 * (double)y->bytes,
    };

    apus_grid_1d(apus_ceil_div(count, 4), 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    apus_swiglu_back(g, apus_swiglu_gate(n), n->in[0], n->in[1], n->out[0]->grad);
}

const apus_op_def apus_op_swiglu = { "swiglu", record, backward, true };
