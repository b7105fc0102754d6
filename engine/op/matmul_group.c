/* matmul_group.c - several products of the same few rows: builder and dispatches. */
#include "matmul_group.h"

#include <stdio.h>

#include "args/lora.h"
#include "layout.h"
#include "matmul_problem.h"

_Static_assert(APUS_GROUP_MOST == APUS_MATMUL_MEMBERS && APUS_GROUP_MOST == APUS_LORA_MODULES,
               "members of a group are those of its kernels");

enum { IN_X, IN_NORM, IN_TABLE, IN_INDEX, IN_FIRST, PER_MEMBER = 3 };

static uint32_t count_adapted(const apus_matmul_group_params *p)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->n; i++)
        n += p->member[i].adapted;
    return n;
}

static bool fits_shapes(const apus_tensor *x, const apus_matmul_group_params *p)
{
    const uint32_t k = apus_tensor_cols(x), m = apus_tensor_rows(x);

    if (!apus_dtype_is_plain(x->dtype) || !apus_dtype_is_plain(p->out) || p->n == 0 ||
        p->n > APUS_GROUP_MOST || (p->gate && p->n != 2) ||
        (p->norm && (p->norm->dtype != APUS_F32 || apus_tensor_count(p->norm) != k)) ||
        (count_adapted(p) &&
         (x->dims[0] > APUSI_LORA_FEW || !p->lora.table || !p->lora.index || p->lora.rank == 0 ||
          k % 4 || x->n_dims != 2 || p->lora.index->dims[0] < x->dims[0])))
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        const apus_tensor *b = p->member[i].b, *bias = p->member[i].bias, *acc = p->member[i].acc;
        if (!b || apus_tensor_cols(b) != k || !apus_dtype_is_weight(b->dtype))
            return false;
        const uint64_t n = apus_tensor_rows(b);
        if ((bias && apus_tensor_count(bias) != n) ||
            (acc && (apus_tensor_count(acc) != n * m || acc->dtype != p->out)) ||
            (p->gate && (bias || acc || b->dtype != p->member[0].b->dtype ||
                         n != apus_tensor_rows(p->member[0].b))))
            return false;
    }
    return true;
}

apus_node *apus_matmul_group(apus_graph *g, apus_tensor *x, const apus_matmul_group_params *p,
                             apus_tensor *out[APUS_GROUP_MOST])
{
    const uint32_t adapted = x && fits_shapes(x, p) ? count_adapted(p) : 0;
    apus_tensor *in[IN_FIRST + PER_MEMBER * APUS_GROUP_MOST] = { x, p->norm };
    uint32_t dims[APUS_MAX_DIMS];

    for (uint32_t i = 0; i < APUS_GROUP_MOST; i++)
        out[i] = NULL;
    if (!x)
        return NULL;
    if (!fits_shapes(x, p))
        return apus_graph_fail(g, APUS_ERR_SHAPE, "matmul_group: %s (%u x %u), %u matrices",
                               x->name, apus_tensor_rows(x), apus_tensor_cols(x), p->n);
    in[IN_TABLE] = adapted ? p->lora.table : NULL;
    in[IN_INDEX] = adapted ? p->lora.index : NULL;
    for (uint32_t i = 0; i < p->n; i++) {
        in[IN_FIRST + PER_MEMBER * i] = p->member[i].b;
        in[IN_FIRST + PER_MEMBER * i + 1] = p->member[i].bias;
        in[IN_FIRST + PER_MEMBER * i + 2] = p->member[i].acc;
    }
    apus_node *n =
        apus_graph_node(g, &apus_op_matmul_group, p, sizeof(*p), in, IN_FIRST + PER_MEMBER * p->n);
    memcpy(dims, x->dims, sizeof(dims));
    for (uint32_t i = 0; i < (p->gate ? 1 : p->n); i++) {
        dims[x->n_dims - 1] = apus_tensor_rows(p->member[i].b);
        out[i] = apus_node_output(g, n, p->out, x->n_dims, dims, x->rows);
    }
    if (adapted) /* the low-rank halves */
        apus_node_output(g, n, APUS_F32, 2, (uint32_t[]) { x->dims[0], adapted * p->lora.rank },
                         x->rows);
    return n;
}

const apus_matmul_group_params *apus_matmul_group_of(const apus_node *n)
{
    return n->attr;
}

/* The product of x with the members that have the format of member `first`; k and rows of a
 * group are those of one matrix, n is that of all. */
static apus_matmul_problem problem_of(const apus_tensor *x, const apus_matmul_group_params *p,
                                      uint32_t first)
{
    const apus_dtype format = p->member[first].b->dtype;
    apus_matmul_problem problem;
    uint32_t b_k, n = 0;

    for (uint32_t i = first; i < p->n; i++)
        if (p->member[i].b->dtype == format)
            n += apus_tensor_rows(p->member[i].b);
    apusi_matmul_shape(APUS_NT, x, p->member[first].b, p->out, &problem, &b_k);
    problem.n = n;
    problem.gate = p->gate != 0;
    problem.norm = p->norm != NULL;
    return problem;
}

/* Whether a member before has the format of member i. */
static bool seen_before(const apus_matmul_group_params *p, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (p->member[k].b->dtype == p->member[i].b->dtype)
            return true;
    return false;
}

bool apus_matmul_group_fits(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_tensor *x, const apus_matmul_group_params *p)
{
    if (!fits_shapes(x, p))
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        const apus_matmul_problem problem = problem_of(x, p, i);
        if (!seen_before(p, i) && !apusi_matmul_few_takes(caps, narrow, force, &problem))
            return false;
    }
    return true;
}

