/* kv_append.c - this step's keys and values into the cache: builder and dispatch. */
#include "kv_append.h"

#include "args/kv_append.h"
#include "op.h"

struct attr {
    apus_kv_append_params p;
    uint32_t page_tokens, max_pages;
};

enum { IN_K, IN_V, IN_K_CACHE, IN_V_CACHE, IN_TABLE, IN_POS, IN_SEQ, IN_BASE, IN_PAGES, N_IN };

void apus_kv_append(apus_graph *g, apus_tensor *k, apus_tensor *v, apus_tensor *k_cache,
                    apus_tensor *v_cache, apus_tensor *table, const apus_sequences *s,
                    const apus_kv_append_params *p)
{
    const struct attr attr = { *p, s->page_tokens, s->max_pages };
    apus_node *n;

    if (!k || !v || !k_cache || !v_cache)
        return;
    if (apus_tensor_cols(k) != p->kv_heads * p->head_dim ||
        apus_tensor_cols(v) != apus_tensor_cols(k) ||
        apus_tensor_cols(k_cache) != apus_tensor_cols(k) || k_cache->dtype > APUS_BF16 ||
        v_cache->dtype != k_cache->dtype || !apus_dtype_is_plain(k->dtype) ||
        v->dtype != k->dtype || apus_tensor_cols(k) % 4) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "kv_append: %u columns, %u heads of %u",
                        apus_tensor_cols(k), p->kv_heads, p->head_dim);
        return;
    }
    n = apus_graph_node(
        g, &apus_op_kv_append, &attr, sizeof(attr),
        (apus_tensor *[]) { k, v, k_cache, v_cache, table, s->pos, s->seq, s->base, s->pages },
        N_IN);
    if (n)
        n->mutates = 1u << IN_K_CACHE | 1u << IN_V_CACHE;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *k = n->in[IN_K], *table = n->in[IN_TABLE];
    const apus_rows_arg rows = apus_rows_of(k);
    const struct apus_kv_append_push push = {
        .k = apus_address(l, k),
        .v = apus_address(l, n->in[IN_V]),
        .k_cache = apus_address(l, n->in[IN_K_CACHE]),
        .v_cache = apus_address(l, n->in[IN_V_CACHE]),
        .table = apus_address(l, table),
        .pos = apus_address(l, n->in[IN_POS]),
        .seq = apus_address(l, n->in[IN_SEQ]),
        .base = apus_address(l, n->in[IN_BASE]),
        .pages = apus_address(l, n->in[IN_PAGES]),
        .step = l->step,
        APUS_ROWS_VALUES(rows),
        .width = apus_tensor_cols(k),
        .head_dim = a->p.head_dim,
        .max_pages = a->max_pages,
        .max_pos = table ? apus_tensor_rows(table) : 1,
    };
    apus_dispatch d = {
        .kernel = "kv_append",
        .spec = { 64, n->in[IN_K_CACHE]->dtype, a->page_tokens, k->dtype },
        .n_spec = 4,
        .push = &push,
        .push_bytes = sizeof(push),
        .moved = 4.0 * (double)k->bytes,
    };

    apus_grid_1d(apus_tensor_count(k) / 4, 64, d.groups);
    return apus_emit(l, &d);
}

const apus_op_def apus_op_kv_append = { "kv_append", record, NULL, false };
