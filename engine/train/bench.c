/* bench.c - speed of a model: the session of inference and the steps of training under a clock.
 * It stands in this layer because it trains. */
#include "apus/bench.h"

#include "bench_internal.h"
#include "os.h"

#define CHUNK 512u

apus_status apus_bench_open(apus_bench **out, const char *model, const apus_bench_params *params)
{
    apus_status st;
    apus_bench *b = apus_alloc(sizeof(*b));

    *out = NULL;
    if (!b)
        return APUS_ERR_MEMORY;
    b->max_tokens = params->max_tokens < 16 ? 16 : params->max_tokens;
    b->full = params->full;
    b->max_sequences = params->max_sequences ? params->max_sequences : 1;
    if (b->max_sequences > APUS_BENCH_MOST_SEQUENCES)
        APUS_TRY(apus_fail(APUS_ERR_ARG, "bench: %u sequences at once; at most %d are possible",
                           b->max_sequences, APUS_BENCH_MOST_SEQUENCES));
    APUS_TRY(apus_model_open(&b->model, model,
                             &(apus_model_params) {
                                 .device = params->device,
                                 .torch_dtype = params->torch_dtype,
                                 .max_positions = b->max_tokens,
                                 .train_all = b->full,
                             }));
    b->ids = apus_calloc(b->max_tokens, sizeof(*b->ids));
    b->labels = apus_calloc(b->max_tokens, sizeof(*b->labels));
    if (!b->ids || !b->labels)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < b->max_tokens; i++) { /* spread over the vocabulary */
        b->ids[i] = (uint32_t)(i * UINT64_C(2654435761) % b->model->dims.vocab);
        b->labels[i] = (int32_t)b->ids[i];
    }
    *out = b;
    return APUS_OK;

fail:
    apus_bench_close(&b);
    return st;
}

static void drop_session(apus_bench *b)
{
    for (uint32_t i = 0; b->session && i < b->max_sequences; i++)
        apus_sequence_release(apus_session_cache(b->session), &b->sequences[i]);
    apus_session_destroy(&b->session);
}

static void drop_step(apus_bench *b)
{
    apus_train_step_destroy(&b->step);
    apus_adapters_destroy(&b->adapters);
}

void apus_bench_close(apus_bench **bench)
{
    apus_bench *b = *bench;

    if (!b)
        return;
    drop_session(b);
    drop_step(b);
    apus_model_close(&b->model);
    apus_free(b->ids);
    apus_free(b->labels);
    apus_free(b);
    *bench = NULL;
}

const apus_model *apus_bench_model(const apus_bench *bench)
{
    return bench->model;
}

void apus_bench_describe(const apus_bench *b, apus_bench_about *out)
{
    const apus_model *m = b->model;
    uint64_t bytes[APUS_DTYPE_COUNT] = { 0 };
    apus_dtype most = APUS_F32;

    for (uint32_t i = 0; i < m->n_weights; i++) {
        const apus_weight *w = &m->weights[i];

        bytes[w->dtype] += w->cols ? w->bytes : 0;
        if (bytes[w->dtype] > bytes[most])
            most = w->dtype;
    }
    *out = (apus_bench_about) {
        .weight_type = apus_dtype_of(most)->name,
        .act_type = apus_dtype_of(m->types.act)->name,
        .cache_type = apus_dtype_of(m->types.cache)->name,
        .chunk = CHUNK,
        .model_bytes = m->weight_bytes,
        .choices = b->choices,
    };
}

/* ---- reading and writing ---- */

/* A session is made when the first test comes, after whatever training held was freed. */
static apus_status need_session(apus_bench *b)
{
    const uint64_t tokens = apus_round_up(b->max_tokens, APUS_PAGE_TOKENS) * b->max_sequences;

    if (b->session)
        return APUS_OK;
    if (tokens > UINT32_MAX)
        return apus_fail(APUS_ERR_MEMORY, "bench: a cache of %u texts of %u tokens is too large",
                         b->max_sequences, b->max_tokens);
    drop_step(b);
    return apus_session_create(&b->session, b->model,
                               &(apus_session_params) {
                                   .tokens = (uint32_t)tokens,
                                   .length = b->max_tokens,
                                   .chunk = CHUNK,
                                   .max_sequences = b->max_sequences,
                               });
}

