/* generate.c - answering prompts: prefill in chunks, decode token by token, reuse of what the cache
 * still holds of the last text.  It stands in this layer because it loads adapters. */
#include "apus/generate.h"

#include "adapters.h"
#include "os.h"
#include "session.h"
#include "trace.h"

#define CHUNK 512u

struct apus_generator {
    apus_model *model;
    apus_session *session;
    apus_adapters *adapters;
    apus_adapt_hook hook;
    apus_sequence sequence;
    uint32_t *text; /* ids whose keys are in the cache */
    uint32_t n_text, max_length;
    int adapter; /* that they were computed with */
};

static apus_status load_adapters(apus_generator *g, const apus_generator_params *p)
{
    uint32_t rank = 1;

    for (size_t i = 0; i < p->n_adapters; i++) {
        apus_lora_config c;
        APUS_FORWARD(apus_adapter_peek(p->adapters[i], &c));
        rank = c.rank > rank ? c.rank : rank;
    }
    APUS_FORWARD(apus_adapters_create(&g->adapters, g->model, (uint32_t)p->n_adapters, rank));
    for (size_t i = 0; i < p->n_adapters; i++)
        APUS_FORWARD(apus_adapters_load(g->adapters, (uint32_t)i, p->adapters[i]));
    g->hook = apus_adapters_hook(g->adapters);
    return APUS_OK;
}

apus_status apus_generator_create(apus_generator **out, apus_model *model,
                                  const apus_generator_params *p)
{
    apus_status st;
    apus_generator *g = apus_alloc(sizeof(*g));

    *out = NULL;
    if (!g)
        return APUS_ERR_MEMORY;
    g->model = model;
    g->adapter = -1;
    g->max_length = p->max_length && p->max_length < model->max_positions ? p->max_length
                                                                          : model->max_positions;
    g->text = apus_calloc(g->max_length, sizeof(*g->text));
    if (!g->text)
        APUS_TRY(APUS_ERR_MEMORY);
    if (p->n_adapters)
        APUS_TRY(load_adapters(g, p));
    APUS_TRY(
        apus_session_create(&g->session, model,
                            &(apus_session_params) { .tokens = g->max_length,
                                                     .chunk = CHUNK,
                                                     .max_sequences = p->batch ? p->batch : 1,
                                                     .hook = p->n_adapters ? &g->hook : NULL }));
    *out = g;
    return APUS_OK;

fail:
    apus_generator_destroy(&g);
    return st;
}

void apus_generator_destroy(apus_generator **generator)
{
    apus_generator *g = *generator;

    if (!g)
        return;
    if (g->session)
        apus_sequence_release(apus_session_cache(g->session), &g->sequence);
    apus_session_destroy(&g->session);
    apus_adapters_destroy(&g->adapters);
    apus_free(g->text);
    apus_free(g);
    *generator = NULL;
}

static apus_status check(const apus_generator *g, const uint32_t *prompt, size_t n,
                         const apus_generate_params *p)
{
    if (n == 0)
        return apus_fail(APUS_ERR_ARG, "the prompt is empty");
    if (n >= g->max_length)
        return apus_fail(APUS_ERR_ARG,
                         "the prompt has %zu tokens; with --max_length %u at most %u fit", n,
                         g->max_length, g->max_length - 1);
    for (size_t i = 0; i < n; i++)
        if (prompt[i] >= g->model->dims.vocab)
            return apus_fail(APUS_ERR_ARG, "token id %u is outside the model's vocabulary of %u",
                             prompt[i], g->model->dims.vocab);
    if (p->adapter >= 0 && (!g->adapters || (uint32_t)p->adapter >= g->adapters->n_slots))
        return apus_fail(APUS_ERR_ARG, "there is no adapter %d", p->adapter);
    if (!(p->temperature >= 0) || !(p->top_p >= 0 && p->top_p <= 1) ||
        !(p->min_p >= 0 && p->min_p < 1) || !(p->repetition_penalty >= 0))
        return apus_fail(APUS_ERR_ARG,
                         "sampling: temperature %g (>= 0), top_p %g (0, 1], min_p %g [0, 1), "
                         "repetition_penalty %g (> 0)",
                         (double)p->temperature, (double)p->top_p, (double)p->min_p,
                         (double)p->repetition_penalty);
    return APUS_OK;
}

/* Keep of the cache what the new prompt begins with; at least one token is run again. */
static apus_status reuse(apus_generator *g, const uint32_t *prompt, size_t n, int adapter,
                         bool penalty)
{
    uint32_t same = 0;

    if (adapter == g->adapter && !penalty) /* with a penalty the seen tokens are counted anew */
        while (same < g->n_text && same + 1 < n && g->text[same] == prompt[same])
            same++;
    apus_cache_truncate(apus_session_cache(g->session), &g->sequence, same);
    g->n_text = same;
    g->adapter = adapter;
    return penalty ? apus_session_forget(g->session, 0) : APUS_OK;
}

