/* attention.c - attention: blocks, builder, dispatch, gradient rule. */
#include "attention.h"

#include <float.h>
#include <math.h>
#include <stdio.h>

#include "attention_back.h"
#include "attention_problem.h"
#include "op.h"

#define GPU_LANES 128 /* of a workgroup where rows are split; twice as many at most */

/* Keys are divided where there are few rows.  A plan has as many parts as make FILL workgroups,
 * which fill the GPUs of today, and no more than its longest cache has APUS_ATTENTION_PART keys
 * for. */
#define FEW_ROWS 8
#define FILL 256
#define MOST_PARTS 64
#define LONG_CACHE 1024 /* keys from which on a dispatch more is worth it */
#define COMBINE_LANES 64

enum { IN_SINKS = APUSI_ATTENTION_IN, N_IN };

/* Narrow subgroups are Intel's: a lane has 128 registers there, elsewhere twice as many or more. */
static bool few_registers(const apus_caps *caps)
{
    return caps->subgroup < 32;
}

/* Lanes that share a row, so that what a lane keeps of q, o, k, v and their gradients (up to four
 * times this many numbers) fits its registers: 16 or 8. */
static uint32_t split_of(const apus_caps *caps, uint32_t head_dim)
{
    const uint32_t most = few_registers(caps) ? 8 : 16;
    uint32_t split = 1;

    while (head_dim / split > most && head_dim / 4 % (2 * split) == 0 &&
           2 * split <= caps->subgroup)
        split *= 2;
    return split;
}

bool apusi_attention_split_fits(const apus_caps *caps, const void *problem)
{
    const apusi_attention_case *c = problem;

    return caps->subgroup_shuffle && caps->max_invocations >= 2 * GPU_LANES &&
           split_of(caps, c->head_dim) > 1;
}

bool apusi_attention_split_chosen(const apus_caps *caps, const void *problem)
{
    (void)problem;
    return caps->device_class == APUS_CLASS_GPU;
}

static bool parts_fit(const apus_caps *caps, const void *problem)
{
    const apusi_attention_case *c = problem;

    (void)caps;
    return c->parts > 1;
}

/* On CPU drivers the heads of one row keep the few cores busy. */
static bool parts_chosen(const apus_caps *caps, const void *problem)
{
    const apusi_attention_case *c = problem;

    return caps->device_class == APUS_CLASS_GPU && c->keys >= LONG_CACHE;
}

/* Rows a lane: as few as fill at least nine lanes in ten, at most 3. */
static uint32_t rows_a_lane(uint32_t lanes, uint32_t group)
{
    uint32_t best = 1;
    double best_use = 0;

    for (uint32_t tm = 1; tm <= 3; tm++) {
        const uint32_t rows = lanes * tm / group * group;
        const double use = (double)rows / (lanes * tm);
        if (use > best_use + 0.05) {
            best_use = use;
            best = tm;
        }
    }
    return best;
}

uint32_t apus_attention_block_tokens(const apus_caps *caps, uint32_t heads, uint32_t kv_heads,
                                     uint32_t head_dim, uint32_t max_rows)
{
    const uint32_t group = heads / kv_heads, lanes = caps->subgroup;
    const apusi_attention_case c = { .head_dim = head_dim };
    const bool split =
        apusi_attention_split_chosen(caps, &c) && apusi_attention_split_fits(caps, &c);
    const uint32_t tm = head_dim > 128 || split ? 1 : rows_a_lane(lanes, group);
    const uint32_t tokens = (split ? GPU_LANES / split_of(caps, head_dim) : lanes * tm) / group;

    return max_rows <= 1 || tokens == 0 ? 1 : tokens;
}

uint32_t apus_blocks_fill(uint32_t *blocks, const uint32_t *first_row, const uint32_t *n_rows,
                          uint32_t n_sequences, uint32_t block_tokens)
{
    uint32_t n = 0;

    for (uint32_t s = 0; s < n_sequences; s++)
        for (uint32_t at = 0; at < n_rows[s]; at += block_tokens, n++) {
            blocks[2 * n] = first_row[s] + at;
            blocks[2 * n + 1] = n_rows[s] - at < block_tokens ? n_rows[s] - at : block_tokens;
        }
    return n;
}

