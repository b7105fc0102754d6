/* offload.c - copies of the host's matrices among the nodes.  See offload.h. */
#include "offload.h"

#include "fetch.h"
#include "matmul.h"
#include "op.h"

/* Which input of n lies in the host's memory and is read more than once; n_in: none. */
static uint32_t reread(const apus_node *n)
{
    apus_tensor *a, *b;
    uint32_t k = 0;

    if (n->op != &apus_op_matmul)
        return n->n_in;
    const apus_matmul_params p = apus_matmul_of(n, &a, &b);
    if (!b->place.host || p.kind == APUS_TN || apus_tensor_rows(a) <= APUS_FETCH_ROWS)
        return n->n_in;
    while (n->in[k] != b)
        k++;
    return k;
}

/* The nodes from n_nodes on are copies: each goes before the node before[i], in their order. */
static apus_status sort_in(apus_graph *g, uint32_t n_nodes, const uint32_t *before)
{
    apus_node **all = apus_calloc(g->n_nodes, sizeof(apus_node *));
    uint32_t n = 0, copy = n_nodes;

    if (!all)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n_nodes; i++) {
        while (copy < g->n_nodes && before[copy - n_nodes] == i)
            all[n++] = g->nodes[copy++];
        all[n++] = g->nodes[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        g->nodes[i] = all[i];
        all[i]->id = i;
    }
    apus_free(all);
    return APUS_OK;
}

apus_status apus_offload(apus_graph *g)
{
    const uint32_t n_nodes = g->n_nodes;
    uint32_t *before = apus_calloc(n_nodes + 1, sizeof(*before));
    const apus_node *last = NULL; /* the product before */
    apus_status st = APUS_OK;

    if (!before)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n_nodes; i++) {
        apus_node *n = g->nodes[i];
        const uint32_t k = reread(n);
        if (k == n->n_in)
            continue;
        before[g->n_nodes - n_nodes] = last ? last->id : i;
        g->prefix = n->name;
        n->in[k] = apus_fetch(g, n->in[k], last ? last->in[0] : NULL);
        APUS_TRY(apus_graph_status(g));
        last = n;
    }
    if (last)
        APUS_TRY(sort_in(g, n_nodes, before));
fail:
    apus_free(before);
    return st;
}
