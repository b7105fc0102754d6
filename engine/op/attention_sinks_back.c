/* attention_sinks_back.c - gradient of attention's sinks: builder and dispatch. */
#include "attention_sinks_back.h"

#include "args/attention_sinks_back.h"
#include "op.h"

void apus_attention_sinks_back(apus_graph *g, apus_tensor *sinks, apus_tensor *lse,
                               apus_tensor *dot)
{
    apus_node *n;

    if (!sinks || !lse || !dot)
        return;
    if (!sinks->grad_into) {
        apus_graph_fail(g, APUS_ERR_ARG, "attention: %s has no buffer for its gradient",
                        sinks->name);
        return;
    }
    if (apus_tensor_cols(lse) != apus_tensor_count(sinks) ||
        apus_tensor_count(dot) != apus_tensor_count(lse)) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "attention: %s has %u sinks, the step %u heads",
                        sinks->name, (uint32_t)apus_tensor_count(sinks), apus_tensor_cols(lse));
        return;
    }
    n = apus_graph_node(g, &apus_op_attention_sinks_back, NULL, 0,
                        (apus_tensor *[]) { sinks, lse, dot, sinks->grad_into }, 4);
    if (n)
        n->mutates = 1u << 3;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *lse = n->in[1];
    const uint32_t heads = apus_tensor_cols(lse);
    const apus_rows_arg live = apus_rows_of(lse);
    const struct apus_attention_sinks_back_push push = {
        .sinks = apus_address(l, n->in[0]),
        .lse = apus_address(l, lse),
        .dot = apus_address(l, n->in[2]),
        .into = apus_address(l, n->in[3]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .heads = heads,
    };

    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "attention_sinks_back",
                            .spec = { l->caps->subgroup },
                            .n_spec = 1,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .groups = { heads },
                            .flops = 4.0 * (double)apus_tensor_count(lse),
                            .moved = 2.0 * (double)lse->bytes,
                        });
}

const apus_op_def apus_op_attention_sinks_back = { "attention_sinks_back", record, NULL, false };
