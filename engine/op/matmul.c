/* matmul.c - matrix products: builder, arguments, gradient rule (algorithms:
 * matmul_algorithms.c). */
#include "matmul.h"

#include <stdio.h>

#include "col_sum.h"
#include "layout.h"
#include "matmul_problem.h"
#include "op.h"

struct attr {
    apus_matmul_kind kind;
    float alpha, beta;
    uint32_t parts; /* > 1: the last output has their sums */
};

enum { IN_A, IN_B, IN_BIAS, IN_ACC, IN_INTO, IN_A2, IN_B2, N_IN };

static const char *const kind_names[] = { "nt", "nn", "tn" };

void apusi_matmul_shape(apus_matmul_kind kind, const apus_tensor *a, const apus_tensor *b,
                        apus_dtype out, apus_matmul_problem *p, uint32_t *b_k)
{
    const uint32_t a_rows = apus_tensor_rows(a), a_cols = apus_tensor_cols(a);
    const uint32_t b_rows = apus_tensor_rows(b), b_cols = apus_tensor_cols(b);

    p->kind = kind;
    p->b = b->dtype;
    p->a = a->dtype;
    p->y = out;
    p->m = kind == APUS_TN ? a_cols : a_rows;
    p->k = kind == APUS_TN ? a_rows : a_cols;
    p->n = kind == APUS_NT ? b_rows : b_cols;
    p->k2 = 0;
    p->gate = p->norm = false;
    p->batch = p->parts = 0;
    p->sums = 0;
    p->whole_m = p->m;
    p->whole_n = p->n;
    *b_k = kind == APUS_NT ? b_cols : b_rows;
}

/* Whether the second product, if there is one, has the shape of the first. */
static bool second_fits(const apus_matmul_problem *p, const apus_matmul_params *params)
{
    const apus_tensor *a = params->a2, *b = params->b2;

    if (!a && !b)
        return true;
    if (!a || !b || p->kind == APUS_TN || a->dtype != APUS_F32 || b->dtype != APUS_F32)
        return false;
    const uint32_t k = apus_tensor_cols(a);
    return apus_tensor_rows(a) == p->m && apus_tensor_cols(b) == (p->kind == APUS_NT ? k : p->n) &&
           apus_tensor_rows(b) == (p->kind == APUS_NT ? p->n : k);
}

apus_tensor *apus_matmul(apus_graph *g, apus_tensor *a, apus_tensor *b,
                         const apus_matmul_params *params)
{
    const struct attr attr = { params->kind, params->alpha == 0.0f ? 1.0f : params->alpha,
                               params->beta };
    const apus_dtype out = params->into ? params->into->dtype : params->out;
    apus_matmul_problem p;
    uint32_t b_k, dims[APUS_MAX_DIMS], n_dims = 2;
    apus_node *n;

    if (!a || !b)
        return NULL;
    apusi_matmul_shape(params->kind, a, b, out, &p, &b_k);
    if (!apus_dtype_is_plain(a->dtype) || !apus_dtype_is_plain(out) || p.k != b_k ||
        !apus_dtype_is_weight(b->dtype) ||
        (params->kind == APUS_TN && !apus_dtype_is_plain(b->dtype)) ||
        (params->bias && apus_tensor_count(params->bias) != p.n) ||
        (params->acc &&
         (apus_tensor_count(params->acc) != (uint64_t)p.m * p.n || params->acc->dtype != out)) ||
        (params->into && apus_tensor_count(params->into) != (uint64_t)p.m * p.n) ||
        (params->parts > 1 && (p.kind == APUS_TN || p.n % 4)) || !second_fits(&p, params))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "matmul %s: %s (%u x %u) and %s (%u x %u)",
                               kind_names[params->kind], a->name, apus_tensor_rows(a),
                               apus_tensor_cols(a), b->name, apus_tensor_rows(b),
                               apus_tensor_cols(b));
    n = apus_graph_node(
        g, &apus_op_matmul, &attr, sizeof(attr),
        (apus_tensor *[]) { a, b, params->bias, params->acc, params->into, params->a2, params->b2 },
        N_IN);
    if (!n)
        return NULL;
    if (params->into) {
        n->mutates = 1u << IN_INTO;
    } else {
        if (params->kind == APUS_TN) {
            dims[0] = p.m;
        } else {
            n_dims = a->n_dims;
            memcpy(dims, a->dims, sizeof(dims));
        }
        dims[n_dims - 1] = p.n;
        apus_node_output(g, n, out, n_dims, dims,
                         params->kind == APUS_TN ? APUS_ROWS_ALL : a->rows);
    }
    if (params->parts > 1 && g->status == APUS_OK)
        apus_matmul_divide(g, n, params->parts);
    if (g->status != APUS_OK)
        return NULL;
    return params->into ? params->into : n->out[0];
}

/* The product that a node is. */
static apus_matmul_problem problem_of(const apus_node *n)
{
    const struct attr *attr = n->attr;
    const apus_tensor *y = n->in[IN_INTO] ? n->in[IN_INTO] : n->out[0];
    apus_matmul_problem p;
    uint32_t b_k;

    apusi_matmul_shape(attr->kind, n->in[IN_A], n->in[IN_B], y->dtype, &p, &b_k);
    p.k2 = n->in[IN_A2] ? apus_tensor_cols(n->in[IN_A2]) : 0;
    return p;
}

uint32_t apus_matmul_parts(const apus_caps *caps, apus_narrow narrow, const char *force,
                           const apus_node *n)
{
    const struct attr *attr = n->attr;
    const apus_matmul_problem p = problem_of(n);

    if (attr->parts > 1)
        return 1;
    return apusi_matmul_parts(caps, narrow, force, &p);
}