/* parts: the keys over several workgroups, rows over lanes as in split where that fits; coop: on
 * matrix cores; split: a row over several lanes of a larger workgroup; lane: a lane has whole
 * rows. */
enum { PARTS, COOP_BF16, COOP, SPLIT, LANE };
static const apus_variant variants[] = {
    [PARTS] = { "parts", "attention_combine", .fits = parts_fit, .chosen = parts_chosen },
    [COOP_BF16] = { "coop_bf16", "attention_coop_bf16", .narrow = APUS_NARROW_16,
                    .fits = apusi_attention_coop_bf16_fits,
                    .chosen = apusi_attention_coop_bf16_chosen,
                    .sound = apusi_attention_coop_bf16_sound },
    [COOP] = { "coop", "attention_coop", .narrow = APUS_NARROW_16,
               .fits = apusi_attention_coop_fits, .chosen = apusi_attention_coop_chosen },
    [SPLIT] = { "split", "attention", .fits = apusi_attention_split_fits,
                .chosen = apusi_attention_split_chosen },
    [LANE] = { "lane", "attention" },
};

static const apusi_attention_case narrow_head = { .head_dim = 64, .block_rows = 16 },
                                  wide_head = { .head_dim = 128, .block_rows = 16 },
                                  long_cache = { 128, 32, 8192, true, 4 };
static const apus_op_problem problems[] = {
    { "heads of 64", &narrow_head },
    { "heads of 128", &wide_head },
    { "1 row, 8192 keys", &long_cache },
};

static const apus_op_choices choices = { variants, APUS_COUNT(variants), problems,
                                         APUS_COUNT(problems) };

apusi_attention_lanes apusi_attention_spread(const apus_caps *caps, const apus_node *n, bool split)
{
    const struct apusi_attention_attr *a = n->attr;
    const uint64_t rows = (uint64_t)a->s.block_tokens * (a->p.heads / a->p.kv_heads);
    apusi_attention_lanes out = { .split = 1, .lanes = caps->subgroup };

    if (split) {
        out.split = split_of(caps, a->p.head_dim);
        out.few = few_registers(caps);
        const uint64_t lanes = apus_round_up(rows * out.split, caps->subgroup);
        out.lanes = lanes < 2 * GPU_LANES ? (uint32_t)lanes : 2 * GPU_LANES;
    }
    out.rows = (uint32_t)apus_ceil_div(rows * out.split, out.lanes);
    return out;
}

/* Kernels count the vec4s of a tensor in 31 bits. */
static bool indexed(const apus_tensor *t)
{
    return (uint64_t)apus_tensor_rows(t) * apus_tensor_cols(t) / 4 <= INT32_MAX;
}

/* Keys that a row may see. */
static uint64_t most_keys(const apus_sequences *s, const apus_attention_params *p)
{
    const uint64_t keys = (uint64_t)s->max_pages * s->page_tokens;

    return p->window && p->window < keys && !p->bidirectional ? p->window : keys;
}

/* Vec4s of one part of the keys of a row and head. */
static uint32_t part_cols(const apus_attention_params *p)
{
    return p->head_dim / 4 + 1;
}

/* Parts that the keys of a few rows may be divided into; 0: none. */
static uint32_t parts_of(const apus_sequences *s, const apus_attention_params *p, uint32_t rows)
{
    const uint64_t groups = apus_ceil_div(rows, s->block_tokens) * p->kv_heads;
    const uint64_t most = most_keys(s, p) / APUS_ATTENTION_PART;
    uint64_t parts = FILL / groups;

    parts = parts < most ? parts : most;
    parts = parts < MOST_PARTS ? parts : MOST_PARTS;
    if (rows > FEW_ROWS || (uint64_t)rows * p->heads * parts * part_cols(p) > INT32_MAX)
        return 0;
    return parts > 1 ? (uint32_t)parts : 0;
}

