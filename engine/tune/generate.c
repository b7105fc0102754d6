/* generate.c - answering prompts: prefill in chunks, decode of all answers together, reuse of what
 * the cache still holds of other texts. */
#include "generator.h"
#include "os.h"
#include "trace.h"

/* One call: prompts that come, answers that are written. */
typedef struct work {
    apus_generator *g;
    const apus_generate_params *p;
    const apus_prompts *prompts;
    apus_sampling sampling;
    uint32_t n_begun, n_busy;
    uint64_t n_new; /* tokens since the last decoding */
    bool no_more;   /* prompts */
    bool ended;     /* an answer, since prompts were last asked for */
    apus_status refused;
    char *why; /* a prompt was refused, or could not be had; NULL: none was */
} work;

static apus_status check_params(const apus_generator *g, const apus_generate_params *p)
{
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

static apus_status check_prompt(const apus_generator *g, const uint32_t *prompt, size_t n)
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

/* ---- where a prompt goes ---- */

/* Tokens that the prompt begins with and a lane holds; at least one is run again. */
static uint32_t same_start(const work *w, const apusi_lane *l, const uint32_t *ids, uint32_t n)
{
    uint32_t same = 0;

    if (l->adapter != w->p->adapter || w->sampling.repetition_penalty != 1)
        return 0; /* with a penalty the seen tokens are counted anew */
    while (same < l->n_text && same + 1 < n && l->text[same] == ids[same])
        same++;
    return same;
}

/* Whole pages of a text that is still written become the start of an idle lane's, too. */
static apus_status share(apus_generator *g, const apusi_lane *from, apusi_lane *to, uint32_t same)
{
    apus_cache *cache = apus_session_cache(g->session);

    apus_sequence_release(cache, &to->sequence);
    to->n_text = 0;
    APUS_FORWARD(apus_cache_fork(cache, &from->sequence, &to->sequence));
    apus_cache_truncate(cache, &to->sequence, same);
    memcpy(to->text, from->text, same * sizeof(*to->text));
    to->n_text = same;
    return APUS_OK;
}

/* An idle lane that holds as much of the prompt's start as there is in any, and no more. */
static apus_status place(work *w, const uint32_t *ids, uint32_t n, apusi_lane **out)
{
    apus_generator *g = w->g;
    apusi_lane *idle = NULL, *from = NULL;
    uint32_t most = 0, shared = 0;

    for (uint32_t i = 0; i < g->n_lanes; i++) {
        apusi_lane *l = &g->lanes[i];
        uint32_t same = same_start(w, l, ids, n);

        if (l->busy) {
            same -= same % APUS_PAGE_TOKENS;
            from = same > shared ? l : from;
            shared = same > shared ? same : shared;
        } else if (!idle || same > most) {
            idle = l;
            most = same;
        }
    }
    if (shared > most) {
        APUS_FORWARD(share(g, from, idle, shared));
    } else {
        apus_cache_truncate(apus_session_cache(g->session), &idle->sequence, most);
        idle->n_text = most;
    }
    idle->adapter = w->p->adapter;
    *out = idle;
    return APUS_OK;
}

/* ---- running ---- */

static apus_session_item item_of(const work *w, apusi_lane *l, const uint32_t *tokens, uint32_t n)
{
    return (apus_session_item) {
        .sequence = &l->sequence,
        .tokens = tokens,
        .n = n,
        .slot = (uint32_t)(l - w->g->lanes),
        .adapter = w->p->adapter >= 0 ? (uint32_t)w->p->adapter : UINT32_MAX,
        .sampling = &w->sampling,
    };
}

static apus_status finish(work *w, apusi_lane *l)
{
    l->busy = false;
    w->n_busy--;
    w->ended = true;
    l->result.host_us = l->runs ? (double)l->host_ns / l->runs / 1e3 : 0;
    return w->prompts->done(w->prompts->user, l->prompt, &l->result);
}

/* Hand out a token that was drawn; it may end the answer. */
static apus_status take(work *w, apusi_lane *l, uint32_t id)
{
    const apus_generate_params *p = w->p;

    l->next = id;
    l->result.stopped = is_stop(p, id);
    if (l->result.stopped)
        return finish(w, l);
    l->result.new_tokens++;
    w->n_new++;
    if ((p->token && !p->token(p->user, l->prompt, id)) || l->result.new_tokens >= l->most)
        return finish(w, l);
    return APUS_OK;
}

static uint32_t chunk_of(uint32_t left)
{
    return left < APUSI_GENERATE_CHUNK ? left : APUSI_GENERATE_CHUNK;
}

/* The plans of the chunks: what is made once for all texts of such a length is no part of the time
 * that reading takes. */
static apus_status make_plans(work *w, uint32_t left)
{
    apus_plan *plan;

    for (; left; left -= chunk_of(left))
        APUS_FORWARD(apus_session_plan(w->g->session, chunk_of(left), 1, &plan));
    return APUS_OK;
}

/* Run ids[l->n_text .. n): all but the last chunk draw nothing that is used. */
static apus_status prefill(work *w, apusi_lane *l, const uint32_t *ids, uint32_t n, uint32_t *next)
{
    while (l->n_text < n) {
        const apus_session_item item = item_of(w, l, ids + l->n_text, chunk_of(n - l->n_text));

        APUS_FORWARD(apus_session_run(w->g->session, &item, 1, next, w->p->cancel));
        memcpy(l->text + l->n_text, item.tokens, item.n * sizeof(*ids));
        l->n_text += item.n;
    }
    return APUS_OK;
}

static apus_status begin(work *w, const uint32_t *ids, uint32_t n)
{
    const uint32_t room = w->g->max_length - n, most = w->p->max_new_tokens;
    apusi_lane *l;
    uint32_t next = 0;

    APUS_FORWARD(place(w, ids, n, &l));
    l->busy = true;
    l->prompt = w->n_begun++;
    l->most = most && most < room ? most : room;
    l->runs = 0;
    l->host_ns = 0;
    l->result = (apus_generate_result) { .prompt_tokens = n, .reused = l->n_text };
    w->n_busy++;
    if (w->sampling.repetition_penalty != 1)
        APUS_FORWARD(apus_session_forget(w->g->session, (uint32_t)(l - w->g->lanes)));
    APUS_FORWARD(make_plans(w, n - l->n_text));
    const uint64_t start = apus_now_ns(), began = apus_trace_begin();
    const apus_status st = prefill(w, l, ids, n, &next);
    if (st == APUS_ERR_CANCELLED)
        return APUS_OK; /* the answer is left as it is */
    APUS_FORWARD(st);
    l->result.prefill_s = (double)(apus_now_ns() - start) * 1e-9;
    apus_trace_end(began, "prefill", NULL, "tokens", n - l->result.reused);
    return cancelled(w->p) ? APUS_OK : take(w, l, next);
}

/* A prompt that is not had ends their row; what is written goes on. */
static apus_status refuse(work *w, apus_status st)
{
    w->no_more = true;
    w->refused = st;
    w->why = apus_strdup(apus_error_text());
    return w->why ? APUS_OK : st;
}

/* Begin answers while there are lanes and prompts. */
static apus_status fill(work *w)
{
    while (w->n_busy < w->g->n_lanes && !w->no_more && !cancelled(w->p)) {
        const uint32_t *ids = NULL;
        size_t n = 0;
        bool more = true;
        apus_status st = w->prompts->next(w->prompts->user, &ids, &n, &more);

        if (st == APUS_OK && more)
            st = check_prompt(w->g, ids, n);
        if (st != APUS_OK)
            return refuse(w, st);
        w->no_more = !more;
        if (more)
            APUS_FORWARD(begin(w, ids, (uint32_t)n));
    }
    return APUS_OK;
}

/* One more token of each answer. */
static apus_status step(work *w)
{
    apus_session *s = w->g->session;
    apus_session_item items[APUS_GENERATE_MOST];
    apusi_lane *lanes[APUS_GENERATE_MOST];
    uint32_t ids[APUS_GENERATE_MOST], n = 0;
    apus_plan *plan;

    for (uint32_t i = 0; i < w->g->n_lanes; i++) {
        apusi_lane *l = &w->g->lanes[i];

        if (!l->busy)
            continue;
        l->text[l->n_text] = l->next;
        items[n] = item_of(w, l, &l->next, 1);
        lanes[n++] = l;
    }
    APUS_FORWARD(apus_session_plan(s, n, n, &plan));
    apus_session_host_ns(s); /* of what was before */
    const uint64_t start = apus_now_ns();
    APUS_FORWARD(apus_session_run(s, items, n, ids, NULL));
    const double seconds = (double)(apus_now_ns() - start) * 1e-9;
    const uint64_t host_ns = apus_session_host_ns(s);
    for (uint32_t i = 0; i < n; i++) {
        lanes[i]->n_text++;
        lanes[i]->runs++;
        lanes[i]->host_ns += host_ns;
        lanes[i]->result.decode_s += seconds;
    }
    for (uint32_t i = 0; i < n && !cancelled(w->p); i++)
        APUS_FORWARD(take(w, lanes[i], ids[i]));
    return APUS_OK;
}

/* Steps until all answers have ended, or one whose place a prompt may take. */
static apus_status decode(work *w)
{
    apus_plan *plan;

    APUS_FORWARD(apus_session_plan(w->g->session, w->n_busy, w->n_busy, &plan));
    const uint64_t began = apus_trace_begin();
    w->ended = false;
    while (w->n_busy && !cancelled(w->p) && (w->no_more || !w->ended))
        APUS_FORWARD(step(w));
    apus_trace_end(began, "decode", NULL, "tokens", w->n_new);
    w->n_new = 0;
    return APUS_OK;
}

apus_status apus_generate_each(apus_generator *g, const apus_prompts *prompts,
                               const apus_generate_params *p)
{
    work w = { .g = g, .p = p, .prompts = prompts };
    apus_status st;

    w.sampling = (apus_sampling) {
        .temperature = p->temperature,
        .top_k = p->top_k,
        .top_p = p->top_p > 0 ? p->top_p : 1,
        .min_p = p->min_p,
        .seed = p->seed,
        .repetition_penalty = p->repetition_penalty > 0 ? p->repetition_penalty : 1,
    };
    APUS_TRY(check_params(g, p));
    for (;;) {
        APUS_TRY(fill(&w));
        if (!w.n_busy || cancelled(p))
            break;
        APUS_TRY(decode(&w));
    }
    for (uint32_t i = 0; i < g->n_lanes; i++) {
        if (!g->lanes[i].busy)
            continue;
        g->lanes[i].result.cancelled = true;
        APUS_TRY(finish(&w, &g->lanes[i]));
    }
    if (w.why)
        st = apus_fail(w.refused, "%s", w.why);
fail:
    for (uint32_t i = 0; i < g->n_lanes; i++)
        g->lanes[i].busy = false;
    apus_free(w.why);
    return st;
}

/* ---- one prompt ---- */

typedef struct single {
    const uint32_t *ids;
    size_t n;
    bool given;
    apus_generate_result *result;
} single;

static apus_status give_once(void *user, const uint32_t **ids, size_t *n, bool *more)
{
    single *s = user;

    *ids = s->ids;
    *n = s->n;
    *more = !s->given;
    s->given = true;
    return APUS_OK;
}

static apus_status keep(void *user, uint32_t prompt, const apus_generate_result *result)
{
    single *s = user;

    (void)prompt;
    *s->result = *result;
    return APUS_OK;
}

apus_status apus_generate(apus_generator *g, const uint32_t *prompt, size_t n,
                          const apus_generate_params *p, apus_generate_result *result)
{
    single s = { .ids = prompt, .n = n, .result = result };

    *result = (apus_generate_result) { .prompt_tokens = (uint32_t)n };
    return apus_generate_each(g, &(apus_prompts) { give_once, keep, &s }, p);
}
