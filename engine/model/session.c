/* session.c - inference: graphs by bucket, step buffers, runs.  See session.h. */
#include "session.h"

#include "args/sample.h"
#include "gather_rows.h"
#include "matmul.h"
#include "os.h"
#include "sample.h"
#include "trace.h"

#define MAX_PLANS 64

/* One recorded shape: up to `tokens` rows of up to `sequences` sequences, logits of `out_rows`. */
typedef struct bucket {
    uint32_t tokens, sequences, out_rows;
    bool every_row; /* logits of all rows are kept, nothing is drawn */
    apus_graph graph;
    apus_plan *plan;
    apus_tensor *ids, *out_index, *settings, *token_slot, *adapter, *logits;
    apus_sequences seq;
} bucket;

struct apus_session {
    apus_model *model;
    apus_cache cache;
    apus_session_params params;
    bucket *buckets[MAX_PLANS];
    uint32_t n_buckets;
    apus_buffer seen, drawn;
    uint32_t seen_words;
    uint32_t longest, max_pages; /* of one sequence: tokens, pages */
    uint64_t host_ns;
};

apus_status apus_session_create(apus_session **out, apus_model *model,
                                const apus_session_params *params)
{
    apus_status st;
    apus_session *s = apus_alloc(sizeof(*s));
    const apus_net_dims *d = &model->dims;

    *out = NULL;
    if (!s)
        return APUS_ERR_MEMORY;
    s->model = model;
    s->params = *params;
    if (!s->params.max_sequences)
        s->params.max_sequences = 1;
    if (!s->params.chunk)
        s->params.chunk = 512;
    s->seen_words = (d->vocab + 31) / 32;
    APUS_TRY(apus_cache_init(&s->cache, model->gpu, d->layers, d->kv_heads * d->head_dim,
                             params->tokens, model->types.cache));
    s->longest = params->length && params->length < model->max_positions ? params->length
                                                                         : model->max_positions;
    s->max_pages = s->cache.n_pages;
    if (params->length && apus_ceil_div(params->length, APUS_PAGE_TOKENS) < s->max_pages)
        s->max_pages = (uint32_t)apus_ceil_div(params->length, APUS_PAGE_TOKENS);
    const uint64_t seen_bytes = 4 * (uint64_t)s->seen_words * s->params.max_sequences;
    APUS_TRY(
        apus_buffer_create(model->gpu, &s->seen, seen_bytes, APUS_MEMORY_DEVICE, "seen tokens"));
    for (uint32_t i = 0; i < s->params.max_sequences; i++)
        APUS_TRY(apus_session_forget(s, i));
    APUS_TRY(apus_buffer_create(model->gpu, &s->drawn, 4 * (uint64_t)s->params.max_sequences,
                                APUS_MEMORY_HOST, "drawn"));
    *out = s;
    return APUS_OK;

fail:
    apus_session_destroy(&s);
    return st;
}

static void drop_buckets(apus_session *s)
{
    for (uint32_t i = 0; i < s->n_buckets; i++) {
        apus_plan_destroy(&s->buckets[i]->plan);
        apus_graph_release(&s->buckets[i]->graph);
        apus_free(s->buckets[i]);
    }
    s->n_buckets = 0;
}

void apus_session_destroy(apus_session **session)
{
    apus_session *s = *session;

    if (!s)
        return;
    drop_buckets(s);
    apus_buffer_destroy(s->model->gpu, &s->seen);
    apus_buffer_destroy(s->model->gpu, &s->drawn);
    apus_cache_release(&s->cache);
    apus_free(s);
    *session = NULL;
}

apus_cache *apus_session_cache(apus_session *s)
{
    return &s->cache;
}

apus_status apus_session_forget(apus_session *s, uint32_t slot)
{
    apus_status st;
    const uint64_t bytes = 4 * (uint64_t)s->seen_words;
    void *zeros = apus_alloc(bytes);

    if (!zeros)
        return APUS_ERR_MEMORY;
    st = apus_buffer_write(s->model->gpu, &s->seen, slot * bytes, zeros, bytes);
    apus_free(zeros);
    return st;
}

/* ---- graphs ---- */

static apus_tensor *tokens_array(apus_graph *g, const char *name, uint32_t n)
{
    return apus_graph_step(g, name, APUS_U32, n, apus_rows_live(APUS_VAR_TOKENS, n));
}

