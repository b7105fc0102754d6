/* chat.c - a conversation into token ids, labels and weights, as ms-swift's Template.encode does.
 *
 * The conversation becomes a list of contexts with weights: prefix (0), then for each round the
 * prompt (0), the answer (by the loss scale) and chat_sep (0), at the end the suffix (by the loss
 * scale).  Neighbouring texts of equal weight are joined and each stretch is tokenized by itself,
 * so that token boundaries fall where weights change.  A masked stretch after a trained one that
 * begins with the suffix's ids has those trained too: the ends of earlier answers.  The first token
 * is never trained, nothing comes before it. */
#include "os.h"
#include "text_internal.h"
#include "trace.h"

typedef struct apusi_builder {
    const apus_tokenizer *t;
    apus_str text; /* of the weight below, not yet tokenized */
    float weight;
    apus_tokens ids;
    float *weights;
    size_t weights_room;
} builder;

/* What the placeholders of a template's text stand for. */
typedef struct apusi_values {
    const char *system;
    const apus_str *query;
    size_t round;
    const char *today;
} values;

static apus_status weigh(builder *b)
{
    if (b->ids.room > b->weights_room) {
        float *weights = apus_realloc(b->weights, b->ids.room * sizeof(*weights));

        if (!weights)
            return APUS_ERR_MEMORY;
        b->weights = weights;
        b->weights_room = b->ids.room;
    }
    return APUS_OK;
}

static apus_status flush(builder *b)
{
    const size_t before = b->ids.n;

    if (b->text.failed)
        return APUS_ERR_MEMORY;
    if (b->text.len)
        APUS_FORWARD(apus_tokenizer_encode(b->t, b->text.data, b->text.len,
                                           APUS_ENCODE_PARSE_SPECIAL, &b->ids));
    apus_str_clear(&b->text);
    APUS_FORWARD(weigh(b));
    for (size_t i = before; i < b->ids.n; i++)
        b->weights[i] = b->weight;
    return APUS_OK;
}

static apus_status add_text(void *user, const char *text, size_t n, float weight)
{
    builder *b = user;

    if (weight != b->weight) /* exactly: weights are products of the table's */
        APUS_FORWARD(flush(b));
    b->weight = weight;
    apus_str_add_bytes(&b->text, text, n);
    return b->text.failed ? APUS_ERR_MEMORY : APUS_OK;
}

static apus_status add_id(builder *b, int64_t id, float weight)
{
    if (id < 0)
        return APUS_OK;
    APUS_FORWARD(flush(b));
    b->weight = weight;
    APUS_FORWARD(apusi_tokens_add(&b->ids, (uint32_t)id));
    APUS_FORWARD(weigh(b));
    b->weights[b->ids.n - 1] = weight;
    return APUS_OK;
}

static bool is_name(const char *name, size_t n, const char *want)
{
    return strlen(want) == n && !memcmp(name, want, n);
}

static apus_status add_placeholder(builder *b, const char *name, size_t n, const values *v,
                                   float weight)
{
    char text[64], format[32];

    if (is_name(name, n, "SYSTEM"))
        return add_text(b, v->system ? v->system : "", v->system ? strlen(v->system) : 0, weight);
    if (is_name(name, n, "QUERY"))
        return add_text(b, v->query ? v->query->data : "", v->query ? v->query->len : 0, weight);
    if (is_name(name, n, "bos_token_id"))
        return add_id(b, b->t->bos, weight);
    if (is_name(name, n, "eos_token_id"))
        return add_id(b, b->t->eos, weight);
    if (is_name(name, n, "ROUND0") || is_name(name, n, "ROUND1")) {
        apus_str number = { 0 };

        apus_str_addf(&number, "%zu", v->round + (name[5] == '1'));
        const apus_status st =
            number.failed ? APUS_ERR_MEMORY : add_text(b, number.data, number.len, weight);
        apus_str_release(&number);
        return st;
    }
    APUS_BUG_IF(name[0] != '%' || n >= sizeof(format));
    if (v->today)
        return add_text(b, v->today, strlen(v->today), weight);
    memcpy(format, name, n);
    format[n] = 0;
    apus_local_time(text, sizeof(text), format);
    return add_text(b, text, strlen(text), weight);
}

/* A text of the table with its placeholders filled in; what they bring is not read again. */
static apus_status add_template(builder *b, const char *text, const values *v, float weight)
{
    const char *open;

    for (; (open = strstr(text, "{{")); text = strstr(open, "}}") + 2) {
        if (open > text)
            APUS_FORWARD(add_text(b, text, (size_t)(open - text), weight));
        const char *close = strstr(open, "}}");
        APUS_BUG_IF(!close);
        APUS_FORWARD(add_placeholder(b, open + 2, (size_t)(close - open - 2), v, weight));
    }
    return *text ? add_text(b, text, strlen(text), weight) : APUS_OK;
}

/* One call of encode. */
typedef struct apusi_encoding {
    const apus_template *tmpl;
    const apus_encode_params *params;
    apusi_loss_scale scale;
    bool training;
    bool enable_thinking;
    apusi_conversation c;
    builder b;
} encoding;

