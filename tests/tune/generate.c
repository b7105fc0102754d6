/* generate.c - several prompts at once: each answer is the one that its prompt gets alone.
 *
 * The answers to compare with are drawn here, by a session of one sequence.  matmul's definition is
 * forced for that: it sums a row alike among others and alone, so that ids are equal and not only
 * likely to be.  With the algorithms that the device chooses, a difference must be a tie. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters.h"
#include "apus/generate.h"
#include "harness.h"
#include "session.h"

enum { PROMPTS = 9, LENGTH = 160, MOST_NEW = 30, VOCAB = 272, LAYERS = 2 };

/* One token, whole pages, a page and a bit; 140 leaves less than MOST_NEW. */
static const uint32_t lengths[PROMPTS] = { 5, 70, 1, 33, 140, 80, 2, 18, 64 };
static uint32_t prompts[PROMPTS][LENGTH];

/* The sixth begins as the second does, the last is a page of that beginning. */
static void fill_prompts(void)
{
    for (uint32_t i = 0; i < PROMPTS; i++)
        for (uint32_t k = 0; k < lengths[i]; k++) {
            const uint32_t salt = (i == 5 && k < 67) || i == 8 ? 1 : i;
            prompts[i][k] = 16 + (k * k * 7 + k * 37 + salt * 101) % 250;
        }
}

/* Answers end by the reader's wish, too: the second after five tokens, the fourth after four. */
static bool wants_more(uint32_t prompt, uint32_t n)
{
    return (prompt != 1 || n < 5) && (prompt != 3 || n < 4);
}

typedef struct answer {
    uint32_t ids[MOST_NEW], n;
    bool stopped;
} answer;

typedef struct setting {
    const char *name;
    apus_generate_params p;
} setting;

static const setting settings[] = {
    { "greedy", { .adapter = -1 } },
    { "sampled", { .temperature = 1.5f, .top_k = 40, .top_p = 0.9f, .seed = 7, .adapter = -1 } },
    { "penalty", { .temperature = 0.8f, .seed = 3, .repetition_penalty = 1.3f, .adapter = -1 } },
    { "adapter", { .temperature = 1, .seed = 5, .adapter = 0 } },
};

static const char *adapter(void)
{
    return harness_fixture("../golden/cases/llama_gqa_tied_rope3/lora");
}

/* The tiny model, or a skip. */
static bool open_model(apus_model **m, uint32_t positions)
{
    const apus_status st = apus_model_open(
        m, harness_fixture("tiny"),
        &(apus_model_params) { .torch_dtype = "float32", .max_positions = positions });

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return false;
    }
    return CHECK_OK(st);
}

/* ---- one by one ---- */

static bool is_stop(const apus_generate_params *p, uint32_t id)
{
    for (size_t i = 0; i < p->n_stop_ids; i++)
        if (p->stop_ids[i] == id)
            return true;
    return false;
}

static bool draw(apus_session *s, const apus_generate_params *p, uint32_t i, answer *out)
{
    const apus_sampling sampling = {
        .temperature = p->temperature,
        .top_k = p->top_k,
        .top_p = p->top_p > 0 ? p->top_p : 1,
        .repetition_penalty = p->repetition_penalty > 0 ? p->repetition_penalty : 1,
        .seed = p->seed,
    };
    apus_sequence sequence = { 0 };
    apus_session_item item = {
        .sequence = &sequence,
        .tokens = prompts[i],
        .n = lengths[i],
        .sampling = &sampling,
        .adapter = p->adapter >= 0 ? 0 : UINT32_MAX,
    };
    uint32_t id = 0;
    bool ok = CHECK_OK(apus_session_forget(s, 0));

    *out = (answer) { 0 };
    while (ok && (ok = CHECK_OK(apus_session_run(s, &item, 1, &id, NULL)))) {
        out->stopped = is_stop(p, id);
        if (out->stopped)
            break;
        out->ids[out->n++] = id;
        if (out->n == MOST_NEW || lengths[i] + out->n == LENGTH || !wants_more(i, out->n))
            break;
        item.tokens = &id;
        item.n = 1;
    }
    apus_sequence_release(apus_session_cache(s), &sequence);
    return ok;
}