static void step_arrays(apus_session *s, bucket *b)
{
    apus_graph *g = &b->graph;
    const apus_net_dims *d = &s->model->dims;
    const uint32_t t = b->tokens, n = b->sequences;
    const uint32_t block = apus_attention_block_tokens(apus_gpu_caps(s->model->gpu), d->heads,
                                                       d->kv_heads, d->head_dim, t > n ? t : 1);
    const uint32_t blocks = (uint32_t)apus_ceil_div(t, block) + n;

    b->ids = tokens_array(g, "tokens", t);
    b->token_slot = tokens_array(g, "token_slot", t);
    b->adapter = tokens_array(g, "adapter", t);
    b->out_index = apus_graph_step(g, "out_index", APUS_U32, b->out_rows,
                                   apus_rows_live(APUS_VAR_OUT_ROWS, b->out_rows));
    b->settings = apus_graph_step(g, "sampling", APUS_U32, n * APUS_SAMPLE_WORDS, APUS_ROWS_ALL);
    b->seq = (apus_sequences) {
        .pos = tokens_array(g, "pos", t),
        .seq = tokens_array(g, "seq", t),
        .base = apus_graph_step(g, "base", APUS_U32, n, APUS_ROWS_ALL),
        .length = apus_graph_step(g, "length", APUS_U32, n, APUS_ROWS_ALL),
        .pages = apus_graph_step(g, "pages", APUS_U32, n * s->max_pages, APUS_ROWS_ALL),
        .blocks = apus_graph_step(g, "blocks", APUS_U32, 2 * blocks,
                                  (apus_rows) { APUS_VAR_BLOCKS, 0, blocks, 2 }),
        .page_tokens = APUS_PAGE_TOKENS,
        .max_pages = s->max_pages,
        .block_tokens = block,
        .max_blocks = blocks,
    };
}

static void set_layer(void *user, apus_net *net, uint32_t layer)
{
    const apus_session *s = user;
    const uint32_t dims[2] = { s->cache.n_pages * APUS_PAGE_TOKENS, s->cache.row_width };

    net->k_cache = apus_graph_bound(net->g, "k cache", s->cache.dtype, 2, dims,
                                    apus_cache_keys(&s->cache, layer));
    net->v_cache = apus_graph_bound(net->g, "v cache", s->cache.dtype, 2, dims,
                                    apus_cache_values(&s->cache, layer));
}

/* The head on the rows whose logits are wanted, and the draw. */
static void build_head(apus_session *s, bucket *b, apus_net *net, apus_tensor *x)
{
    apus_graph *g = &b->graph;
    const apus_model *m = s->model;

    g->prefix = apus_model_head_name(m);
    x = apus_gather_rows(g, x, b->out_index, NULL);
    b->logits = apus_matmul(g, x, net->weight(net->weight_user, g, apus_model_head_name(m)),
                            &(apus_matmul_params) { .kind = APUS_NT });
    if (!b->logits)
        return;
    b->logits->keep = b->every_row;
    if (b->every_row)
        return;
    g->prefix = "sample";
    const uint32_t seen_dims[2] = { s->params.max_sequences, s->seen_words };
    apus_sample(g, b->logits,
                &(apus_sample_params) {
                    .settings = b->settings,
                    .tokens = b->ids,
                    .token_slot = b->token_slot,
                    .seen = apus_graph_bound(g, "seen", APUS_U32, 2, seen_dims, s->seen.address),
                    .out = apus_graph_bound(g, "drawn", APUS_U32, 1, &s->params.max_sequences,
                                            s->drawn.address) });
}