/* Weights that one run reads: all, but for an embedding of its own, of which it reads rows. */
static double weight_bytes(const apus_model *m)
{
    const char *head = apus_model_head_name(m);
    double sum = 0;

    for (uint32_t i = 0; i < m->n_weights; i++) {
        const apus_weight *w = &m->weights[i];

        if (w->rows != m->dims.vocab || !strcmp(w->name, head))
            sum += (double)w->bytes;
    }
    return sum;
}

static double cache_bytes(const apus_model *m, uint32_t tokens)
{
    const apus_net_dims *d = &m->dims;
    const double each = m->types.cache == APUS_F32 ? 4 : 2;

    return 2.0 * d->layers * d->kv_heads * d->head_dim * each * tokens;
}

/* Run n more tokens of each of some sequences at once and count what it took. */
static apus_status run_tokens(apus_bench *b, uint32_t n, uint32_t first, uint32_t sequences,
                              apus_bench_run *out)
{
    apus_session_item items[APUS_BENCH_MOST_SEQUENCES];
    uint32_t drawn[APUS_BENCH_MOST_SEQUENCES];
    const uint32_t all = n * sequences, most = all == sequences ? b->max_sequences : CHUNK;
    const apus_plan_info *info;
    apus_plan *plan;
    uint32_t bucket = 1;

    for (uint32_t i = 0; i < sequences; i++) {
        apus_sequence *s = &b->sequences[first + i];

        items[i] = (apus_session_item) {
            .sequence = s,
            .tokens = b->ids + s->length,
            .n = n,
            .slot = first + i,
            .adapter = UINT32_MAX,
        };
    }
    APUS_FORWARD(apus_session_run(b->session, items, sequences, drawn, NULL));
    const uint64_t host_ns = apus_session_host_ns(b->session);
    if (!out)
        return APUS_OK;
    out->host_seconds += (double)host_ns * 1e-9;
    out->steps++;
    APUS_FORWARD(apus_session_plan(b->session, all, sequences, &plan));
    out->submissions += apus_plan_bounded(plan).submissions;
    info = apus_plan_about(plan);
    while (bucket < all)
        bucket *= 2;
    out->flops += info->flops * all / (bucket > most ? most : bucket);
    out->bytes += weight_bytes(b->model);
    for (uint32_t i = 0; i < sequences; i++)
        out->bytes += cache_bytes(b->model, b->sequences[first + i].length);
    b->choices = info->choices_hash;
    return APUS_OK;
}

/* Each sequence in turn, in chunks. */
static apus_status read_tokens(apus_bench *b, uint32_t n, uint32_t sequences, apus_bench_run *out)
{
    for (uint32_t i = 0; i < sequences; i++) {
        for (uint32_t left = n, piece; left; left -= piece) {
            piece = left < CHUNK ? left : CHUNK;
            APUS_FORWARD(run_tokens(b, piece, i, 1, out));
        }
    }
    return APUS_OK;
}

apus_status apus_bench_generate(apus_bench *b, const apus_bench_test *test, apus_bench_run *out)
{
    const uint64_t all = (uint64_t)test->depth + test->prompt + test->gen;
    const uint32_t sequences = test->sequences ? test->sequences : 1;
    uint64_t start;

    *out = (apus_bench_run) { 0 };
    if (!test->prompt && !test->gen)
        return apus_fail(APUS_ERR_ARG, "bench: a test of no tokens");
    if (all > b->max_tokens || all > b->model->max_positions)
        return apus_fail(APUS_ERR_ARG, "bench: %llu tokens are more than the model's %u positions",
                         (unsigned long long)all, b->model->max_positions);
    if (sequences > b->max_sequences)
        return apus_fail(APUS_ERR_ARG, "bench: %u sequences at once are more than %u", sequences,
                         b->max_sequences);
    APUS_FORWARD(need_session(b));
    for (uint32_t i = 0; i < b->max_sequences; i++)
        apus_cache_truncate(apus_session_cache(b->session), &b->sequences[i], 0);
    APUS_FORWARD(read_tokens(b, test->depth, sequences, NULL));
    start = apus_now_ns();
    APUS_FORWARD(read_tokens(b, test->prompt, sequences, out));
    for (uint32_t i = 0; i < test->gen; i++)
        APUS_FORWARD(run_tokens(b, 1, 0, sequences, out));
    out->seconds = (double)(apus_now_ns() - start) * 1e-9;
    return APUS_OK;
}

