/* model_case.c - a language model: logits, greedy tokens with the cache, the older form of its
 * config; then what training makes of it. */
#include <math.h>
#include <stdio.h>

#include "file.h"
#include "golden.h"
#include "session.h"

void golden_check_logits(golden_case *c, const char *check, golden_quantity q, const float *got,
                         const float *want, uint64_t n)
{
    const golden_worst w = golden_compare(got, want, n);
    char name[160];

    golden_check(c, check, w.max, golden_tolerance(c, q), NULL);
    /* The recorded mean is one of many rows, so it says nothing about a single one. */
    if (c->run->kind == GOLDEN_EXACT ||
        n <= (uint64_t)apus_json_number(c->manifest, "vocab_size", 0))
        return;
    snprintf(name, sizeof(name), "%s, mean", check);
    golden_check(
        c, name, w.mean,
        golden_tolerance(c, q == GOLDEN_LOGITS ? GOLDEN_LOGITS_MEAN : GOLDEN_LORA_LOGITS_MEAN),
        NULL);
}

/* ---- running ---- */

apus_status golden_model_open(const golden_case *c, const char *path, bool train_all,
                              apus_model **out)
{
    APUS_FORWARD(apus_model_open(out, path,
                                 &(apus_model_params) {
                                     .torch_dtype = c->run->torch_dtype,
                                     .train_all = train_all,
                                 }));
    if (c->run->narrow)
        (*out)->types.narrow = APUS_NARROW_16;
    return APUS_OK;
}

static apus_status session_open(apus_model *model, const golden_case *c,
                                const apus_adapt_hook *hook, uint32_t tokens, apus_session **out)
{
    return apus_session_create(out, model,
                               &(apus_session_params) {
                                   .tokens = tokens,
                                   .max_sequences = 1,
                                   .hook = hook,
                                   .force = c->run->force,
                               });
}

static apus_session_item item_of(apus_sequence *sequence, const uint32_t *tokens, uint32_t n,
                                 const apus_adapt_hook *hook)
{
    return (apus_session_item) {
        .sequence = sequence,
        .tokens = tokens,
        .n = n,
        .adapter = hook ? 0 : UINT32_MAX,
    };
}

static apus_status run_logits(apus_session *session, const apus_adapt_hook *hook,
                              const apus_train_sequence *seq, float *logits)
{
    apus_sequence sequence = { 0 };
    const apus_session_item item = item_of(&sequence, seq->ids, seq->n, hook);
    const apus_status st = apus_session_logits(session, &item, logits);

    apus_sequence_release(apus_session_cache(session), &sequence);
    return st;
}

apus_status golden_logits(apus_model *model, const golden_case *c, const apus_adapt_hook *hook,
                          const apus_train_sequence *seq, float *logits)
{
    apus_status st;
    apus_session *session = NULL;

    APUS_TRY(session_open(model, c, hook, seq->n, &session));
    APUS_TRY(run_logits(session, hook, seq, logits));
fail:
    apus_session_destroy(&session);
    return st;
}

/* ---- checks ---- */

static void check_sequences(golden_case *c, apus_model *model, apus_session *session,
                            const golden_sequences *s, const char *check)
{
    const uint32_t vocab = model->dims.vocab;
    float *got = apus_calloc((size_t)s->longest * vocab, sizeof(*got));

    for (uint32_t i = 0; got && i < s->n; i++) {
        float *want = NULL;
        char name[48], line[80];
        const uint64_t n = (uint64_t)s->seq[i].n * vocab;
        snprintf(name, sizeof(name), "seq%u.logits", i);
        snprintf(line, sizeof(line), "%s seq%u (%u tokens)", check, i, s->seq[i].n);
        if (golden_ok(c, line, golden_floats(s->ref, name, n, &want)) &&
            golden_ok(c, line, run_logits(session, NULL, &s->seq[i], got)))
            golden_check_logits(c, line, GOLDEN_LOGITS, got, want, n);
        apus_free(want);
    }
    apus_free(got);
}

typedef struct generation {
    uint32_t *prompt, *tokens; /* recorded as int32, never negative */
    float *logits, *margin;
    uint64_t n_prompt, n;
} generation;

static apus_status generation_open(generation *g, const apus_safetensors *ref, uint32_t vocab)
{
    int32_t *prompt = NULL, *tokens = NULL;

    APUS_FORWARD(golden_ints(ref, "gen.prompt", &prompt, &g->n_prompt));
    g->prompt = (uint32_t *)prompt;
    APUS_FORWARD(golden_ints(ref, "gen.tokens", &tokens, &g->n));
    g->tokens = (uint32_t *)tokens;
    APUS_FORWARD(golden_floats(ref, "gen.logits", g->n * vocab, &g->logits));
    return golden_floats(ref, "gen.margin", g->n, &g->margin);
}

static void generation_close(generation *g)
{
    apus_free(g->prompt);
    apus_free(g->tokens);
    apus_free(g->logits);
    apus_free(g->margin);
}

