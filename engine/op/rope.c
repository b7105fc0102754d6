/* rope.c - rotary position embedding: builder, dispatch, gradient (the opposite angle). */
#include "rope.h"

#include "args/rope.h"
#include "op.h"

enum { IN_X, IN_TABLE, IN_POS, IN_X2, N_IN };

static bool is_turned(const apus_tensor *x, const apus_tensor *pos, const apus_rope_params *p)
{
    return apus_dtype_is_plain(x->dtype) && x->n_dims == 3 && x->dims[2] == p->head_dim &&
           pos->dims[0] == x->dims[0];
}

/* x and, unless it is NULL, x2. */
static apus_node *build(apus_graph *g, apus_tensor *x, apus_tensor *x2, apus_tensor *table,
                        apus_tensor *pos, const apus_rope_params *p)
{
    apus_node *n;

    if (!x || !table || !pos)
        return NULL;
    if (x->dtype != APUS_F32 && p->head_dim % 4)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "rope: heads of %u elements are not whole fours",
                               p->head_dim);
    if (!is_turned(x, pos, p) || (x2 && (!is_turned(x2, pos, p) || x2->dtype != x->dtype)) ||
        p->head_dim % 2 || apus_tensor_cols(table) != p->head_dim)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "rope: %s, head size %u", x->name, p->head_dim);
    n = apus_graph_node(g, &apus_op_rope, p, sizeof(*p), (apus_tensor *[]) { x, table, pos, x2 },
                        N_IN);
    apus_node_output(g, n, x->dtype, 3, x->dims, x->rows);
    if (x2)
        apus_node_output(g, n, x->dtype, 3, x2->dims, x2->rows);
    return n;
}

apus_tensor *apus_rope(apus_graph *g, apus_tensor *x, apus_tensor *table, apus_tensor *pos,
                       const apus_rope_params *p)
{
    const apus_node *n = build(g, x, NULL, table, pos, p);

    return n && n->n_out ? n->out[0] : NULL;
}

apus_node *apus_rope_both(apus_graph *g, const apus_node *first, const apus_node *second)
{
    return build(g, first->in[IN_X], second->in[IN_X], first->in[IN_TABLE], first->in[IN_POS],
                 first->attr);
}

bool apus_rope_alike(const apus_node *first, const apus_node *second)
{
    const apus_rope_params *a = first->attr, *b = second->attr;

    return first->op == &apus_op_rope && second->op == &apus_op_rope && !first->in[IN_X2] &&
           !second->in[IN_X2] && first->in[IN_TABLE] == second->in[IN_TABLE] &&
           first->in[IN_POS] == second->in[IN_POS] && a->head_dim == b->head_dim &&
           a->inverse == b->inverse && first->in[IN_X]->dtype == second->in[IN_X]->dtype &&
           !memcmp(&first->in[IN_X]->rows, &second->in[IN_X]->rows, sizeof(apus_rows));
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_rope_params *a = n->attr;
    const apus_tensor *x = n->in[IN_X], *x2 = n->in[IN_X2], *table = n->in[IN_TABLE];
    const apus_rows_arg rows = apus_rows_of(x);
    const uint64_t count = apus_tensor_count(x) + (x2 ? apus_tensor_count(x2) : 0);
    const uint32_t pairs = a->head_dim % 4 ? 1 : 2; /* an invocation */
    const struct apus_rope_push push = {
        .x = apus_address(l, x),
        .table = apus_address(l, table),
        .pos = apus_address(l, n->in[IN_POS]),
        .y = apus_address(l, n->out[0]),
        .step = l->step,
        .x2 = apus_address(l, x2),
        .y2 = x2 ? apus_address(l, n->out[1]) : 0,
        APUS_ROWS_VALUES(rows),
        .heads = x->dims[1],
        .heads2 = x2 ? x2->dims[1] : 0,
        .head_dim = x->dims[2],
        .max_pos = apus_tensor_rows(table),
        .sign = a->inverse ? -1.0f : 1.0f,
    };
    apus_dispatch d = {
        .kernel = "rope",
        .spec = { 64, pairs, x->dtype },
        .n_spec = 3,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 3.0 * (double)count,
        .moved = 2.0 * (double)(x->bytes + (x2 ? x2->bytes : 0)),
    };

    apus_grid_1d(count / 2 / pairs, 64, d.groups);
    return apus_emit(l, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    const apus_rope_params *a = n->attr;

    if (n->in[IN_X2]) {
        apus_graph_fail(g, APUS_ERR_ARG, "rope: two tensors in one have no gradient");
        return;
    }
    if (n->in[IN_X]->wants_grad)
        apus_add_grad(g, n->in[IN_X],
                      apus_rope(g, n->out[0]->grad, n->in[IN_TABLE], n->in[IN_POS],
                                &(apus_rope_params) { a->head_dim, !a->inverse }));
}

const apus_op_def apus_op_rope = { "rope", record, backward, false };
