/* kv_append.c - queries turned, keys and values into the cache: builder and dispatch. */
#include "kv_append.h"

#include "args/kv_append.h"
#include "op.h"

struct attr {
    uint32_t head_dim, heads, kv_heads, page_tokens, max_pages;
    float eps;
};

enum {
    IN_Q,
    IN_K,
    IN_V,
    IN_K_CACHE,
    IN_V_CACHE,
    IN_TABLE,
    IN_POS,
    IN_SEQ,
    IN_BASE,
    IN_PAGES,
    IN_Q_NORM,
    IN_K_NORM,
    N_IN
};

static bool is_norm(const apus_tensor *w, uint32_t head_dim)
{
    return !w || (w->dtype == APUS_F32 && apus_tensor_count(w) == head_dim);
}

apus_tensor *apus_kv_append(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                            apus_tensor *k_cache, apus_tensor *v_cache, const apus_sequences *s,
                            const apus_kv_append_params *p)
{
    apus_node *n;

    if (!q || !k || !v || !k_cache || !v_cache)
        return NULL;
    const uint32_t e = p->head_dim, width = apus_tensor_cols(k);
    if (e % 4 || e == 0 || width != p->kv_heads * e || apus_tensor_cols(q) % e ||
        apus_tensor_cols(v) != width || apus_tensor_cols(k_cache) != width ||
        apus_tensor_cols(v_cache) != width || k_cache->dtype > APUS_BF16 ||
        v_cache->dtype != k_cache->dtype || !apus_dtype_is_plain(k->dtype) ||
        v->dtype != k->dtype || q->dtype != k->dtype || q->dims[0] != k->dims[0] ||
        (p->table && apus_tensor_cols(p->table) != e) || !is_norm(p->q_norm, e) ||
        !is_norm(p->k_norm, e))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "kv_append: %u columns, %u heads of %u", width,
                               p->kv_heads, e);
    const struct attr attr = {
        e, apus_tensor_cols(q) / e, p->kv_heads, s->page_tokens, s->max_pages, p->eps
    };
    n = apus_graph_node(g, &apus_op_kv_append, &attr, sizeof(attr),
                        (apus_tensor *[]) { q, k, v, k_cache, v_cache, p->table, s->pos, s->seq,
                                            s->base, s->pages, p->q_norm, p->k_norm },
                        N_IN);
    if (n)
        n->mutates = 1u << IN_K_CACHE | 1u << IN_V_CACHE;
    return apus_node_output(g, n, q->dtype, q->n_dims, q->dims, q->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *q = n->in[IN_Q], *k = n->in[IN_K], *table = n->in[IN_TABLE];
    const apus_rows_arg rows = apus_rows_of(q);
    const struct apus_kv_append_args args = {
        .q = apus_address(l, q),
        .k = apus_address(l, k),
        .v = apus_address(l, n->in[IN_V]),
        .q_out = apus_address(l, n->out[0]),
        .k_cache = apus_address(l, n->in[IN_K_CACHE]),
        .v_cache = apus_address(l, n->in[IN_V_CACHE]),
        .table = apus_address(l, table),
        .pos = apus_address(l, n->in[IN_POS]),
        .seq = apus_address(l, n->in[IN_SEQ]),
        .base = apus_address(l, n->in[IN_BASE]),
        .pages = apus_address(l, n->in[IN_PAGES]),
        .q_norm = apus_address(l, n->in[IN_Q_NORM]),
        .k_norm = apus_address(l, n->in[IN_K_NORM]),
        APUS_ROWS_VALUES(rows),
        .heads = a->heads,
        .kv_heads = a->kv_heads,
        .head_dim = a->head_dim,
        .max_pages = a->max_pages,
        .max_pos = table ? apus_tensor_rows(table) : 1,
        .eps = a->eps,
    };
    struct apus_kv_append_push push = { .step = l->step };
    apus_dispatch d = {
        .kernel = "kv_append",
        .spec = { l->caps->subgroup, n->in[IN_K_CACHE]->dtype, a->page_tokens, q->dtype },
        .n_spec = 4,
        .push = &push,
        .push_bytes = sizeof(push),
        .groups = { a->heads + 2 * a->kv_heads, q->dims[0] },
        .live = q->rows,
        .live_axis = 1,
        .live_tile = 1,
        .flops = 3.0 * (double)(apus_tensor_count(q) + apus_tensor_count(k)),
        .moved = 2.0 * (double)q->bytes + 4.0 * (double)k->bytes,
    };

    APUS_FORWARD(apus_emit_args(l, &args, sizeof(args), &push.args));
    return apus_emit(l, &d);
}

const apus_op_def apus_op_kv_append = { "kv_append", record, NULL, false };
