/* embed.c - rows of a table by id: builder, dispatch, gradient rule. */
#include "embed.h"

#include "args/embed.h"
#include "embed_back.h"
#include "layout.h"
#include "op.h"

struct attr {
    apus_embed_order order; /* zeros where w is not trained */
};

apus_tensor *apus_embed(apus_graph *g, apus_tensor *ids, apus_tensor *w,
                        const apus_embed_order *order, apus_dtype type)
{
    const struct attr attr = { order ? *order : (apus_embed_order) { 0 } };
    apus_node *n;

    if (!ids || !w)
        return NULL;
    if (ids->dtype != APUS_U32 || w->n_dims != 2 || w->dims[1] % 4 ||
        !apus_dtype_is_weight(w->dtype))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "embed: table %s (%u, %u)", w->name, w->dims[0],
                               w->dims[1]);
    n = apus_graph_node(g, &apus_op_embed, &attr, sizeof(attr), (apus_tensor *[]) { ids, w }, 2);
    return apus_node_output(g, n, type, 2, (uint32_t[]) { ids->dims[0], w->dims[1] }, ids->rows);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *ids = n->in[0], *w = n->in[1];
    const apus_rows_arg live = apus_rows_of(ids);
    const uint32_t cols = w->dims[1];
    const struct apus_embed_push push = {
        .ids = apus_address(l, ids),
        .w = apus_address(l, w),
        .scales = apus_dtype_is_quant(w->dtype)
                      ? apus_address(l, w) + apus_layout_scales_at(w->dtype, w->dims[0], cols)
                      : 0,
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .cols = cols,
        .vocab = w->dims[0],
        .scale_words = apus_layout_scale_words(w->dtype, cols),
    };
    apus_dispatch d = {
        .kernel = "embed",
        .spec = { 64, w->dtype, n->out[0]->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .moved = 2.0 * (double)n->out[0]->bytes,
    };

    apus_grid_1d((uint64_t)ids->dims[0] * cols / 4, 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    const struct attr *attr = n->attr;

    if (n->in[1]->wants_grad)
        apus_embed_back(g, n->out[0]->grad, &attr->order, n->in[1]->grad_into);
}

const apus_op_def apus_op_embed = { "embed", record, backward, false };