static apus_status add_answer(encoding *e, const apusi_round *round, bool last)
{
    const apusi_base base = e->scale.base;

    for (size_t i = 0; i < round->n; i++) {
        const apusi_segment *s = &e->c.segments[round->first + i];
        bool trained = base != APUSI_BASE_LAST_ROUND || last;

        if (s->loss != APUS_LOSS_UNSET)
            trained = s->loss == APUS_LOSS_TRAIN;
        if (trained && !s->has_loss_scale)
            APUS_FORWARD(
                apusi_loss_scale_split(&e->scale, s->text.data, s->text.len, 1, add_text, &e->b));
        else
            APUS_FORWARD(add_text(&e->b, s->text.data, s->text.len, trained ? s->loss_scale : 0));
    }
    return APUS_OK;
}

/* What the answer to come begins with. */
static apus_status open_answer(encoding *e)
{
    const char *prefix = e->params->response_prefix;

    if (!prefix)
        prefix = e->enable_thinking ? e->tmpl->thinking_prefix : e->tmpl->non_thinking_prefix;
    return prefix ? add_text(&e->b, prefix, strlen(prefix), e->scale.base == APUSI_BASE_ALL)
                  : APUS_OK;
}

/* The end of the last answer: what the tokenizer puts after a text, or the template's suffix. */
static apus_status add_end(encoding *e, const apusi_round *last)
{
    const apusi_segment *s = &e->c.segments[last->first + last->n - 1];
    const char *suffix = e->tmpl->suffix ? e->tmpl->suffix : "{{eos_token_id}}";
    const apus_tokens *after = &e->b.t->suffix;

    if (e->tmpl->auto_add_bos && after->n) {
        for (size_t i = 0; i < after->n; i++)
            APUS_FORWARD(add_id(&e->b, after->ids[i], 1));
        return APUS_OK;
    }
    if (apusi_template_ends(e->tmpl, e->b.t, s->text.data, s->text.len))
        return APUS_OK;
    if (strstr(suffix, "{{"))
        return add_template(&e->b, suffix, &(values) { 0 }, 1);
    return apusi_loss_scale_split(&e->scale, suffix, strlen(suffix), 1, add_text, &e->b);
}

static apus_status add_prefix(encoding *e)
{
    const float weight = e->scale.base == APUSI_BASE_ALL;
    const apus_template *tmpl = e->tmpl;
    const char *system = e->c.system;

    if (!system)
        system = e->params->system ? e->params->system : tmpl->default_system;
    if (e->params->no_chat_template)
        system = NULL;
    const bool has_system = system && *system;
    if (has_system && !tmpl->system_prefix)
        return apus_fail(APUS_ERR_ARG,
                         "the template '%s' cannot have a system text; leave it out "
                         "or choose another template",
                         tmpl->name);
    for (size_t i = 0; tmpl->auto_add_bos && i < e->b.t->prefix.n; i++)
        APUS_FORWARD(add_id(&e->b, e->b.t->prefix.ids[i], weight));
    const values v = { .system = system, .today = e->params->today };
    const char *prefix = has_system ? tmpl->system_prefix : tmpl->prefix;
    return prefix ? add_template(&e->b, prefix, &v, weight) : APUS_OK;
}

static apus_status add_rounds(encoding *e)
{
    const float weight = e->scale.base == APUSI_BASE_ALL;
    /* Without chat_sep there is one round only: the last. */
    const size_t n = e->c.n_rounds, first = e->tmpl->chat_sep ? 0 : n - 1;

    for (size_t i = first; i < n; i++) {
        const apusi_round *round = &e->c.rounds[i];
        const bool last = i + 1 == n;
        const values v = { .query = &round->query, .round = i - first, .today = e->params->today };

        APUS_FORWARD(add_template(&e->b, e->tmpl->prompt, &v, weight));
        APUS_FORWARD(round->n ? add_answer(e, round, last) : open_answer(e));
        if (!last)
            APUS_FORWARD(add_template(&e->b, e->tmpl->chat_sep, &v, weight));
        else if (round->n && e->training)
            APUS_FORWARD(add_end(e, round));
    }
    return flush(&e->b);
}

/* Train the suffix where a masked stretch after a trained one begins with it. */
static apus_status train_ends(encoding *e)
{
    const char *suffix = e->tmpl->suffix ? e->tmpl->suffix : "{{eos_token_id}}";
    const uint32_t *ids = e->b.ids.ids;
    float *weights = e->b.weights;
    builder end = { .t = e->b.t };
    apus_status st;

    APUS_TRY(add_template(&end, suffix, &(values) { 0 }, 0));
    APUS_TRY(flush(&end));
    const size_t n = end.ids.n;
    for (size_t i = 1; n > 0 && i + n <= e->b.ids.n; i++) {
        if (weights[i - 1] <= 0 || weights[i] > 0 || memcmp(ids + i, end.ids.ids, n * sizeof(*ids)))
            continue;
        size_t masked = 0;
        while (masked < n && weights[i + masked] <= 0)
            masked++;
        for (size_t k = 0; masked == n && k < n; k++)
            weights[i + k] = 1;
    }

fail:
    apus_tokens_release(&end.ids);
    apus_str_release(&end.text);
    apus_free(end.weights);
    return st;
}

