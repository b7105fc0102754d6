/* step_graph.c - the graphs of a training step, and the arrays that they read each time. */
#include <math.h>

#include "adamw_8bit.h"
#include "args/adamw_8bit.h"
#include "autodiff.h"
#include "gather_rows.h"
#include "grad_norm.h"
#include "loss.h"
#include "step_internal.h"

#define PAGE 64

static apus_tensor *tokens_array(apus_graph *g, const char *name, uint32_t n)
{
    return apus_graph_step(g, name, APUS_U32, n, apus_rows_live(APUS_VAR_TOKENS, n));
}

static void step_arrays(const apus_train_step *s, apusi_micro *b)
{
    apus_graph *g = &b->graph;
    const apus_net_dims *d = &s->model->dims;
    const uint32_t t = b->tokens, n = b->sequences, pages = (uint32_t)apus_ceil_div(t, PAGE) + 1;
    const uint32_t block = apus_attention_block_tokens(apus_gpu_caps(s->model->gpu), d->heads,
                                                       d->kv_heads, d->head_dim, t);
    const uint32_t blocks = (uint32_t)apus_ceil_div(t, block) + n;

    b->ids = tokens_array(g, "tokens", t);
    b->adapter = tokens_array(g, "adapter", t);
    b->row_id = tokens_array(g, "row_id", t);
    b->loss_index =
        apus_graph_step(g, "loss_index", APUS_U32, t, apus_rows_live(APUS_VAR_LOSS_ROWS, t));
    b->loss_inverse = tokens_array(g, "loss_inverse", t);
    b->labels = apus_graph_step(g, "labels", APUS_U32, t, APUS_ROWS_ALL);
    b->weights = apus_graph_step(g, "weights", APUS_F32, t, APUS_ROWS_ALL);
    if (s->model->train_all)
        b->order = (apus_embed_order) {
            .ids = apus_graph_step(g, "unique", APUS_U32, t, apus_rows_live(APUS_VAR_UNIQUE, t)),
            .starts = apus_graph_step(g, "starts", APUS_U32, t + 1, APUS_ROWS_ALL),
            .order = apus_graph_step(g, "order", APUS_U32, t, APUS_ROWS_ALL),
        };
    b->seq = (apus_sequences) {
        .pos = tokens_array(g, "pos", t),
        .seq = tokens_array(g, "seq", t),
        .base = apus_graph_step(g, "base", APUS_U32, n, APUS_ROWS_ALL),
        .length = apus_graph_step(g, "length", APUS_U32, n, APUS_ROWS_ALL),
        .pages = apus_graph_step(g, "pages", APUS_U32, pages, APUS_ROWS_ALL),
        .blocks = apus_graph_step(g, "blocks", APUS_U32, 2 * blocks,
                                  (apus_rows) { APUS_VAR_BLOCKS, 0, blocks, 2 }),
        .page_tokens = PAGE,
        .max_pages = 0, /* keys are the step's rows: the identity for all sequences */
        .block_tokens = block,
        .max_blocks = blocks,
    };
}

/* What becomes of layer `i`, counted from 1. */
static apus_region region_of(const apus_train_step_params *p, uint32_t i)
{
    if (i > p->recompute)
        return APUS_REGION_KEPT;
    return i % 2 && i / 2 < p->pairs ? APUS_REGION_TWICE : APUS_REGION_AGAIN;
}

static apus_status build_graph(apus_train_step *s, apusi_micro *b, apus_model_net *weights)
{
    apus_graph *g = &b->graph;
    const apus_model *m = s->model;
    const uint32_t rope_dims[2] = { m->max_positions, m->dims.head_dim }, words = APUS_STATE_WORDS;
    const bool lora = s->params.adapters != NULL;

    APUS_FORWARD(apus_graph_init(g));
    step_arrays(s, b);
    if (lora) /* without the rows' ids nothing is dropped */
        s->hook.begin(s->hook.user, g, b->adapter, b->evaluation ? NULL : b->row_id, b->seq.pos);
    apus_net net = {
        .g = g,
        .dims = &m->dims,
        .weight = apus_model_tensor,
        .weight_user = weights,
        .adapt = lora ? s->hook.adapt : NULL,
        .adapt_user = s->hook.user,
        .sequences = b->seq,
        .rope = apus_graph_bound(g, "rope", APUS_F32, 2, rope_dims, m->rope.address),
    };
    apus_tensor *x =
        apus_model_forward(&net, m, b->ids, s->model->train_all ? &b->order : NULL, NULL, NULL);
    g->prefix = apus_model_head_name(m);
    x = apus_gather_rows(g, x, b->loss_index, b->loss_inverse);
    apus_head_loss(
        g, x,
        &(apus_head_loss_params) {
            .head = apus_model_tensor(weights, g, apus_model_head_name(m)),
            .labels = b->labels,
            .weights = b->weights,
            .gradient = !b->evaluation,
            .state = apus_graph_bound(g, "state", APUS_F32, 1, &words, s->state.address) });
    APUS_FORWARD(apus_graph_status(g));
    if (b->evaluation)
        return APUS_OK;
    apus_region recompute[1024];
    const uint32_t n_regions = m->dims.layers + 1;
    if (n_regions > APUS_COUNT(recompute))
        return apus_fail(APUS_ERR_SUPPORT, "more than %zu layers", APUS_COUNT(recompute) - 1);
    for (uint32_t i = 0; i < n_regions; i++)
        recompute[i] = region_of(&s->params, i);
    return apus_autodiff(g, recompute, n_regions);
}

