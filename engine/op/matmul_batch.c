/* matmul_batch.c - several small products in one dispatch: builder, arguments. */
#include "matmul_batch.h"

#include <stdio.h>

#include "matmul_problem.h"

enum { IN_A, IN_B, IN_INTO, PER_PRODUCT };

static apus_dtype result_of(const apus_matmul_batch_params *p, uint32_t i)
{
    return p->product[i].into ? p->product[i].into->dtype : p->out;
}

/* Product i by itself; false: its shapes do not fit. */
static bool problem_of(const apus_matmul_batch_params *p, uint32_t i, apus_matmul_problem *out)
{
    const apus_tensor *a = p->product[i].a, *b = p->product[i].b, *into = p->product[i].into;
    uint32_t b_k;

    if (!a || !b)
        return false;
    apusi_matmul_shape(p->kind, a, b, result_of(p, i), out, &b_k);
    return out->k == b_k && apus_dtype_is_plain(a->dtype) && apus_dtype_is_weight(b->dtype) &&
           (p->kind != APUS_TN || apus_dtype_is_plain(b->dtype)) &&
           (!into || (p->kind == APUS_TN && apus_tensor_count(into) == (uint64_t)out->m * out->n));
}

/* Whether one of the products before i is added to the same tensor: they would race. */
static bool races(const apus_matmul_batch_params *p, uint32_t i)
{
    for (uint32_t k = 0; p->product[i].into && k < i; k++)
        if (apus_tensor_root(p->product[k].into, NULL) ==
            apus_tensor_root(p->product[i].into, NULL))
            return true;
    return false;
}

/* All of them go together: one kind, formats, live rows; each has an output or none has. */
static bool fits_shapes(const apus_matmul_batch_params *p)
{
    apus_matmul_problem first, other;

    if (p->n == 0 || p->n > APUS_BATCH_MOST || !apus_dtype_is_plain(p->out) ||
        !problem_of(p, 0, &first))
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        const apus_tensor *a = p->product[i].a;
        if (!problem_of(p, i, &other) || races(p, i) || other.a != first.a || other.b != first.b ||
            other.y != first.y || !p->product[i].into != !p->product[0].into ||
            apus_tensor_rows(a) != apus_tensor_rows(p->product[0].a) ||
            memcmp(&a->rows, &p->product[0].a->rows, sizeof(a->rows)))
            return false;
    }
    return p->product[0].into || p->n <= APUS_MAX_OUT;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* All products as one problem. */
static apus_matmul_problem problem_of_all(const apus_matmul_batch_params *p)
{
    apus_matmul_problem all, one;

    problem_of(p, 0, &all);
    all.batch = p->n;
    for (uint32_t i = 1; i < p->n; i++) {
        problem_of(p, i, &one);
        all.m = one.m > all.m ? one.m : all.m;
        all.n = one.n > all.n ? one.n : all.n;
        all.k = common_divisor(all.k, one.k);
        all.whole_m = common_divisor(all.whole_m, one.m);
        all.whole_n = common_divisor(all.whole_n, one.n);
    }
    return all;
}

apus_node *apus_matmul_batch(apus_graph *g, const apus_matmul_batch_params *p,
                             apus_tensor *out[APUS_BATCH_MOST])
{
    apus_tensor *in[PER_PRODUCT * APUS_BATCH_MOST] = { 0 };
    apus_matmul_problem one;

    for (uint32_t i = 0; i < APUS_BATCH_MOST; i++)
        out[i] = NULL;
    if (!fits_shapes(p))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "matmul_batch: %u products do not go together",
                               p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        in[PER_PRODUCT * i + IN_A] = p->product[i].a;
        in[PER_PRODUCT * i + IN_B] = p->product[i].b;
        in[PER_PRODUCT * i + IN_INTO] = p->product[i].into;
    }
    apus_node *n = apus_graph_node(g, &apus_op_matmul_batch, p, sizeof(*p), in, PER_PRODUCT * p->n);
    for (uint32_t i = 0; n && i < p->n; i++) {
        const apus_tensor *a = p->product[i].a;
        problem_of(p, i, &one);
        if (p->product[i].into)
            n->mutates |= 1u << (PER_PRODUCT * i + IN_INTO);
        else
            out[i] = apus_node_output(g, n, p->out, 2, (uint32_t[]) { one.m, one.n },
                                      p->kind == APUS_TN ? APUS_ROWS_ALL : a->rows);
    }
    return n;
}

bool apus_matmul_batch_fits(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_batch_params *p)
{
    apus_matmul_problem first, other;

    if (!fits_shapes(p))
        return false;
    problem_of(p, 0, &first);
    for (uint32_t i = 1; i < p->n; i++) {
        problem_of(p, i, &other);
        if (!apusi_matmul_alike(caps, narrow, force, &first, &other))
            return false;
    }
    return true;
}

static apus_status record(apus_lower *l, const apus_node *node)
{
    static const char *const kinds[] = { "nt", "nn", "tn" };
    const apus_matmul_batch_params *p = node->attr;
    const apus_matmul_problem all = problem_of_all(p);
    struct apus_matmul_push each[APUS_BATCH_MOST], push = { 0 };
    apus_dispatch d = { .push = &push,
                        .push_bytes = sizeof(push),
                        .live = p->kind == APUS_TN ? (apus_rows) { 0 }
                                                   : apus_rows_flat(p->product[0].a) };
    char what[96];

    for (uint32_t i = 0; i < p->n; i++) {
        const apus_tensor *a = p->product[i].a, *b = p->product[i].b, *into = p->product[i].into,
                          *y = into ? into : node->out[i];
        apus_matmul_problem one;
        problem_of(p, i, &one);
        each[i] = apusi_matmul_push(l, &one, a, b, y, p->product[i].alpha);
        each[i].acc = apus_address(l, into);
        d.flops += 2.0 * one.m * one.n * one.k;
        d.moved += (double)a->bytes + (double)b->bytes + (double)y->bytes;
        d.fixed += p->kind == APUS_TN ? (double)y->bytes : (double)b->bytes;
    }
    APUS_FORWARD(apus_emit_args(l, each, p->n * (uint32_t)sizeof(each[0]), &push.a));
    snprintf(what, sizeof(what), "%s %u of %ux%ux%u %s", kinds[p->kind], p->n, all.m, all.n, all.k,
             apus_dtype_of(all.b)->name);
    if (all.a != APUS_F32 || all.y != APUS_F32)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " (%s to %s)",
                 apus_dtype_of(all.a)->name, apus_dtype_of(all.y)->name);
    return apusi_matmul_emit(l, &all, what, &d);
}

const apus_op_def apus_op_matmul_batch = { "matmul_batch", record, NULL, false };