/* The plans of the chunks and of decoding: what is made once for all texts of such a length is no
 * part of the time that reading and writing take.  In order of use, so that scratch memory is made
 * once, for the largest. */
static apus_status make_plans(apus_generator *g, uint32_t n, bool decodes)
{
    apus_plan *plan;

    for (uint32_t left = n - g->n_text; left; left -= left < CHUNK ? left : CHUNK)
        APUS_FORWARD(apus_session_plan(g->session, left < CHUNK ? left : CHUNK, 1, &plan));
    return decodes ? apus_session_plan(g->session, 1, 1, &plan) : APUS_OK;
}

/* Run ids[g->n_text .. n): all but the last chunk draw nothing that is used. */
static apus_status prefill(apus_generator *g, const uint32_t *ids, uint32_t n,
                           const apus_session_item *like, const apus_cancel *cancel, uint32_t *next)
{
    while (g->n_text < n) {
        apus_session_item item = *like;
        item.tokens = ids + g->n_text;
        item.n = n - g->n_text < CHUNK ? n - g->n_text : CHUNK;
        APUS_FORWARD(apus_session_run(g->session, &item, 1, next, cancel));
        memcpy(g->text + g->n_text, item.tokens, item.n * sizeof(*ids));
        g->n_text += item.n;
    }
    return APUS_OK;
}

static bool is_stop(const apus_generate_params *p, uint32_t id)
{
    for (size_t i = 0; i < p->n_stop_ids; i++)
        if (p->stop_ids[i] == id)
            return true;
    return false;
}

static bool cancelled(const apus_generate_params *p)
{
    return p->cancel && p->cancel->requested;
}

/* Hand out `next`, run it, and so on until something ends it. */
static apus_status decode(apus_generator *g, apus_session_item *item, const apus_generate_params *p,
                          uint32_t next, apus_generate_result *r)
{
    const uint32_t room = g->max_length - g->n_text;
    const uint32_t most = p->max_new_tokens && p->max_new_tokens < room ? p->max_new_tokens : room;
    uint32_t runs = 0;

    apus_session_host_ns(g->session);
    while (!cancelled(p)) {
        if (is_stop(p, next)) {
            r->stopped = true;
            break;
        }
        r->new_tokens++;
        if ((p->token && !p->token(p->user, 0, next)) || r->new_tokens >= most)
            break;
        item->tokens = &next;
        item->n = 1;
        g->text[g->n_text] = next;
        const apus_status st = apus_session_run(g->session, item, 1, &next, NULL);
        if (st != APUS_OK)
            return st;
        g->n_text++;
        runs++;
    }
    const uint64_t host = apus_session_host_ns(g->session);
    r->host_us = runs ? (double)host / runs / 1e3 : 0;
    return APUS_OK;
}

apus_status apus_generate(apus_generator *g, const uint32_t *prompt, size_t n,
                          const apus_generate_params *p, apus_generate_result *result)
{
    const apus_sampling sampling = {
        .temperature = p->temperature,
        .top_k = p->top_k,
        .top_p = p->top_p > 0 ? p->top_p : 1,
        .min_p = p->min_p,
        .seed = p->seed,
        .repetition_penalty = p->repetition_penalty > 0 ? p->repetition_penalty : 1,
    };
    apus_session_item item = { .sequence = &g->sequence,
                               .sampling = &sampling,
                               .adapter = p->adapter >= 0 ? (uint32_t)p->adapter : UINT32_MAX };
    uint32_t next = 0;

    *result = (apus_generate_result) { .prompt_tokens = (uint32_t)n };
    APUS_FORWARD(check(g, prompt, n, p));
    APUS_FORWARD(reuse(g, prompt, n, p->adapter, sampling.repetition_penalty != 1));
    result->reused = g->n_text;
    APUS_FORWARD(make_plans(g, (uint32_t)n, p->max_new_tokens != 1));
    const uint64_t start = apus_now_ns(), began = apus_trace_begin();
    const apus_status st = prefill(g, prompt, (uint32_t)n, &item, p->cancel, &next);
    if (st == APUS_ERR_CANCELLED)
        return APUS_OK;
    APUS_FORWARD(st);
    const uint64_t first = apus_now_ns();
    apus_trace_end(began, "prefill", NULL, "tokens", n - result->reused);
    const uint64_t decoding = apus_trace_begin();
    result->prefill_s = (double)(first - start) * 1e-9;
    APUS_FORWARD(decode(g, &item, p, next, result));
    result->decode_s = (double)(apus_now_ns() - first) * 1e-9;
    apus_trace_end(decoding, "decode", NULL, "tokens", result->new_tokens);
    return APUS_OK;
}