apus_status apusi_micro_build(apus_train_step *s, apusi_micro *b)
{
    apus_status st;
    const apus_model *m = s->model;
    apus_model_net weights = { m, apus_calloc(m->n_weights, sizeof(apus_tensor *)) };

    if (!weights.made)
        return APUS_ERR_MEMORY;
    APUS_TRY(build_graph(s, b, &weights));
    APUS_TRY(apus_plan_create(&b->plan, m->exec, &b->graph,
                              &(apus_plan_params) { .name = b->evaluation ? "evaluation" : "micro",
                                                    .narrow = m->types.narrow,
                                                    .force = s->params.force,
                                                    .profile = s->params.profile,
                                                    .fuse = true }));
fail:
    apus_free(weights.made);
    return st;
}

static apus_tensor *vector(apus_graph *g, const char *name, apus_dtype dtype, const apus_buffer *b)
{
    const uint32_t dim = (uint32_t)(b->bytes / apus_dtype_of(dtype)->block_bytes);

    return apus_graph_bound(g, name, dtype, 1, &dim, b->address);
}

/* A part of the optimizer's state. */
static apus_tensor *moment(const apusi_moments *m, apus_graph *g, const char *name,
                           apus_dtype dtype, const apus_buffer *b)
{
    apus_tensor *t = vector(g, name, dtype, b);

    if (t)
        t->place.host = m->memory == APUS_MEMORY_AWAY;
    return t;
}

static void add_optimizer(apus_train_step *s, apus_graph *g, apus_tensor *w, apus_tensor *grad,
                          apus_tensor *copy, apus_tensor *state)
{
    const apusi_moments *x = &s->moments;
    const uint32_t runs[2] = { x->n_runs, APUS_ADAMW_RUN_WORDS };
    apus_tensor *m = moment(x, g, "m", APUS_F32, &x->wide_m),
                *v = moment(x, g, "v", APUS_F32, &x->wide_v);
    const apus_adamw_params params = { .beta1 = s->params.beta1,
                                       .beta2 = s->params.beta2,
                                       .eps = s->params.eps,
                                       .decay = s->params.decay,
                                       .n_decay = (uint32_t)s->n_decay };

    if (x->optim == APUS_OPTIM_ADAMW) {
        apus_adamw(g, w, grad, m, v, copy, state, &params);
        return;
    }
    apus_adamw_8bit(g, w, grad,
                    &(apus_adamw_state) {
                        .codes_m = moment(x, g, "codes of m", APUS_U8, &x->codes_m),
                        .codes_v = moment(x, g, "codes of v", APUS_U8, &x->codes_v),
                        .scales = moment(x, g, "scales", APUS_F32, &x->scales),
                        .wide_m = m,
                        .wide_v = v,
                        .runs = apus_graph_bound(g, "runs", APUS_U32, 2, runs, x->runs.address),
                        .n_coded = x->n_coded,
                        .n_blocks = x->n_blocks,
                    },
                    copy, state, &params);
}