/* The low-rank halves of all adapted members; `h` is the group's last output. */
static apus_status record_halves(apus_lower *l, const apus_node *node,
                                 const apus_matmul_group_params *p)
{
    apusi_lora_few few = { .x = node->in[IN_X],
                           .table = node->in[IN_TABLE],
                           .index = node->in[IN_INDEX],
                           .norm = p->norm,
                           .eps = p->eps,
                           .h = node->out[node->n_out - 1],
                           .slots = p->lora.slots,
                           .rank = p->lora.rank };

    for (uint32_t i = 0; i < p->n; i++)
        if (p->member[i].adapted)
            few.module[few.n++] = p->member[i].module;
    return apusi_lora_few_emit(l, &few);
}

/* Member i among those of a dispatch, and what it reads and writes. */
static void add_member(apus_lower *l, const apus_node *node, const apus_matmul_group_params *p,
                       uint32_t i, apusi_few *few, apus_dispatch *d, apus_access *access)
{
    const apus_tensor *b = p->member[i].b, *bias = p->member[i].bias, *acc = p->member[i].acc;
    const apus_tensor *y = node->out[p->gate ? 0 : i];
    const uint32_t rows = apus_tensor_rows(b), k = apus_tensor_cols(b);
    struct apus_matmul_member *m = &few->member[few->n++];

    *m = (struct apus_matmul_member) {
        .b = apus_address(l, b),
        .scales = apus_dtype_is_quant(b->dtype)
                      ? apus_address(l, b) + apus_layout_scales_at(b->dtype, rows, k)
                      : 0,
        .y = apus_address(l, y),
        .acc = apus_address(l, acc),
        .bias = apus_address(l, bias),
        .n = rows,
    };
    if (p->member[i].adapted) {
        m->entry = apusi_lora_entry(l, node->in[IN_TABLE], p->member[i].module, p->lora.slots);
        for (uint32_t k2 = 0; k2 < i; k2++)
            m->h_at += p->member[k2].adapted ? p->lora.rank : 0;
        few->adapted = true;
    }
    access[d->n_access++] = apus_reads(l, b);
    if (bias)
        access[d->n_access++] = apus_reads(l, bias);
    if (acc)
        access[d->n_access++] = apus_reads(l, acc);
    if (!p->gate || few->n == 1) {
        access[d->n_access++] = apus_writes(l, y);
        d->moved += (double)y->bytes;
    }
    d->moved += (double)b->bytes;
    d->fixed += (double)b->bytes;
}

/* The dispatch for the members in the format of member `first`. */
static apus_status record_format(apus_lower *l, const apus_node *node,
                                 const apus_matmul_group_params *p, uint32_t first)
{
    const apus_tensor *x = node->in[IN_X], *h = node->out[node->n_out - 1];
    const apus_matmul_problem problem = problem_of(x, p, first);
    const apus_rows_arg live = apus_rows_arg_of(apus_rows_flat(x), apus_tensor_rows(x));
    apus_access access[5 + 4 * APUS_GROUP_MOST];
    apusi_few few = {
        .push = { .a = apus_address(l, x),
                  .norm = apus_address(l, p->norm),
                  .step = l->step,
                  APUS_ROWS_VALUES(live),
                  .k = problem.k,
                  .scale_words = apus_layout_scale_words(problem.b, problem.k),
                  .alpha = 1,
                  .eps = p->eps },
        .gate = p->gate,
    };
    apus_dispatch d = { .access = access,
                        .flops = 2.0 * problem.m * problem.n * problem.k,
                        .moved = (double)x->bytes };
    char what[96];

    access[d.n_access++] = apus_reads(l, x);
    if (p->norm)
        access[d.n_access++] = apus_reads(l, p->norm);
    for (uint32_t i = first; i < p->n; i++)
        if (p->member[i].b->dtype == problem.b)
            add_member(l, node, p, i, &few, &d, access);
    if (few.adapted) {
        few.push.h = apus_address(l, h);
        few.push.h_cols = h->dims[1];
        few.push.index = apus_address(l, node->in[IN_INDEX]);
        few.push.slots = p->lora.slots;
        access[d.n_access++] = apus_reads(l, h);
        access[d.n_access++] = apus_reads(l, node->in[IN_TABLE]);
        access[d.n_access++] = apus_reads(l, node->in[IN_INDEX]);
    }
    snprintf(what, sizeof(what), "nt %ux%ux%u %s in %u%s%s", problem.m, problem.n, problem.k,
             apus_dtype_of(problem.b)->name, few.n, p->norm ? ", normalized" : "",
             p->gate ? ", gated" : "");
    if (problem.a != APUS_F32 || problem.y != APUS_F32)
        snprintf(what + strlen(what), sizeof(what) - strlen(what), " (%s to %s)",
                 apus_dtype_of(problem.a)->name, apus_dtype_of(problem.y)->name);
    return apusi_matmul_few(l, &problem, what, &few, &d);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_matmul_group_params *p = n->attr;

    if (count_adapted(p))
        APUS_FORWARD(record_halves(l, n, p));
    for (uint32_t i = 0; i < p->n; i++)
        if (!seen_before(p, i))
            APUS_FORWARD(record_format(l, n, p, i));
    return APUS_OK;
}

const apus_op_def apus_op_matmul_group = { "matmul_group", record, NULL, false };