/* All answers of a setting, each drawn alone. */
static bool alone(apus_model *m, const apus_generate_params *p, answer *out)
{
    apus_adapters *ad = NULL;
    apus_session *s = NULL;
    apus_adapt_hook hook = { 0 };
    bool ok = true;

    if (p->adapter >= 0) {
        ok = CHECK_OK(apus_adapters_create(&ad, m, 1, 64)) &&
             CHECK_OK(apus_adapters_load(ad, 0, adapter()));
        if (ok)
            hook = apus_adapters_hook(ad);
    }
    ok = ok &&
         CHECK_OK(apus_session_create(
             &s, m, &(apus_session_params) { .tokens = 2 * LENGTH, .hook = ad ? &hook : NULL }));
    for (uint32_t i = 0; ok && i < PROMPTS; i++)
        ok = draw(s, p, i, &out[i]);
    apus_session_destroy(&s);
    apus_adapters_destroy(&ad);
    return ok;
}

/* ---- several at once ---- */

typedef struct talk {
    const uint32_t *n; /* tokens of each prompt */
    uint32_t begun, ended, most_at_once, cancel_at;
    uint32_t fails_at; /* the prompt that cannot be had; 0: all can */
    uint32_t lost_at;  /* the answer that cannot be kept, counted from 1; 0: all can */
    answer got[PROMPTS];
    bool done[PROMPTS], cancelled[PROMPTS];
    apus_cancel cancel;
} talk;

static apus_status next_prompt(void *user, const uint32_t **ids, size_t *n, bool *more)
{
    talk *t = user;
    const uint32_t at_once = t->begun + 1 - t->ended;

    if (t->begun == PROMPTS) {
        *more = false;
        return APUS_OK;
    }
    if (t->fails_at && t->begun == t->fails_at)
        return apus_fail(APUS_ERR_FORMAT, "row %u is no row", t->begun);
    *ids = prompts[t->begun];
    *n = t->n[t->begun++];
    t->most_at_once = at_once > t->most_at_once ? at_once : t->most_at_once;
    return APUS_OK;
}

static bool on_token(void *user, uint32_t prompt, uint32_t id)
{
    talk *t = user;
    answer *a = &t->got[prompt];

    if (!CHECK(prompt < t->begun && !t->done[prompt] && a->n < MOST_NEW))
        return false;
    a->ids[a->n++] = id;
    if (t->cancel_at && prompt == 0 && a->n == t->cancel_at)
        t->cancel.requested = 1;
    return wants_more(prompt, a->n);
}

static apus_status on_done(void *user, uint32_t prompt, const apus_generate_result *r)
{
    talk *t = user;

    CHECK(prompt < t->begun && !t->done[prompt]);
    CHECK_EQ_U64(r->prompt_tokens, t->n[prompt]);
    CHECK_EQ_U64(r->new_tokens, t->got[prompt].n);
    CHECK(r->reused < r->prompt_tokens);
    t->got[prompt].stopped = r->stopped;
    t->done[prompt] = true;
    t->cancelled[prompt] = r->cancelled;
    t->ended++;
    return t->lost_at == t->ended ? apus_fail(APUS_ERR_IO, "no room for it") : APUS_OK;
}

static apus_status together(apus_generator *g, const apus_generate_params *p, talk *t)
{
    apus_generate_params those = *p;

    t->n = t->n ? t->n : lengths;
    those.max_new_tokens = MOST_NEW;
    those.token = on_token;
    those.user = t;
    those.cancel = &t->cancel;
    return apus_generate_each(g, &(apus_prompts) { next_prompt, on_done, t }, &those);
}

static bool same(const answer *a, const answer *b)
{
    return a->n == b->n && a->stopped == b->stopped &&
           !memcmp(a->ids, b->ids, a->n * sizeof(*a->ids));
}

static apus_generator *make(apus_model *m, uint32_t batch, bool adapted)
{
    const char *paths[] = { adapter() };
    apus_generator *g = NULL;

    CHECK_OK(apus_generator_create(
        &g, m,
        &(apus_generator_params) {
            .max_length = LENGTH, .batch = batch, .adapters = paths, .n_adapters = adapted }));
    return g;
}