static apus_status build(apus_session *s, bucket *b)
{
    apus_status st;
    apus_graph *g = &b->graph;
    const apus_model *m = s->model;
    apus_model_net weights = { m, apus_calloc(m->n_weights, sizeof(apus_tensor *)) };
    const uint32_t rope_dims[2] = { m->max_positions, m->dims.head_dim };
    const apus_adapt_hook *hook = s->params.hook;

    if (!weights.made)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_graph_init(g));
    step_arrays(s, b);
    if (hook)
        hook->begin(hook->user, g, b->adapter, NULL, b->seq.pos);
    apus_net net = {
        .g = g,
        .dims = &m->dims,
        .weight = apus_model_tensor,
        .weight_user = &weights,
        .adapt = hook ? hook->adapt : NULL,
        .adapt_user = hook ? hook->user : NULL,
        .sequences = b->seq,
        .rope = apus_graph_bound(g, "rope", APUS_F32, 2, rope_dims, m->rope.address),
    };
    build_head(s, b, &net, apus_model_forward(&net, m, b->ids, NULL, set_layer, s));
    APUS_TRY(apus_graph_status(g));
    APUS_TRY(apus_plan_create(
        &b->plan, m->exec, g,
        &(apus_plan_params) { .name = b->tokens > b->sequences ? "prefill" : "decode",
                              .narrow = m->types.narrow ? APUS_NARROW_8 : APUS_NARROW_NOT,
                              .force = s->params.force,
                              .profile = s->params.profile,
                              .fuse = true }));
fail:
    apus_free(weights.made);
    return st;
}

static uint32_t bucket_of(uint32_t n, uint32_t most)
{
    uint32_t b = 1;

    while (b < n)
        b *= 2;
    return b < most ? b : most;
}

static apus_status find_bucket(apus_session *s, uint32_t tokens, uint32_t sequences, bool every_row,
                               bucket **out)
{
    const uint32_t most = s->params.chunk > tokens ? s->params.chunk : tokens;
    const uint32_t n = bucket_of(sequences, s->params.max_sequences);
    const uint32_t t = tokens == sequences ? n : bucket_of(tokens, most); /* n: each has one */
    apus_status st;
    bucket *b;

    if (s->params.fresh)
        drop_buckets(s);
    for (uint32_t i = 0; i < s->n_buckets; i++) {
        b = s->buckets[i];
        if (b->tokens == t && b->sequences == n && b->every_row == every_row) {
            *out = b;
            return APUS_OK;
        }
    }
    if (s->n_buckets == MAX_PLANS)
        return apus_fail(APUS_ERR_SUPPORT, "more than %d shapes of runs", MAX_PLANS);
    b = apus_alloc(sizeof(*b));
    if (!b)
        return APUS_ERR_MEMORY;
    b->tokens = t;
    b->sequences = n;
    b->every_row = every_row;
    b->out_rows = every_row ? t : n;
    st = build(s, b);
    if (st != APUS_OK) {
        apus_plan_destroy(&b->plan);
        apus_graph_release(&b->graph);
        apus_free(b);
        return st;
    }
    s->buckets[s->n_buckets++] = b;
    *out = b;
    return APUS_OK;
}

/* ---- runs ---- */

static void write_sampling(uint32_t *w, const apus_sampling *p, uint32_t counter, uint32_t slot)
{
    static const apus_sampling greedy = { .top_p = 1, .repetition_penalty = 1 };

    p = p ? p : &greedy;
    memcpy(&w[APUS_SAMPLE_TEMPERATURE], &p->temperature, 4);
    w[APUS_SAMPLE_TOP_K] = p->top_k;
    memcpy(&w[APUS_SAMPLE_TOP_P], &p->top_p, 4);
    memcpy(&w[APUS_SAMPLE_MIN_P], &p->min_p, 4);
    memcpy(&w[APUS_SAMPLE_PENALTY], &p->repetition_penalty, 4);
    w[APUS_SAMPLE_SEED] = p->seed;
    w[APUS_SAMPLE_COUNTER] = counter;
    w[APUS_SAMPLE_SLOT] = slot;
}