apus_status apusi_update_build(apus_train_step *s)
{
    apus_graph *g = &s->update_graph;
    const uint32_t words = APUS_STATE_WORDS;

    if (s->n >> 32)
        return apus_fail(APUS_ERR_SUPPORT, "more than 2^32 trained parameters");
    APUS_FORWARD(apus_graph_init(g));
    const uint32_t n = (uint32_t)s->n;
    apus_tensor *w = apus_graph_bound(g, "parameters", APUS_F32, 1, &n, s->slab->address);
    apus_tensor *grad = vector(g, "gradients", APUS_F32, &s->grad);
    apus_tensor *state = apus_graph_bound(g, "state", APUS_F32, 1, &words, s->state.address);
    apus_tensor *copy = NULL;
    if (s->copy)
        copy = apus_graph_bound(g, "working copy", s->model->types.act, 1, &n, s->copy->address);
    g->prefix = "update";
    apus_grad_norm(g, grad, state);
    add_optimizer(s, g, w, grad, copy, state);
    return apus_plan_create(&s->update, s->model->exec, g,
                            &(apus_plan_params) { .name = "update",
                                                  .force = s->params.force,
                                                  .profile = s->params.profile });
}

/* ---- the arrays of a micro batch ---- */

static int by_id(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b; /* id, row */

    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static apus_status fill_order(apus_train_step *s, const apusi_micro *b, const apus_step *step,
                              const uint32_t *ids, uint32_t n)
{
    uint32_t *unique = apus_step_array(step, b->order.ids),
             *starts = apus_step_array(step, b->order.starts);
    uint32_t *order = apus_step_array(step, b->order.order), n_unique = 0;

    if (s->sort_room < n) {
        uint32_t *bigger = apus_realloc(s->sort, 8 * (size_t)n);
        if (!bigger)
            return APUS_ERR_MEMORY;
        s->sort = bigger;
        s->sort_room = n;
    }
    for (uint32_t i = 0; i < n; i++) {
        s->sort[2 * i] = ids[i];
        s->sort[2 * i + 1] = i;
    }
    qsort(s->sort, n, 8, by_id);
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || s->sort[2 * i] != s->sort[2 * i - 2]) {
            unique[n_unique] = s->sort[2 * i];
            starts[n_unique++] = i;
        }
        order[i] = s->sort[2 * i + 1];
    }
    starts[n_unique] = n;
    step->vars[APUS_VAR_UNIQUE] = n_unique;
    return APUS_OK;
}

apus_status apusi_micro_fill(apus_train_step *s, apusi_micro *b, const apus_train_sequence *seqs,
                             uint32_t n, apus_step *step, uint32_t *labels)
{
    *step = apus_plan_step(b->plan);
    uint32_t *ids = apus_step_array(step, b->ids), *pos = apus_step_array(step, b->seq.pos);
    uint32_t *seq = apus_step_array(step, b->seq.seq), *adapter = apus_step_array(step, b->adapter);
    uint32_t *row_id = apus_step_array(step, b->row_id),
             *index = apus_step_array(step, b->loss_index);
    uint32_t *inverse = apus_step_array(step, b->loss_inverse),
             *label = apus_step_array(step, b->labels);
    uint32_t *base = apus_step_array(step, b->seq.base),
             *length = apus_step_array(step, b->seq.length);
    uint32_t *pages = apus_step_array(step, b->seq.pages), at = 0, loss = 0;
    uint32_t *first = b->bounds, *rows = b->bounds + b->sequences;
    float *weight = apus_step_array(step, b->weights);

    for (uint32_t i = 0; i < n; i++) {
        first[i] = base[i] = at;
        rows[i] = length[i] = seqs[i].n;
        for (uint32_t t = 0; t < seqs[i].n; t++, at++) {
            ids[at] = seqs[i].ids[t];
            pos[at] = t;
            seq[at] = i;
            adapter[at] = 0;
            row_id[at] = seqs[i].row_id;
            inverse[at] = UINT32_MAX;
            if (t + 1 == seqs[i].n || seqs[i].labels[t + 1] < 0)
                continue;
            inverse[at] = loss;
            index[loss] = at;
            label[loss] = (uint32_t)seqs[i].labels[t + 1];
            weight[loss++] = seqs[i].weights ? seqs[i].weights[t + 1] : 1.0f;
        }
    }
    for (uint32_t p = 0; p < b->seq.pages->dims[0]; p++)
        pages[p] = p;
    step->vars[APUS_VAR_TOKENS] = at;
    step->vars[APUS_VAR_SEQUENCES] = n;
    step->vars[APUS_VAR_LOSS_ROWS] = loss;
    step->vars[APUS_VAR_BLOCKS] =
        apus_blocks_fill(apus_step_array(step, b->seq.blocks), first, rows, n, b->seq.block_tokens);
    *labels = loss;
    return s->model->train_all ? fill_order(s, b, step, ids, at) : APUS_OK;
}
