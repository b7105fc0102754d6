/* col_sum.c - sums of columns: builder and dispatch. */
#include "col_sum.h"

#include "args/col_sum.h"
#include "op.h"

void apus_col_sum(apus_graph *g, apus_tensor *x, apus_tensor *into)
{
    apus_node *n;

    if (!x || !into)
        return;
    if (!apus_dtype_is_plain(x->dtype) || apus_tensor_count(into) != apus_tensor_cols(x)) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "col_sum: %s has %u columns", x->name,
                        apus_tensor_cols(x));
        return;
    }
    n = apus_graph_node(g, &apus_op_col_sum, NULL, 0, (apus_tensor *[]) { x, into }, 2);
    if (n)
        n->mutates = 1u << 1;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *x = n->in[0];
    const uint32_t cols = apus_tensor_cols(x), rows = apus_tensor_rows(x);
    const apus_rows_arg live = apus_rows_arg_of(apus_rows_flat(x), rows);
    const struct apus_col_sum_push push = {
        .x = apus_address(l, x),
        .into = apus_address(l, n->in[1]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = cols,
    };
    const uint32_t local = l->caps->subgroup;

    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "col_sum",
                            .spec = { local, x->dtype },
                            .n_spec = 2,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .groups = { (uint32_t)apus_ceil_div(cols, local) },
                            .flops = (double)rows * cols,
                            .moved = (double)x->bytes,
                        });
}

const apus_op_def apus_op_col_sum = { "col_sum", record, NULL, false };
