/* conversation.c - messages into rounds of a question and an answer, and what becomes of thoughts
 * (<think>…</think>) in the answers. */
#include "text_internal.h"

static apus_status check_message(const apus_message *m, size_t i)
{
    static const char *const tool_roles[] = { "tool", "tool_call", "tool_response", "function" };

    if (!m->role || !m->content)
        return apus_fail(APUS_ERR_FORMAT, "message %zu has no %s", i, m->role ? "content" : "role");
    if (!strcmp(m->role, "user") || !strcmp(m->role, "assistant") ||
        (i == 0 && !strcmp(m->role, "system")))
        return APUS_OK;
    if (!strcmp(m->role, "system"))
        return apus_fail(APUS_ERR_FORMAT, "message %zu: a system message must be the first", i);
    for (size_t r = 0; r < APUS_COUNT(tool_roles); r++)
        if (!strcmp(m->role, tool_roles[r]))
            return apus_fail(APUS_ERR_SUPPORT, "message %zu: the role '%s' is not supported yet", i,
                             m->role);
    return apus_fail(APUS_ERR_FORMAT,
                     "message %zu: the role '%.40s' is not system, user or "
                     "assistant",
                     i, m->role);
}

static apus_status add_answer(apusi_conversation *c, const apus_message *m)
{
    apusi_round *round = &c->rounds[c->n_rounds - 1];
    apusi_segment *s = &c->segments[c->n_segments];

    if (round->n == 0)
        round->first = c->n_segments;
    round->n++;
    c->n_segments++;
    s->loss = m->loss;
    s->has_loss_scale = m->has_loss_scale;
    s->loss_scale = m->loss_scale;
    apus_str_add(&s->text, m->content);
    return s->text.failed ? APUS_ERR_MEMORY : APUS_OK;
}

apus_status apusi_conversation_read(apusi_conversation *c, const apus_message *messages, size_t n)
{
    size_t i = 0;

    *c = (apusi_conversation) { 0 };
    for (size_t k = 0; k < n; k++)
        APUS_FORWARD(check_message(&messages[k], k));
    if (n > 0 && !strcmp(messages[0].role, "system"))
        c->system = messages[i++].content;
    if (i == n)
        return apus_fail(APUS_ERR_FORMAT, "the conversation has no messages");
    c->rounds = apus_calloc(n, sizeof(*c->rounds));
    if (!c->rounds)
        return APUS_ERR_MEMORY;
    c->segments = apus_calloc(n, sizeof(*c->segments));
    if (!c->segments)
        return APUS_ERR_MEMORY;
    for (; i < n; i++) {
        const bool answer = !strcmp(messages[i].role, "assistant");
        apusi_round *last = c->n_rounds ? &c->rounds[c->n_rounds - 1] : NULL;

        /* A question opens a round unless one is open; an answer needs an open one. */
        if (!last || (!answer && last->n > 0)) {
            last = &c->rounds[c->n_rounds++];
            apus_str_add(&last->query, "");
        }
        if (answer)
            APUS_FORWARD(add_answer(c, &messages[i]));
        else
            apus_str_add(&last->query, messages[i].content);
        if (last->query.failed)
            return APUS_ERR_MEMORY;
    }
    return APUS_OK;
}

void apusi_conversation_release(apusi_conversation *c)
{
    for (size_t i = 0; c->rounds && i < c->n_rounds; i++)
        apus_str_release(&c->rounds[i].query);
    for (size_t i = 0; c->segments && i < c->n_segments; i++)
        apus_str_release(&c->segments[i].text);
    apus_free(c->rounds);
    apus_free(c->segments);
    *c = (apusi_conversation) { 0 };
}

static bool begins_with(const apus_str *s, const char *text)
{
    const size_t n = strlen(text);

    return s->len >= n && !memcmp(s->data, text, n);
}

/* Replace s by `before` and n bytes of `text`. */
static apus_status rewrite(apus_str *s, const char *before, const char *text, size_t n)
{
    apus_str fresh = { 0 };

    apus_str_add(&fresh, before);
    apus_str_add_bytes(&fresh, text, n);
    if (fresh.failed) {
        apus_str_release(&fresh);
        return APUS_ERR_MEMORY;
    }
    apus_str_release(s);
    *s = fresh;
    return APUS_OK;
}

/* The bytes of white space that n bytes of text end with. */
static size_t blank_end(const char *text, size_t n)
{
    size_t end = n;

    while (end > 0) {
        size_t begin = end - 1;
        uint32_t cp;

        while (begin > 0 && ((uint8_t)text[begin] & 0xc0) == 0x80)
            begin--;
        if (apusi_utf8_step(text + begin, end - begin, &cp) != (int)(end - begin) ||
            !apusi_is_space(cp))
            break;
        end = begin;
    }
    return n - end;
}

/* The answer of an earlier round without its thoughts: what follows the last </think>, trimmed. */
static apus_status drop_thoughts(apusi_segment *s, const char *before)
{
    static const char end_mark[] = "</think>";
    const char *text = s->text.data;
    size_t n = s->text.len;

    for (const char *p; (p = memmem(text, n, end_mark, sizeof(end_mark) - 1));) {
        n -= (size_t)(p - text) + sizeof(end_mark) - 1;
        text = p + sizeof(end_mark) - 1;
    }
    const size_t skip = apusi_blank_start(text, n);
    text += skip;
    n -= skip;
    n -= blank_end(text, n);
    return rewrite(&s->text, before ? before : "", text, n);
}

apus_status apusi_conversation_think(apusi_conversation *c, const apus_template *tmpl,
                                     const apus_encode_params *params, apusi_base base,
                                     bool training, bool enable_thinking)
{
    const bool trains_history = training && base != APUSI_BASE_LAST_ROUND;
    const size_t last = c->n_rounds - 1;
    const char *prefix = params->no_non_thinking_prefix ? NULL : tmpl->non_thinking_prefix;
    bool keep = trains_history || !(tmpl->is_thinking || enable_thinking);

    if (params->preserve_thinking != APUS_DEFAULT)
        keep = params->preserve_thinking == APUS_YES;
    for (size_t i = 0; i < c->n_rounds; i++) {
        apusi_round *round = &c->rounds[i];
        apusi_segment *s = round->n ? &c->segments[round->first] : NULL;

        if (!s)
            continue;
        if (prefix && (trains_history || i == last) && !begins_with(&s->text, "<think>") &&
            !begins_with(&s->text, prefix))
            APUS_FORWARD(rewrite(&s->text, prefix, s->text.data, s->text.len));
        for (size_t k = 0; !keep && i < last && k < round->n; k++)
            APUS_FORWARD(drop_thoughts(&s[k], k == 0 ? tmpl->history_prefix : NULL));
    }
    return APUS_OK;
}