/* The prompt at once, then each recorded token alone: logits of the cached path.  The worst
 * error. */
static double check_decode(golden_case *c, apus_session *session, const generation *g,
                           uint32_t vocab)
{
    const char *check = "logits one token at a time";
    apus_sequence sequence = { 0 };
    float *got = apus_calloc((g->n_prompt + g->n) * vocab, sizeof(*got));
    float *rows = got ? got + g->n_prompt * vocab : NULL;
    apus_session_item item = item_of(&sequence, g->prompt, (uint32_t)g->n_prompt, NULL);
    bool ok = got && golden_ok(c, check, apus_session_logits(session, &item, got));
    double worst = (double)INFINITY;

    for (uint64_t i = 0; ok && i + 1 < g->n; i++) {
        item = item_of(&sequence, g->tokens + i, 1, NULL);
        ok = golden_ok(c, check, apus_session_logits(session, &item, rows + i * vocab));
    }
    if (ok) {
        golden_check_logits(c, "logits after the prompt", GOLDEN_LOGITS, rows - vocab, g->logits,
                            vocab);
        golden_check_logits(c, check, GOLDEN_LOGITS, rows, g->logits + vocab, (g->n - 1) * vocab);
        worst = golden_compare(rows - vocab, g->logits, g->n * vocab).max;
    }
    apus_sequence_release(apus_session_cache(session), &sequence);
    apus_free(got);
    return worst;
}

/* Drawn on the device, each fed back: the recorded tokens.  Where inputs are rounded, up to the
 * first
 * step that the reference decides by less than two logits with the run's `error` are apart. */
static void check_greedy(golden_case *c, apus_session *session, const generation *g, double error)
{
    apus_sequence sequence = { 0 };
    const apus_sampling greedy = { .top_p = 1, .repetition_penalty = 1 };
    const bool exact = c->run->kind == GOLDEN_EXACT;
    uint64_t n = 0, same = 0;
    uint32_t id = 0;
    bool ok = true;
    char detail[96];

    while (n < g->n && (exact || (double)g->margin[n] > 2 * error))
        n++;
    for (uint64_t i = 0; ok && i < n && same == i; i++) {
        apus_session_item item = i ? item_of(&sequence, &id, 1, NULL)
                                   : item_of(&sequence, g->prompt, (uint32_t)g->n_prompt, NULL);
        uint32_t drawn = UINT32_MAX;
        item.sampling = &greedy;
        ok = golden_ok(c, "greedy tokens", apus_session_run(session, &item, 1, &drawn, NULL));
        id = drawn;
        same += id == g->tokens[i];
    }
    snprintf(detail, sizeof(detail), "%llu of %llu tokens are the recorded ones",
             (unsigned long long)same, (unsigned long long)n);
    if (ok && n == 0)
        golden_unsupported(c, "greedy tokens", "the first token is decided by less than the error");
    else if (ok)
        golden_check(c, "greedy tokens", (double)(n - same), 0, detail);
    apus_sequence_release(apus_session_cache(session), &sequence);
}

static void check_generation(golden_case *c, apus_model *model, apus_session *session,
                             const golden_sequences *s)
{
    generation g = { 0 };

    if (golden_ok(c, "generation", generation_open(&g, s->ref, model->dims.vocab))) {
        const double error = check_decode(c, session, &g, model->dims.vocab);
        check_greedy(c, session, &g, error);
    }
    generation_close(&g);
}

/* A folder with the same weights and config.v4.json for a config. */
static apus_status make_v4(golden_case *c, const char *model, const char *to)
{
    apus_status st = APUS_OK;
    char **names = NULL, *absolute = apus_path_absolute(model);
    size_t n = 0;

    if (!absolute)
        return APUS_ERR_MEMORY;
    (void)c;
    APUS_TRY(apus_path_remove(to));
    APUS_TRY(apus_dir_create(to));
    APUS_TRY(apus_dir_list(&names, &n, model));
    for (size_t i = 0; i < n; i++) {
        const bool v4 = !strcmp(names[i], "config.v4.json");
        char *from = apus_path_join(absolute, names[i]);
        char *link = apus_path_join(to, v4 ? "config.json" : names[i]);
        if (!from || !link)
            st = APUS_ERR_MEMORY;
        else if (st == APUS_OK && strcmp(names[i], "config.json"))
            st = apus_symlink_replace(from, link);
        apus_free(from);
        apus_free(link);
    }
fail:
    for (size_t i = 0; i < n; i++)
        apus_free(names[i]);
    apus_free(names);
    apus_free(absolute);
    return st;
}