/* Everything the recorded commands read: ids, positions, pages, blocks, settings. */
static void fill_step(apus_session *s, bucket *b, const apus_session_item *items, uint32_t n_items)
{
    apus_step step = apus_plan_step(b->plan);
    uint32_t *ids = apus_step_array(&step, b->ids), *pos = apus_step_array(&step, b->seq.pos);
    uint32_t *seq = apus_step_array(&step, b->seq.seq),
             *slot = apus_step_array(&step, b->token_slot);
    uint32_t *adapter = apus_step_array(&step, b->adapter),
             *out = apus_step_array(&step, b->out_index);
    uint32_t *base = apus_step_array(&step, b->seq.base),
             *length = apus_step_array(&step, b->seq.length);
    uint32_t *pages = apus_step_array(&step, b->seq.pages);
    uint32_t *settings = apus_step_array(&step, b->settings);
    uint32_t first[APUS_SESSION_SEQUENCES], rows[APUS_SESSION_SEQUENCES], at = 0;

    for (uint32_t i = 0; i < n_items; i++) {
        const apus_session_item *it = &items[i];
        first[i] = at;
        rows[i] = it->n;
        for (uint32_t k = 0; k < it->n; k++, at++) {
            ids[at] = it->tokens[k];
            pos[at] = it->sequence->length + k;
            seq[at] = i;
            slot[at] = it->slot;
            adapter[at] = it->adapter;
            if (b->every_row)
                out[at] = at;
        }
        if (!b->every_row)
            out[i] = at - 1;
        base[i] = 0;
        length[i] = it->sequence->length + it->n;
        memcpy(pages + (size_t)i * s->max_pages, it->sequence->pages,
               it->sequence->n_pages * sizeof(*pages));
        write_sampling(settings + (size_t)i * APUS_SAMPLE_WORDS, it->sampling, length[i], it->slot);
    }
    step.vars[APUS_VAR_TOKENS] = at;
    step.vars[APUS_VAR_SEQUENCES] = n_items;
    step.vars[APUS_VAR_OUT_ROWS] = b->every_row ? at : n_items;
    step.vars[APUS_VAR_BLOCKS] = apus_blocks_fill(apus_step_array(&step, b->seq.blocks), first,
                                                  rows, n_items, b->seq.block_tokens);
}

static apus_status run(apus_session *s, const apus_session_item *items, uint32_t n_items,
                       bool every_row, const apus_cancel *cancel, bucket **used)
{
    uint32_t tokens = 0;
    bucket *b;

    for (uint32_t i = 0; i < n_items; i++) {
        tokens += items[i].n;
        if (items[i].sequence->length + items[i].n > s->longest)
            return apus_fail(APUS_ERR_ARG,
                             "the text is %u tokens long, longer than %u; use a larger "
                             "--max_length or a shorter text",
                             items[i].sequence->length + items[i].n, s->longest);
    }
    if (tokens == 0 || (tokens > s->params.chunk && !every_row) ||
        n_items > s->params.max_sequences)
        return apus_fail(APUS_ERR_ARG, "a run of %u tokens of %u sequences; at most %u of %u",
                         tokens, n_items, s->params.chunk, s->params.max_sequences);
    APUS_FORWARD(find_bucket(s, tokens, n_items, every_row, &b));
    for (uint32_t i = 0; i < n_items; i++)
        APUS_FORWARD(apus_cache_reserve(&s->cache, items[i].sequence, items[i].n));
    const uint64_t start = apus_now_ns(), began = apus_trace_begin();
    fill_step(s, b, items, n_items);
    s->host_ns += apus_now_ns() - start;
    apus_trace_end(began, "batch", NULL, "tokens", tokens);
    APUS_FORWARD(apus_plan_run(b->plan, cancel));
    s->host_ns += apus_plan_host_ns(b->plan);
    for (uint32_t i = 0; i < n_items; i++)
        items[i].sequence->length += items[i].n;
    *used = b;
    return APUS_OK;
}

apus_status apus_session_run(apus_session *s, const apus_session_item *items, uint32_t n_items,
                             uint32_t *ids, const apus_cancel *cancel)
{
    bucket *b;

    APUS_FORWARD(run(s, items, n_items, false, cancel, &b));
    if (ids)
        memcpy(ids, s->drawn.host, n_items * sizeof(*ids));
    return APUS_OK;
}

apus_status apus_session_logits(apus_session *s, const apus_session_item *item, float *logits)
{
    bucket *b;

    APUS_FORWARD(run(s, item, 1, true, NULL, &b));
    return apus_plan_read(b->plan, b->logits, logits, (uint64_t)item->n * s->model->dims.vocab * 4);
}

apus_status apus_session_plan(apus_session *s, uint32_t tokens, uint32_t sequences, apus_plan **out)
{
    bucket *b;

    APUS_FORWARD(find_bucket(s, tokens, sequences, false, &b));
    *out = b->plan;
    return APUS_OK;
}

uint64_t apus_session_host_ns(apus_session *s)
{
    const uint64_t ns = s->host_ns;

    s->host_ns = 0;
    return ns;
}
