/* embed_back.c - the gradient of an embedding table, without atomics. */
#include "embed_back.h"

#include "args/embed_back.h"
#include "op.h"

void apus_embed_back(apus_graph *g, apus_tensor *dy, const apus_embed_order *order,
                     apus_tensor *into)
{
    apus_node *n;

    if (!dy || !into)
        return;
    if (!order->ids || !order->starts || !order->order ||
        order->starts->dims[0] <= order->ids->dims[0] ||
        apus_tensor_cols(dy) != apus_tensor_cols(into)) {
        apus_graph_fail(g, APUS_ERR_ARG, "embed: the table is trained, but its rows have no order");
        return;
    }
    n = apus_graph_node(g, &apus_op_embed_back, NULL, 0,
                        (apus_tensor *[]) { dy, order->ids, order->starts, order->order, into }, 5);
    if (n)
        n->mutates = 1u << 4;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *ids = n->in[1], *into = n->in[4];
    const uint32_t cols = into->dims[1], local = 64;
    const struct apus_embed_back_push push = {
        .dy = apus_address(l, n->in[0]),
        .ids = apus_address(l, ids),
        .starts = apus_address(l, n->in[2]),
        .order = apus_address(l, n->in[3]),
        .into = apus_address(l, into),
        .step = l->step,
        .unique_var = APUS_VAR_UNIQUE,
        .cols = cols,
        .vocab = into->dims[0],
    };

    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "embed_back",
                            .spec = { local, n->in[0]->dtype },
                            .n_spec = 2,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .groups = { (uint32_t)apus_ceil_div(cols, local), ids->dims[0] },
                            .live = apus_rows_live(APUS_VAR_UNIQUE, ids->dims[0]),
                            .live_axis = 1,
                            .live_tile = 1,
                            .moved = (double)n->in[0]->bytes + 8.0 * ids->dims[0] * cols,
                        });
}

const apus_op_def apus_op_embed_back = { "embed_back", record, NULL, false };