void apus_matmul_divide(apus_graph *g, apus_node *n, uint32_t parts)
{
    const apus_matmul_problem p = problem_of(n);
    struct attr *attr = apus_arena_alloc(&g->arena, sizeof(*attr)); /* copies of n share the old */
    apus_tensor *sums =
        apus_node_output(g, n, APUS_F32, 3, (uint32_t[]) { parts, p.m, p.n }, APUS_ROWS_ALL);

    if (!attr || !sums) {
        apus_graph_fail(g, APUS_ERR_MEMORY, "out of host memory building a graph");
        return;
    }
    *attr = *(const struct attr *)n->attr;
    attr->parts = parts;
    n->attr = attr;
    sums->wants_grad = false;
}

apus_matmul_params apus_matmul_of(const apus_node *n, apus_tensor **a, apus_tensor **b)
{
    const struct attr *attr = n->attr;

    *a = n->in[IN_A];
    *b = n->in[IN_B];
    return (apus_matmul_params) { .kind = attr->kind,
                                  .alpha = attr->alpha,
                                  .bias = n->in[IN_BIAS],
                                  .out = n->in[IN_INTO] ? n->in[IN_INTO]->dtype : n->out[0]->dtype,
                                  .acc = n->in[IN_ACC],
                                  .a2 = n->in[IN_A2],
                                  .b2 = n->in[IN_B2],
                                  .beta = attr->beta,
                                  .parts = attr->parts,
                                  .into = n->in[IN_INTO] };
}

struct apus_matmul_push apusi_matmul_push(const apus_lower *l, const apus_matmul_problem *p,
                                          const apus_tensor *a, const apus_tensor *b,
                                          const apus_tensor *y, float alpha)
{
    const apus_rows_arg live = apus_rows_arg_of(apus_rows_flat(a), apus_tensor_rows(a));

    return (struct apus_matmul_push) {
        .a = apus_address(l, a),
        .b = apus_address(l, b),
        .scales = apus_dtype_is_quant(p->b)
                      ? apus_address(l, b) +
                            apus_layout_scales_at(p->b, apus_tensor_rows(b), apus_tensor_cols(b))
                      : 0,
        .y = apus_address(l, y),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .m = p->m,
        .n = p->n,
        .k = p->k,
        .scale_words = apus_layout_scale_words(p->b, apus_tensor_cols(b)),
        .alpha = alpha,
    };
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *a = n->in[IN_A], *b = n->in[IN_B], *acc = n->in[IN_ACC];
    const apus_tensor *y = n->in[IN_INTO] ? n->in[IN_INTO] : n->out[0];
    const apus_tensor *a2 = n->in[IN_A2], *b2 = n->in[IN_B2];
    const struct attr *attr = n->attr;
    apus_matmul_problem p = problem_of(n);
    char what[96];

    if (attr->parts > 1) {
        p.parts = attr->parts;
        p.sums = apus_address(l, n->out[n->n_out - 1]);
    }
    snprintf(what, sizeof(what), "%s %ux%ux%u %s", kind_names[p.kind], p.m, p.n, p.k,
             apus_dtype_of(p.b)->name);
    if (a2)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " + %u f32", p.k2);
    if (p.a != APUS_F32 || p.y != APUS_F32)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " (%s to %s)",
                 apus_dtype_of(p.a)->name, apus_dtype_of(p.y)->name);
    if (p.parts > 1)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " in %u parts", p.parts);
    struct apus_matmul_push push = apusi_matmul_push(l, &p, a, b, y, attr->alpha);
    push.acc = apus_address(l, acc);
    push.bias = apus_address(l, n->in[IN_BIAS]);
    push.a2 = apus_address(l, a2);
    push.b2 = apus_address(l, b2);
    push.k2 = p.k2;
    push.beta = attr->beta / attr->alpha;
    apus_dispatch d = {
        .push = &push,
        .push_bytes = sizeof(push),
        .live = p.kind == APUS_TN ? (apus_rows) { 0 } : apus_rows_flat(a),
        .flops = 2.0 * p.m * p.n * (p.k + p.k2),
        .moved = (double)b->bytes + (double)a->bytes + (double)y->bytes +
                 (a2 ? (double)a2->bytes + (double)b2->bytes : 0),
        .fixed = p.kind == APUS_TN ? (double)y->bytes : (double)b->bytes,
    };
    return apusi_matmul_emit(l, &p, what, &d);
}

static void backward(apus_graph *g, apus_node *n)
{
    const struct attr *attr = n->attr;
    apus_tensor *a = n->in[IN_A], *b = n->in[IN_B], *bias = n->in[IN_BIAS], *acc = n->in[IN_ACC];
    apus_tensor *dy = n->out[0]->grad;

    if (attr->kind != APUS_NT || n->in[IN_A2]) {
        apus_graph_fail(g, APUS_ERR_ARG, "matmul %s has no gradient", kind_names[attr->kind]);
        return;
    }
    if (b->wants_grad)
        apus_matmul(
            g, dy, a,
            &(apus_matmul_params) {
                .kind = APUS_TN, .alpha = attr->alpha, .acc = b->grad_into, .into = b->grad_into });
    if (bias && bias->wants_grad)
        apus_col_sum(g, dy, bias->grad_into);
    if (acc)
        apus_add_grad(g, acc, dy);
    if (a->wants_grad)
        apus_set_grad(a, apus_matmul(g, dy, b,
                                     &(apus_matmul_params) { .kind = APUS_NN,
                                                             .alpha = attr->alpha,
                                                             .out = a->dtype,
                                                             .acc = a->grad }));
}

const apus_op_def apus_op_matmul = { "matmul", record, backward, false, &apusi_matmul_choices };