static apus_status check(const apus_tensor *q, const apus_tensor *k, const apus_tensor *v,
                         const apus_attention_params *p)
{
    if (p->head_dim % 4 || p->head_dim < 4 || p->head_dim > 256 || p->heads % p->kv_heads ||
        apus_tensor_cols(q) != p->heads * p->head_dim ||
        apus_tensor_cols(k) != p->kv_heads * p->head_dim ||
        apus_tensor_cols(v) != apus_tensor_cols(k) || k->dtype != v->dtype ||
        !apus_dtype_is_plain(k->dtype) || !apus_dtype_is_plain(q->dtype))
        return apus_fail(
            APUS_ERR_SHAPE, "attention: %u heads, %u of keys, size %u, q has %u columns, k %u",
            p->heads, p->kv_heads, p->head_dim, apus_tensor_cols(q), apus_tensor_cols(k));
    if (!indexed(q) || !indexed(k))
        return apus_fail(
            APUS_ERR_SHAPE, "attention: %u rows of %u or %u of %u are too many to index",
            apus_tensor_rows(q), apus_tensor_cols(q), apus_tensor_rows(k), apus_tensor_cols(k));
    if (!(p->softcap >= 0 && p->softcap <= FLT_MAX))
        return apus_fail(
            APUS_ERR_ARG,
            "attention: scores cannot be capped at %g, only at a finite number above 0",
            (double)p->softcap);
    if (p->sinks && (p->sinks->dtype != APUS_F32 || apus_tensor_count(p->sinks) != p->heads))
        return apus_fail(APUS_ERR_SHAPE, "attention: %s has to be %u sinks in f32, one a head",
                         p->sinks->name, p->heads);
    return APUS_OK;
}

apus_tensor *apus_attention(apus_graph *g, apus_tensor *q, apus_tensor *k, apus_tensor *v,
                            const apus_sequences *s, const apus_attention_params *p,
                            apus_tensor **lse)
{
    struct apusi_attention_attr attr = { .p = *p, .s = *s, .lse = lse != NULL };
    apus_tensor *in[] = {
        q, k, v, s->pos, s->seq, s->base, s->length, s->pages, s->blocks, p->sinks
    };
    apus_tensor *out, *partial;
    apus_node *n;

    if (!q || !k || !v || !s->pos || !s->blocks)
        return NULL;
    const apus_status st = check(q, k, v, p);
    if (st != APUS_OK)
        return apus_graph_fail(g, st, "%s", apus_error_text());
    attr.parts = parts_of(s, p, q->dims[0]);
    if (attr.p.scale == 0)
        attr.p.scale = 1.0f / sqrtf((float)p->head_dim);
    n = apus_graph_node(g, &apus_op_attention, &attr, sizeof(attr), in, N_IN);
    out = apus_node_output(g, n, q->dtype, 2, q->dims, q->rows);
    if (lse)
        *lse = apus_node_output(g, n, APUS_F32, 2, (uint32_t[]) { q->dims[0], p->heads }, q->rows);
    if (lse && *lse)
        (*lse)->wants_grad = false; /* it serves the gradient of the values only */
    if (!attr.parts)
        return out;
    partial = apus_node_output(
        g, n, APUS_F32, 2, (uint32_t[]) { q->dims[0], p->heads * attr.parts * 4 * part_cols(p) },
        q->rows);
    if (partial)
        partial->wants_grad = false;
    return out;
}

static apus_tensor *lse_of(const apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;

    return a->lse ? n->out[1] : NULL;
}

static apus_tensor *partial_of(const apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;

    return a->parts ? n->out[n->n_out - 1] : NULL;
}

