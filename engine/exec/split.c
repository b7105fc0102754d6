/* split.c - which products are divided.  See split.h. */
#include "split.h"

#include "matmul.h"
#include "op.h"

apus_status apus_split(apus_graph *g, const apus_caps *caps, apus_narrow narrow, const char *force)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        apus_node *n = g->nodes[i];
        const uint32_t parts =
            n->op == &apus_op_matmul ? apus_matmul_parts(caps, narrow, force, n) : 1;
        if (parts > 1)
            apus_matmul_divide(g, n, parts);
    }
    return apus_graph_status(g);
}
