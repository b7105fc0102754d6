/* fetch.c - a copy of bytes: builder and dispatch. */
#include "fetch.h"

#include "args/fetch.h"
#include "op.h"

enum { IN_X, IN_BESIDE, N_IN };

apus_tensor *apus_fetch(apus_graph *g, apus_tensor *x, apus_tensor *beside)
{
    apus_node *n;

    if (!x)
        return NULL;
    n = apus_graph_node(g, &apus_op_fetch, NULL, 0, (apus_tensor *[]) { x, beside }, N_IN);
    return apus_node_output(g, n, x->dtype, x->n_dims, x->dims, x->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *x = n->in[IN_X];
    const struct apus_fetch_push push = {
        .x = apus_address(l, x),
        .y = apus_address(l, n->out[0]),
        .words = (uint32_t)apus_ceil_div(x->bytes, 4),
    };
    apus_dispatch d = {
        .kernel = "fetch",
        .spec = { 64 },
        .n_spec = 1,
        .push = &push,
        .push_bytes = sizeof(push),
        .moved = 2.0 * (double)x->bytes,
        .fixed = 2.0 * (double)x->bytes,
    };

    apus_grid_1d(apus_ceil_div(push.words, 4), 64, d.groups);
    return apus_emit(l, &d);
}

const apus_op_def apus_op_fetch = { "fetch", record, NULL, false };