struct apus_attention_args apusi_attention_args(const apus_lower *l, const apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;
    const apus_rows_arg blocks = { APUS_VAR_BLOCKS, 0, a->s.max_blocks, 1 };

    return (struct apus_attention_args) {
        .q = apus_address(l, n->in[APUSI_Q]),
        .k = apus_address(l, n->in[APUSI_K]),
        .v = apus_address(l, n->in[APUSI_V]),
        .pos = apus_address(l, n->in[APUSI_POS]),
        .seq = apus_address(l, n->in[APUSI_SEQ]),
        .base = apus_address(l, n->in[APUSI_BASE]),
        .n_keys = apus_address(l, n->in[APUSI_LENGTH]),
        .pages = apus_address(l, n->in[APUSI_PAGES]),
        .blocks = apus_address(l, n->in[APUSI_BLOCKS]),
        APUS_ROWS_VALUES(blocks),
        .heads = a->p.heads,
        .kv_heads = a->p.kv_heads,
        .max_pages = a->s.max_pages,
        .window = a->p.window,
        .scale = a->p.scale,
        .softcap = a->p.softcap,
    };
}

uint32_t apusi_attention_keep(const apus_node *n, const apusi_attention_lanes *s, uint32_t most)
{
    const struct apusi_attention_attr *a = n->attr;
    const uint32_t own = a->p.head_dim / s->split;

    if (!s->few || own <= most)
        return APUS_ATTENTION_KEPT;
    /* A capped score has a number more; on Skylake it counts. */
    return own / 4 + (a->p.softcap != 0) > 5 ? APUS_ATTENTION_ONE_BY_ONE : APUS_ATTENTION_AGAIN;
}

void apusi_attention_spec(const apus_node *n, const apusi_attention_lanes *s, uint32_t most,
                          apus_dispatch *d)
{
    const struct apusi_attention_attr *a = n->attr;
    const uint32_t group = a->p.heads / a->p.kv_heads, e = a->p.head_dim, own = e / s->split;

    d->n_spec = 14;
    d->spec[0] = s->lanes;
    d->spec[1] = e / 4;
    d->spec[2] = s->rows;
    d->spec[3] = n->in[APUSI_K]->dtype;
    d->spec[4] = a->s.page_tokens;
    d->spec[5] = group;
    d->spec[6] = a->p.bidirectional;
    /* Keys a turn.  Heads of 192 over 8 lanes (24 elements each) spill with four on Intel. */
    d->spec[7] = own <= (s->few ? 20 : 64) ? 4 : own <= 128 && !s->few ? 2 : 1;
    d->spec[8] = s->split;
    d->spec[9] = apusi_attention_keep(n, s, most);
    d->spec[10] = n->in[APUSI_Q]->dtype;
    d->spec[11] = a->p.softcap != 0;
    d->spec[12] = 0; /* sinks */
    d->spec[13] = 1; /* parts */
    d->groups[0] = a->s.max_blocks;
    d->groups[1] = a->p.kv_heads;
    d->live = (apus_rows) { APUS_VAR_BLOCKS, 0, a->s.max_blocks, 1 };
    d->live_axis = 0;
    d->live_tile = 1;
}

