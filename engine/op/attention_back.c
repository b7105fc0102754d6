/* attention_back.c - gradient of attention: builder and its two dispatches. */
#include "attention_back.h"

#include <stdio.h>

#include "attention_problem.h"
#include "attention_sinks_back.h"
#include "op.h"

enum { IN_D_O = APUSI_ATTENTION_IN, IN_O, IN_LSE, N_IN };
enum { OUT_D_Q, OUT_D_K, OUT_D_V, OUT_DOT };

void apus_attention_back(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                         apus_tensor *o, apus_tensor *lse, apus_tensor *d_o,
                         const apus_sequences *s, const apus_attention_params *p)
{
    const struct apusi_attention_attr attr = { .p = *p, .s = *s };
    apus_tensor *in[] = { q,         k,        v,         s->pos, s->seq, s->base,
                          s->length, s->pages, s->blocks, d_o,    o,      lse };
    apus_node *n;

    if (!q || !k || !v || !o || !lse || !d_o)
        return;
    if (k->dims[0] != q->dims[0] || k->dtype != q->dtype || d_o->dtype != q->dtype) {
        apus_graph_fail(g, APUS_ERR_SHAPE,
                        "attention: the gradient needs keys of the step's own rows");
        return;
    }
    n = apus_graph_node(g, &apus_op_attention_back, &attr, sizeof(attr), in, N_IN);
    apus_tensor *d_q = apus_node_output(g, n, q->dtype, 2, q->dims, q->rows);
    apus_tensor *d_k = apus_node_output(g, n, k->dtype, 2, k->dims, k->rows);
    apus_tensor *d_v = apus_node_output(g, n, v->dtype, 2, v->dims, v->rows);
    apus_tensor *dot =
        apus_node_output(g, n, APUS_F32, 2, lse->dims, lse->rows); /* rowsum(d_o * o) */
    apus_add_grad(g, q, d_q);
    apus_add_grad(g, k, d_k);
    apus_add_grad(g, v, d_v);
    if (p->sinks && p->sinks->wants_grad)
        apus_attention_sinks_back(g, p->sinks, lse, dot);
}

/* As in attention.c. */
static const apus_variant variants[] = {
    { "split", "attention_back", .fits = apusi_attention_split_fits,
      .chosen = apusi_attention_split_chosen },
    { "lane", "attention_back" },
};

static const apusi_attention_case narrow_head = { .head_dim = 64 }, wide_head = { .head_dim = 128 };
static const apus_op_problem problems[] = {
    { "heads of 64", &narrow_head },
    { "heads of 128", &wide_head },
};

static const apus_op_choices choices = { variants, APUS_COUNT(variants), problems,
                                         APUS_COUNT(problems) };

/* Heads of a group whose sums a lane makes side by side: none waits for another's. */
static uint32_t heads_at_once(uint32_t group)
{
    uint32_t n = group < 4 ? group : 4;

    while (group % n)
        n--;
    return n;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;
    struct apus_attention_args args = apusi_attention_args(l, n);
    struct apus_attention_push push = { .step = l->step };
    const apus_tensor *q = n->in[APUSI_Q], *k = n->in[APUSI_K];
    const apusi_attention_case c = { .head_dim = a->p.head_dim };
    apus_dispatch d = { .kernel = "attention_back", .push = &push, .push_bytes = sizeof(push) };
    apus_access access[N_IN + 4];
    uint32_t n_access = 0;
    const apus_variant *v = NULL;
    char what[64];

    snprintf(what, sizeof(what), "%u of %u", a->p.heads / a->p.kv_heads, a->p.head_dim);
    APUS_FORWARD(apus_choose(l, "attention_back", variants, APUS_COUNT(variants), &c, what, &v));
    const apusi_attention_lanes s = apusi_attention_spread(l->caps, n, v == &variants[0]);
    args.o = apus_address(l, n->in[IN_O]);
    args.lse = apus_address(l, n->in[IN_LSE]);
    args.d_o = apus_address(l, n->in[IN_D_O]);
    args.d_q = apus_address(l, n->out[OUT_D_Q]);
    args.d_k = apus_address(l, n->out[OUT_D_K]);
    args.d_v = apus_address(l, n->out[OUT_D_V]);
    args.dot = apus_address(l, n->out[OUT_DOT]);
    for (uint32_t i = 0; i < N_IN; i++)
        access[n_access++] = apus_reads(l, n->in[i]);
    access[n_access] = apus_writes(l, n->out[OUT_D_Q]);
    access[n_access + 1] = apus_writes(l, n->out[OUT_DOT]);
    APUS_FORWARD(apus_emit_args(l, &args, sizeof(args), &push.args));
    apusi_attention_spec(n, &s, 16, &d);
    /* Side by side where registers are plenty and the compiler is not an old, slow one. */
    const bool wide = s.split == 1 && l->caps->uniform_loads;
    if (!wide)
        d.spec[7] = 1;
    d.access = access;
    d.n_access = n_access + 2;
    d.flops = 3.0 * q->dims[0] * q->dims[0] * q->dims[1];
    d.moved = 4.0 * (double)q->bytes;
    d.rough = true;
    APUS_FORWARD(apus_emit(l, &d));

    const uint32_t lanes = s.split > 1 ? APUSI_ATTENTION_KEY_LANES : l->caps->subgroup;
    const apus_rows_arg rows = apus_rows_of(k);
    args.rows_var = rows.var;
    args.rows_skip = rows.skip;
    args.rows_max = rows.max;
    args.rows_mul = rows.mul;
    access[n_access] = apus_writes(l, n->out[OUT_D_K]);
    access[n_access + 1] = apus_writes(l, n->out[OUT_D_V]);
    access[n_access + 2] = apus_reads(l, n->out[OUT_DOT]);
    APUS_FORWARD(apus_emit_args(l, &args, sizeof(args), &push.args));
    d.kernel = "attention_back_kv";
    d.n_access = n_access + 3;
    /* Rows are keys here, one for each `split` lanes; a lane would keep four rows' parts and, of
     * each head of the group, what it reads. */
    d.spec[0] = lanes;
    d.spec[2] = wide ? heads_at_once(a->p.heads / a->p.kv_heads) : 1;
    d.spec[9] = apusi_attention_keep(n, &s, 8);
    d.groups[0] = (uint32_t)apus_ceil_div(k->dims[0], lanes / s.split);
    d.groups[1] = a->p.kv_heads;
    d.live = k->rows.var >= 0 ? k->rows : (apus_rows) { 0 };
    d.live_axis = 0;
    d.live_tile = lanes / s.split;
    d.flops = 4.0 * q->dims[0] * q->dims[0] * q->dims[1];
    return apus_emit(l, &d);
}

const apus_op_def apus_op_attention_back = { "attention_back", record, NULL, false, &choices };
