/* zeros.c - a tensor of zeros, filled by a transfer command. */
#include "zeros.h"

#include "op.h"

apus_tensor *apus_zeros(apus_graph *g, apus_dtype type, uint32_t n_dims, const uint32_t *dims,
                        apus_rows rows)
{
    apus_node *n = apus_graph_node(g, &apus_op_zeros, NULL, 0, NULL, 0);

    return apus_node_output(g, n, type, n_dims, dims, rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    return apus_emit_fill(l, n->out[0], 0);
}

const apus_op_def apus_op_zeros = { "zeros", record, NULL, false };