/* The second dispatch where keys are divided, after `first`: rows of q in the place of blocks. */
static apus_status combine(apus_lower *l, const apus_node *n, struct apus_attention_args args,
                           const apus_dispatch *first)
{
    const apus_tensor *q = n->in[APUSI_Q], *lse = lse_of(n);
    const apus_rows_arg rows = apus_rows_of(q);
    struct apus_attention_push push = { .step = l->step };
    apus_access access[4];
    apus_dispatch d = *first;

    args.rows_var = rows.var;
    args.rows_skip = rows.skip;
    args.rows_max = rows.max;
    args.rows_mul = rows.mul;
    APUS_FORWARD(apus_emit_args(l, &args, sizeof(args), &push.args));
    d.kernel = "attention_combine";
    d.rough = false; /* a count: it does not depend on the lengths */
    d.spec[0] = COMBINE_LANES;
    d.push = &push;
    access[0] = apus_reads(l, partial_of(n));
    access[1] = apus_writes(l, n->out[0]);
    d.access = access;
    d.n_access = 2;
    if (n->in[IN_SINKS])
        access[d.n_access++] = apus_reads(l, n->in[IN_SINKS]);
    if (lse)
        access[d.n_access++] = apus_writes(l, lse);
    d.groups[0] = (uint32_t)apus_ceil_div((uint64_t)q->dims[0] * q->dims[1] / 4, COMBINE_LANES);
    d.groups[1] = d.groups[2] = 1;
    d.live = q->rows.var >= 0 ? q->rows : (apus_rows) { 0 };
    d.live.mul *= q->dims[1] / 4;
    d.live_tile = COMBINE_LANES;
    d.flops = (double)partial_of(n)->bytes / 2;
    d.moved = (double)(partial_of(n)->bytes + n->out[0]->bytes);
    return apus_emit(l, &d);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;
    const uint32_t group = a->p.heads / a->p.kv_heads;
    const apusi_attention_case c = {
        .head_dim = a->p.head_dim,
        .parts = a->parts,
        .keys = most_keys(&a->s, &a->p),
        .one_token =
            a->s.block_tokens == 1 && n->in[APUSI_Q]->dims[0] <= n->in[APUSI_LENGTH]->dims[0],
        .block_rows = a->s.block_tokens * group,
        .q = n->in[APUSI_Q]->dtype,
        .kv = n->in[APUSI_K]->dtype,
    };
    struct apus_attention_args args = apusi_attention_args(l, n);
    struct apus_attention_push push = { .step = l->step };
    const apus_tensor *q = n->in[APUSI_Q];
    apus_dispatch d = { .kernel = "attention", .push = &push, .push_bytes = sizeof(push) };
    apus_access access[N_IN + 2];
    const apus_variant *v = NULL;
    char what[96];

    /* The same text for all lengths of a kind, so that what was measured with one is found. */
    snprintf(what, sizeof(what), "%u of %u%s", group, a->p.head_dim,
             a->parts && c.keys >= LONG_CACHE ? ", a long cache"
             : c.one_token                    ? ", one token"
                                              : "");
    APUS_FORWARD(apus_choose(l, "attention", variants, APUS_COUNT(variants), &c, what, &v));
    const bool parts = v == &variants[PARTS],
               coop = v == &variants[COOP] || v == &variants[COOP_BF16];
    const apusi_attention_lanes s = apusi_attention_spread(
        l->caps, n, parts ? apusi_attention_split_fits(l->caps, &c) : v == &variants[SPLIT]);
    args.o = apus_address(l, n->out[0]);
    args.lse = apus_address(l, lse_of(n));
    args.sinks = apus_address(l, n->in[IN_SINKS]);
    args.partial = apus_address(l, partial_of(n));
    APUS_FORWARD(apus_emit_args(l, &args, sizeof(args), &push.args));
    apusi_attention_spec(n, &s, 24, &d);
    d.spec[12] = n->in[IN_SINKS] != NULL;
    d.spec[13] = parts ? a->parts : 1;
    d.groups[2] = d.spec[13];
    if (coop)
        APUS_FORWARD(apusi_attention_coop_spec(l->caps, &c, v == &variants[COOP_BF16], &d));
    d.access = access;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i])
            access[d.n_access++] = apus_reads(l, n->in[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        if ((n->out[i] == partial_of(n)) == parts)
            access[d.n_access++] = apus_writes(l, n->out[i]);
    d.flops = 2.0 * q->dims[0] * q->dims[0] * q->dims[1];
    d.moved = 2.0 * (double)q->bytes;
    d.rough = true; /* the work depends on the lengths of the sequences */
    APUS_FORWARD(apus_emit(l, &d));
    return parts ? combine(l, n, args, &d) : APUS_OK;
}

static void backward(apus_graph *g, apus_node *n)
{
    const struct apusi_attention_attr *a = n->attr;
    apus_attention_params p = a->p;

    p.sinks = n->in[IN_SINKS];
    if (!a->lse) {
        apus_graph_fail(g, APUS_ERR_ARG,
                        "attention: the gradient needs the log-sum-exp of the forward");
        return;
    }
    apus_attention_back(g, n->in[APUSI_Q], n->in[APUSI_K], n->in[APUSI_V], n->out[0], n->out[1],
                        n->out[0]->grad, &a->s, &p);
}

const apus_op_def apus_op_attention = { "attention", record, backward, false, &choices };