/* Cut to max_length, then hand the arrays out. */
static apus_status finish(encoding *e, apus_encoded *out)
{
    const size_t full = e->b.ids.n, most = e->params->max_length;
    const bool too_long = most && full > most;
    const size_t n = too_long ? most : full;
    const size_t from = too_long && e->params->truncation == APUS_TRUNCATE_LEFT ? full - n : 0;
    const float *weights = e->b.weights + from;
    bool binary = true;

    *out = (apus_encoded) { .full_n = full };
    if (too_long && e->params->truncation == APUS_TRUNCATE_DELETE) {
        out->dropped = true;
        return APUS_OK;
    }
    out->n = n;
    out->ids = apus_calloc(n, sizeof(*out->ids));
    if (!out->ids)
        return APUS_ERR_MEMORY;
    if (n)
        memcpy(out->ids, e->b.ids.ids + from, n * sizeof(*out->ids));
    if (!e->training)
        return APUS_OK;
    out->labels = apus_calloc(n, sizeof(*out->labels));
    if (!out->labels)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        out->labels[i] = i > 0 && weights[i] > 0 ? (int32_t)out->ids[i] : -100;
        binary = binary && (weights[i] <= 0 || weights[i] == 1);
    }
    if (binary)
        return APUS_OK;
    out->loss_scale = apus_calloc(n, sizeof(*out->loss_scale));
    if (!out->loss_scale)
        return APUS_ERR_MEMORY;
    for (size_t i = 1; i < n; i++)
        out->loss_scale[i] = weights[i];
    return APUS_OK;
}

static apus_status prepare(encoding *e, const apus_message *messages, size_t n)
{
    static const char skip_empty[] = "ignore_empty_think";
    const apus_template *tmpl = e->tmpl;

    for (size_t i = 0; i < n; i++)
        if (messages[i].has_loss_scale && !(messages[i].loss_scale >= 0))
            return apus_fail(APUS_ERR_FORMAT, "message %zu: loss_scale is negative", i);
    APUS_FORWARD(apusi_loss_scale_parse(&e->scale, e->params->loss_scale));
    APUS_FORWARD(apusi_conversation_read(&e->c, messages, n));
    e->enable_thinking = e->params->enable_thinking != APUS_DEFAULT
                             ? e->params->enable_thinking == APUS_YES
                             : tmpl->is_thinking && !tmpl->non_thinking_prefix;
    if (e->params->no_chat_template)
        return APUS_OK;
    if (apus_template_is_hybrid(tmpl) && !e->params->train_empty_think) {
        bool has = false;

        for (size_t i = 0; i < e->scale.n; i++)
            has = has || !strcmp(e->scale.names[i], skip_empty);
        if (!has)
            APUS_FORWARD(apusi_loss_scale_append(&e->scale, skip_empty, sizeof(skip_empty) - 1));
    }
    return apusi_conversation_think(&e->c, tmpl, e->params, e->scale.base, e->training,
                                    e->enable_thinking);
}

static apus_status encode(apus_encoded *out, const apus_tokenizer *t, const apus_template *tmpl,
                          const apus_message *messages, size_t n, const apus_encode_params *params,
                          bool training)
{
    static const apus_encode_params defaults;
    encoding e = { .tmpl = tmpl, .params = params ? params : &defaults, .training = training };
    apus_status st;

    *out = (apus_encoded) { 0 };
    if (e.params->no_chat_template)
        e.tmpl = &apusi_plain_template;
    e.b.t = t;
    APUS_TRY(prepare(&e, messages, n));
    APUS_TRY(add_prefix(&e));
    APUS_TRY(add_rounds(&e));
    if (training)
        APUS_TRY(train_ends(&e));
    APUS_TRY(finish(&e, out));

fail:
    if (st != APUS_OK)
        apus_encoded_release(out);
    apusi_conversation_release(&e.c);
    apus_str_release(&e.b.text);
    apus_tokens_release(&e.b.ids);
    apus_free(e.b.weights);
    return st;
}

apus_status apus_encode_train(apus_encoded *out, const apus_tokenizer *t, const apus_template *tmpl,
                              const apus_message *messages, size_t n,
                              const apus_encode_params *params)
{
    return encode(out, t, tmpl, messages, n, params, true);
}

apus_status apus_encode_infer(apus_encoded *out, const apus_tokenizer *t, const apus_template *tmpl,
                              const apus_message *messages, size_t n,
                              const apus_encode_params *params)
{
    const uint64_t began = apus_trace_begin();
    const apus_status st = encode(out, t, tmpl, messages, n, params, false);

    apus_trace_end(began, "tokenize", "prompt", "tokens", out->n);
    return st;
}

void apus_encoded_release(apus_encoded *encoded)
{
    apus_free(encoded->ids);
    apus_free(encoded->labels);
    apus_free(encoded->loss_scale);
    *encoded = (apus_encoded) { 0 };
}
