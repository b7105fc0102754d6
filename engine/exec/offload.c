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

/* The last product before n that is no trifle beside a matrix of so many bytes: what a copy of that
 * can run beside; NULL: none. */
static const apus_node *product_before(const apus_graph *g, const apus_node *n, uint64_t bytes)
{
    apus_tensor *a, *b;

    for (uint32_t i = n->id; i-- > 0;) {
        if (g->nodes[i]->op != &apus_op_matmul)
            continue;
        const apus_matmul_params p = apus_matmul_of(g->nodes[i], &a, &b);
        if (p.kind != APUS_TN && b->bytes >= bytes / 4 && apus_tensor_rows(a) > APUS_FETCH_ROWS)
            return g->nodes[i];
    }
    return NULL;
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
    const char *prefix = g->prefix;
    uint32_t *before = apus_calloc(n_nodes + 1, sizeof(*before)), at = 0;
    apus_status st = APUS_OK;

    if (!before)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n_nodes; i++) {
        apus_node *n = g->nodes[i];
        const uint32_t k = reread(n);
        if (k == n->n_in)
            continue;
        const apus_node *beside = product_before(g, n, n->in[k]->bytes);
        const uint32_t place = beside ? beside->id : i;
        at = place > at ? place : at; /* copies keep the order of their products */
        before[g->n_nodes - n_nodes] = at;
        g->prefix = n->name;
        n->in[k] = apus_fetch(g, n->in[k], beside ? g->nodes[at]->in[0] : NULL);
        APUS_TRY(apus_graph_status(g));
    }
    if (g->n_nodes > n_nodes)
        APUS_TRY(sort_in(g, n_nodes, before));
fail:
    g->prefix = prefix;
    apus_free(before);
    return st;
}