static void check_v4(golden_case *c, const char *path, const golden_sequences *s)
{
    apus_model *model = NULL;
    apus_session *session = NULL;
    const char *temporary = golden_temporary(c->run);
    char *to = temporary ? apus_path_join(temporary, "v4") : NULL;
    char *config = apus_path_join(path, "config.v4.json");

    if (!to || !config) {
        golden_broken(c, "config.v4", apus_error_text());
    } else if (!apus_path_exists(config)) {
        golden_unsupported(c, "config.v4", "the case has none");
    } else if (golden_ok(c, "config.v4", make_v4(c, path, to)) &&
               golden_ok(c, "config.v4", golden_model_open(c, to, false, &model)) &&
               golden_ok(c, "config.v4", session_open(model, c, NULL, s->longest, &session))) {
        check_sequences(c, model, session, s, "config.v4 logits");
    }
    apus_session_destroy(&session);
    apus_model_close(&model);
    apus_free(to);
    apus_free(config);
}

/* ---- choices ---- */

/* The choices of a step of decoding, of the longest sequence at once, and of training. */
static apus_status read_choices(const golden_case *c, apus_session *session,
                                const golden_sequences *s, apus_str *out)
{
    const uint32_t tokens[] = { 1, s->longest };
    apus_plan *plan;

    for (size_t i = 0; i < APUS_COUNT(tokens); i++) {
        APUS_FORWARD(apus_session_plan(session, tokens[i], 1, &plan));
        apus_str_add(out, apus_plan_about(plan)->choices);
    }
    APUS_FORWARD(golden_train_choices(c, s, out));
    return out->failed ? APUS_ERR_MEMORY : APUS_OK;
}

/* Is there a line "op ...: variant"? */
static bool chosen(const char *choices, const char *op, size_t op_len, const char *variant,
                   size_t variant_len)
{
    for (const char *line = choices; *line; line += strcspn(line, "\n") + 1) {
        const size_t n = strcspn(line, "\n");
        if (n > op_len + variant_len + 2 && !strncmp(line, op, op_len) && line[op_len] == ' ' &&
            !strncmp(line + n - variant_len, variant, variant_len) &&
            !strncmp(line + n - variant_len - 2, ": ", 2))
            return true;
    }
    return false;
}

/* Every name of "op:variant,op:variant" was chosen somewhere. */
static bool forced_all(const char *force, const char *choices)
{
    for (const char *p = force; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        const char *name = strchr(p, ':') + 1;
        if (!chosen(choices, p, (size_t)(name - p) - 1, name, strcspn(name, ",")))
            return false;
    }
    return true;
}

/* As a GPU, nothing that is meant for CPU drivers is chosen, and vectors are multiplied by the
 * algorithm that GPUs have for that; the rest is listed. */
static void check_gpu_choices(golden_case *c, const char *choices)
{
    static const char *const names[] = {
#define ALGORITHM(op, variant, kind) #op ":" #variant,
#include "algorithms.def"
#undef ALGORITHM
    };
    char detail[256] = "";
    size_t at = 0;

    for (size_t i = 0; i < APUS_COUNT(names); i++)
        if (forced_all(names[i], choices) && at < sizeof(detail))
            at +=
                (size_t)snprintf(detail + at, sizeof(detail) - at, "%s%s", at ? " " : "", names[i]);
    golden_check(c, "choices as the recorded GPU",
                 forced_all("matmul:cpu", choices) + forced_all("matmul:row_cpu", choices) +
                     forced_all("matmul:vec_cpu", choices) + forced_all("matmul:dot_cpu", choices) +
                     !forced_all("matmul:vec", choices),
                 0, detail);
}

/* Whether what is forced fits the shapes of this case on this device; else there is nothing to
 * say. */
static bool check_choices(golden_case *c, apus_session *session, const golden_sequences *s)
{
    apus_str choices = { 0 };
    bool go_on = true;

    if (!c->run->force && !c->run->as)
        return true;
    go_on = golden_ok(c, "choices", read_choices(c, session, s, &choices));
    if (go_on && c->run->as)
        check_gpu_choices(c, choices.data);
    if (go_on && c->run->force && !forced_all(c->run->force, choices.data)) {
        golden_unsupported(c, c->run->force, "does not fit this case or device");
        go_on = false;
    }
    apus_str_release(&choices);
    return go_on;
}

void golden_model_case(golden_case *c)
{
    golden_sequences s = { 0 };
    apus_model *model = NULL;
    apus_session *session = NULL;
    char *path = golden_path(c, "model");

    if (!path || !golden_ok(c, "model", golden_model_open(c, path, false, &model)) ||
        !golden_ok(c, "sequences", golden_sequences_open(&s, c)) ||
        !golden_ok(c, "session", session_open(model, c, NULL, s.longest + 256, &session)) ||
        !check_choices(c, session, &s))
        goto done;
    check_sequences(c, model, session, &s, "logits");
    check_generation(c, model, session, &s);
    apus_session_destroy(&session);
    apus_model_close(&model);
    check_v4(c, path, &s);
    golden_train_case(c, &s);
    golden_lora_case(c, &s);
done:
    apus_session_destroy(&session);
    apus_model_close(&model);
    golden_sequences_close(&s);
    apus_free(path);
}