/* ---- training ---- */

static apus_status make_step(apus_bench *b, uint32_t tokens, uint32_t rank, uint32_t recompute)
{
    const apus_lora_config lora = { .rank = rank, .alpha = 32, .seed = 42 };

    drop_step(b);
    if (!b->full) {
        APUS_FORWARD(apus_adapters_create(&b->adapters, b->model, 1, rank));
        APUS_FORWARD(apus_adapters_new(b->adapters, 0, &lora));
    }
    APUS_FORWARD(apus_train_step_create(&b->step, b->model,
                                        &(apus_train_step_params) {
                                            .adapters = b->adapters,
                                            .max_sequences = 1,
                                            .recompute = recompute,
                                            .beta1 = 0.9f,
                                            .beta2 = 0.95f,
                                            .eps = 1e-8f,
                                            .decay = 0.1f,
                                        }));
    b->train_tokens = tokens;
    b->train_rank = rank;
    b->train_steps = 0;
    return apus_train_step_prepare(b->step, tokens, 1, false);
}

static apus_status need_step(apus_bench *b, const apus_bench_train_params *p)
{
    const uint32_t rank = p->rank ? p->rank : 8, layers = b->model->dims.layers;
    apus_status st;

    if (b->step && b->train_tokens == p->tokens && b->train_rank == rank &&
        b->train_recompute == p->recompute)
        return APUS_OK;
    drop_session(b);
    b->train_recompute = p->recompute;
    b->recomputed = p->recompute < layers ? p->recompute : layers;
    st = make_step(b, p->tokens, rank, b->recomputed);
    if (st == APUS_ERR_MEMORY && b->recomputed < layers)
        st = make_step(b, p->tokens, rank, b->recomputed = layers);
    if (st != APUS_OK)
        drop_step(b);
    return st;
}

apus_status apus_bench_train(apus_bench *b, const apus_bench_train_params *p, apus_bench_run *out)
{
    const apus_train_sequence sequence = { .ids = b->ids, .labels = b->labels, .n = p->tokens };
    apus_train_numbers numbers;
    apus_plan *plan;
    uint64_t start;

    *out = (apus_bench_run) { 0 };
    if (p->tokens < 2 || p->tokens > b->max_tokens)
        return apus_fail(APUS_ERR_ARG, "bench: a training step of %u tokens; from 2 to %u will do",
                         p->tokens, b->max_tokens);
    APUS_FORWARD(need_step(b, p));
    b->train_steps++;
    apus_train_host_ns(b->step); /* forget what was before */
    start = apus_now_ns();
    APUS_FORWARD(
        apus_train_micro(b->step, &sequence, 1, 1.0 / (p->tokens - 1), b->train_steps, 42, NULL));
    APUS_FORWARD(apus_train_update(b->step, 1e-4, 1, b->train_steps));
    APUS_FORWARD(apus_train_read(b->step, &numbers));
    out->seconds = (double)(apus_now_ns() - start) * 1e-9;
    out->host_seconds = (double)apus_train_host_ns(b->step) * 1e-9;
    out->steps = 1;
    out->recomputed = b->recomputed;
    APUS_FORWARD(apus_train_plan(b->step, 0, 0, &plan));
    out->submissions = apus_plan_bounded(plan).submissions;
    APUS_FORWARD(apus_train_plan(b->step, p->tokens, 1, &plan));
    out->submissions += apus_plan_bounded(plan).submissions;
    out->flops = apus_plan_about(plan)->flops;
    b->choices = apus_plan_about(plan)->choices_hash;
    return APUS_OK;
}