/* Twice with the same generator: in the second round the lanes hold texts. */
static void check_batch(apus_model *m, const setting *s, const apus_generate_params *p,
                        uint32_t batch, const answer *want)
{
    apus_generator *g = make(m, batch, p->adapter >= 0);
    uint32_t none = 0; /* answers of no token, beside which the next prompt comes */

    for (uint32_t i = 0; i < PROMPTS; i++)
        none += want[i].n == 0;
    for (int round = 0; g && round < 2; round++) {
        talk t = { 0 };

        if (!CHECK_OK(together(g, p, &t)))
            break;
        CHECK_EQ_U64(t.begun, PROMPTS);
        CHECK_EQ_U64(t.ended, PROMPTS);
        CHECK_EQ_U64(t.most_at_once, batch < PROMPTS - none ? batch : PROMPTS - none);
        for (uint32_t i = 0; i < PROMPTS; i++)
            harness_check(t.done[i] && !t.cancelled[i] && same(&t.got[i], &want[i]), __FILE__,
                          __LINE__, "%s, %u at once, round %d: answer %u is another", s->name,
                          batch, round, i);
    }
    apus_generator_destroy(&g);
}

TEST(answers_are_those_of_one_by_one)
{
    static const uint32_t batches[] = { 1, 2, 3, 4, 8, 64 };
    apus_model *m = NULL;

    setenv("APUS_KERNEL", "matmul:plain", 1);
    fill_prompts();
    if (!open_model(&m, LENGTH))
        return;
    for (size_t i = 0; i < APUS_COUNT(settings); i++) {
        apus_generate_params p = settings[i].p;
        answer want[PROMPTS];
        uint32_t stops[2], ended = 0;

        /* Ids that some answers have early and others never. */
        if (!alone(m, &p, want))
            break;
        stops[0] = want[0].ids[2];
        stops[1] = want[5].ids[6];
        p.stop_ids = stops;
        p.n_stop_ids = 2;
        if (!alone(m, &p, want))
            break;
        for (uint32_t k = 0; k < PROMPTS; k++)
            ended += want[k].stopped;
        CHECK(ended >= 2 && ended < PROMPTS);
        CHECK(want[4].stopped || want[4].n == LENGTH - lengths[4]);
        for (size_t k = 0; k < APUS_COUNT(batches); k++)
            if (i == 0 || batches[k] == 3 || batches[k] == 8)
                check_batch(m, &settings[i], &p, batches[k], want);
    }
    apus_model_close(&m);
}

/* The logits with which the answer goes on after its first n tokens. */
static bool logits_after(apus_model *m, uint32_t prompt, const answer *a, uint32_t n, float *out)
{
    static float all[LENGTH * VOCAB];
    uint32_t ids[LENGTH];
    apus_sequence sequence = { 0 };
    apus_session *s = NULL;
    bool ok;

    memcpy(ids, prompts[prompt], lengths[prompt] * sizeof(*ids));
    memcpy(ids + lengths[prompt], a->ids, n * sizeof(*ids));
    ok = CHECK_OK(apus_session_create(&s, m, &(apus_session_params) { .tokens = 2 * LENGTH })) &&
         CHECK_OK(apus_session_logits(s,
                                      &(apus_session_item) { .sequence = &sequence,
                                                             .tokens = ids,
                                                             .n = lengths[prompt] + n,
                                                             .adapter = UINT32_MAX },
                                      all));
    memcpy(out, all + (size_t)(lengths[prompt] + n - 1) * VOCAB, VOCAB * sizeof(*out));
    if (s)
        apus_sequence_release(apus_session_cache(s), &sequence);
    apus_session_destroy(&s);
    return ok;
}

/* Where two answers part, both tokens are the likeliest but for the rounding of sums: their longest
 * has 112 terms, and a layer has five of them one behind the other. */
static void check_tie(apus_model *m, uint32_t prompt, const answer *a, const answer *b)
{
    float z[VOCAB];
    uint32_t n = 0;
    double most = 0;

    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    if (n == a->n && n == b->n)
        return;
    if (!CHECK(n < a->n && n < b->n) || !logits_after(m, prompt, a, n, z))
        return;
    for (uint32_t i = 0; i < VOCAB; i++)
        most = fmax(most, fabs((double)z[i]));
    const double apart = fabs((double)z[a->ids[n]] - (double)z[b->ids[n]]);
    printf("    answer %u parts at token %u: logits %.3g apart\n", prompt, n, apart);
    CHECK(apart <= 2 * most * 0x1p-24 * 112 * 5 * LAYERS);
}

TEST(answers_by_chosen_algorithms_part_at_ties_only)
{
    apus_model *m = NULL;
    apus_generator *g;
    answer want[PROMPTS];
    talk t = { 0 };

    unsetenv("APUS_KERNEL");
    fill_prompts();
    if (!open_model(&m, LENGTH))
        return;
    g = make(m, 4, false);
    if (g && alone(m, &settings[0].p, want) && CHECK_OK(together(g, &settings[0].p, &t)))
        for (uint32_t i = 0; i < PROMPTS; i++)
            check_tie(m, i, &want[i], &t.got[i]);
    apus_generator_destroy(&g);
    apus_model_close(&m);
}

/* ---- ends ---- */

/* A call that ends early, in whatever way, leaves a generator that answers as a new one does. */
static void check_again(apus_generator *g, const answer *want)
{
    talk t = { 0 };

    if (!CHECK_OK(together(g, &settings[0].p, &t)))
        return;
    for (uint32_t i = 0; i < PROMPTS; i++)
        CHECK(same(&t.got[i], &want[i]));
}

TEST(calls_that_end_early)
{
    const apus_generate_params *p = &settings[0].p;
    uint32_t too_long[PROMPTS];
    apus_model *m = NULL;
    apus_generator *g;
    answer want[PROMPTS];

    setenv("APUS_KERNEL", "matmul:plain", 1);
    fill_prompts();
    if (!open_model(&m, LENGTH))
        return;
    g = make(m, 3, false);
    if (!g || !alone(m, p, want))
        goto done;

    /* A prompt that is refused: the answers before it are whole, none comes after it. */
    talk t = { .n = too_long };
    memcpy(too_long, lengths, sizeof(too_long));
    too_long[4] = LENGTH;
    CHECK_FAILS(together(g, p, &t), APUS_ERR_ARG,
                "the prompt has 160 tokens; with --max_length 160 at most 159 fit");
    CHECK_EQ_U64(t.begun, 5);
    CHECK_EQ_U64(t.ended, 4);
    for (uint32_t i = 0; i < 4; i++)
        CHECK(t.done[i] && !t.cancelled[i] && same(&t.got[i], &want[i]));
    check_again(g, want);

    t = (talk) { .fails_at = 2 };
    CHECK_FAILS(together(g, p, &t), APUS_ERR_FORMAT, "row 2 is no row");
    CHECK_EQ_U64(t.ended, 2);
    for (uint32_t i = 0; i < 2; i++)
        CHECK(t.done[i] && same(&t.got[i], &want[i]));

    /* An answer that cannot be kept ends all at once. */
    t = (talk) { .lost_at = 1 };
    CHECK_FAILS(together(g, p, &t), APUS_ERR_IO, "no room for it");
    CHECK_EQ_U64(t.ended, 1);
    check_again(g, want);

    /* A cancel ends those that run where they are; the two short ones are whole. */
    t = (talk) { .cancel_at = 12 };
    CHECK_OK(together(g, p, &t));
    CHECK_EQ_U64(t.got[0].n, 12);
    CHECK(t.begun > 4 && t.begun < PROMPTS);
    CHECK_EQ_U64(t.ended, t.begun);
    CHECK(t.cancelled[0] && t.done[1] && !t.cancelled[1] && t.done[3] && !t.cancelled[3]);
    for (uint32_t i = 0; i < t.begun; i++) {
        CHECK(t.cancelled[i] || same(&t.got[i], &want[i]));
        CHECK(!memcmp(t.got[i].ids, want[i].ids, t.got[i].n * sizeof(want[i].ids[0])));
    }
    check_again(g, want);
    CHECK_FAILS(apus_generate_each(g, &(apus_prompts) { next_prompt, on_done, &t },
                                   &(apus_generate_params) { .adapter = 1 }),
                APUS_ERR_ARG, "there is no adapter 1");
done:
    apus_generator_destroy(&g);
    apus_model_close(&m);
}

/* What a text shares with one that is still written is not read again, in whole pages. */
static uint32_t reused[PROMPTS];

static apus_status keep_reused(void *user, uint32_t prompt, const apus_generate_result *r)
{
    reused[prompt] = r->reused;
    return on_done(user, prompt, r);
}

TEST(beginnings_are_shared)
{
    apus_generate_params p = { .adapter = -1, .max_new_tokens = 8, .token = on_token };
    apus_model *m = NULL;
    apus_generator *g;
    uint32_t some[PROMPTS];

    setenv("APUS_KERNEL", "matmul:plain", 1);
    fill_prompts();
    if (!open_model(&m, LENGTH))
        return;
    for (uint32_t k = 0; k < 80; k++) /* the second prompt three times, the last one longer */
        prompts[0][k] = prompts[1][k] = prompts[2][k] = prompts[5][k];
    some[0] = some[1] = 70;
    some[2] = 80;
    g = make(m, 3, false);
    if (g) {
        talk t = { .n = some, .fails_at = 3 };

        p.user = &t;
        CHECK_FAILS(apus_generate_each(g, &(apus_prompts) { next_prompt, keep_reused, &t }, &p),
                    APUS_ERR_FORMAT, "row 3 is no row");
        CHECK_EQ_U64(t.ended, 3);
        CHECK_EQ_U64(reused[0], 0);
        CHECK_EQ_U64(reused[1], 64);
        CHECK_EQ_U64(reused[2], 64);
        CHECK(!memcmp(t.got[0].ids, t.got[1].ids, 5 * sizeof(uint32_t)));
    }
    apus_generator_destroy(&g);
    apus_model_close(&m);
}

/* ---- memory ---- */

TEST(what_is_planned_is_what_is_taken)
{
    const apus_generator_params p = { .max_length = LENGTH, .batch = 4, .longest_prompt = 140 };
    const uint64_t row = 2 * 16 * 4;           /* heads of keys, numbers of each, bytes */
    const uint64_t pages = (LENGTH + 63) / 64; /* of a text */
    apus_generator_fit fit;
    apus_model *m = NULL;
    apus_generator *g = NULL;

    unsetenv("APUS_KERNEL");
    fill_prompts();
    if (!open_model(&m, LENGTH))
        return;
    if (CHECK_OK(apus_generator_plan(&fit, m, &p)) && CHECK_OK(apus_generator_create(&g, m, &p))) {
        talk t = { 0 };

        CHECK_EQ_U64(fit.batch, 4);
        CHECK_EQ_STR(fit.why, "");
        CHECK_EQ_U64(fit.cache, 4 * pages * 64 * row * 2 * LAYERS);
        CHECK_OK(together(g, &settings[0].p, &t));
        const apus_memory_use use = apus_model_memory(m);
        printf("    planned %llu, taken %llu\n", (unsigned long long)fit.device,
               (unsigned long long)use.device_peak);
        /* All lengths are planned for; the prompts have most of them. */
        CHECK(use.device_peak <= fit.device);
        CHECK(use.device_peak > fit.device / 10 * 9);
        CHECK(use.host_peak <= fit.host);
    }
    apus_generator_destroy(&g);
    apus_model_close(&m);
}

TEST(as_many_as_fit)
{
    apus_generator_params p = { .max_length = 4096, .batch = 16 };
    apus_generator_fit all, some, more;
    apus_model *m = NULL;
    char heap[32];

    if (!open_model(&m, 4096) || !CHECK_OK(apus_generator_plan(&all, m, &p)))
        goto done;
    CHECK_EQ_U64(all.batch, 16);
    apus_model_close(&m);
    snprintf(heap, sizeof(heap), "%llu", (unsigned long long)(all.device >> 21)); /* half of it */
    setenv("APUS_HEAP_MIB", heap, 1);
    if (!open_model(&m, 4096) || !CHECK_OK(apus_generator_plan(&some, m, &p)))
        goto done;
    CHECK(some.batch >= 2 && some.batch < 16);
    CHECK(strstr(some.why, " MiB are planned, ") != NULL);
    CHECK(some.device <= all.device / 2);
    p.batch = some.batch + 1;
    CHECK_OK(apus_generator_plan(&more, m, &p));
    CHECK_EQ_U64(more.batch, some.batch);
    p.batch = some.batch;
    CHECK_OK(apus_generator_plan(&more, m, &p));
    CHECK_EQ_U64(more.batch, some.batch);
    CHECK_EQ_STR(more.why, "");
done:
    unsetenv("APUS_HEAP_MIB");
    apus_model_close(&m);
}

TEST(too_many_at_once)
{
    apus_model *m = NULL;
    apus_generator *g = NULL;

    if (!open_model(&m, LENGTH))
        return;
    CHECK_FAILS(apus_generator_create(&g, m, &(apus_generator_params) { .batch = 65 }),
                APUS_ERR_ARG, "65 prompts at once; at most 64 are possible");
    apus_model_close(&m);
}
