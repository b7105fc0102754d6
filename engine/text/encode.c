/* encode.c - from text to ids: added tokens are cut out, what lies between them is normalized, cut
 * into words by the steps of the file, and each word becomes pieces. */
#include "text_internal.h"

#define MOST_TEXT (1ull << 30)

typedef struct apusi_encoder {
    const apus_tokenizer *t;
    apus_tokens *out;
    bool parse_special;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    apusi_scratch scratch;
    apus_str normalized;
} encoder;

static apus_status out_of_memory(void)
{
    return apus_fail(APUS_ERR_MEMORY, "encoding a text: out of memory");
}

/* A deep match wants a larger stack than the machine's 32 KiB that the JIT begins with. */
static bool grow_stack(encoder *e)
{
    if (e->stack)
        return false;
    if (!e->context)
        e->context = pcre2_match_context_create(NULL);
    e->stack = pcre2_jit_stack_create(64 * 1024, 8 * 1024 * 1024, NULL);
    if (!e->context || !e->stack)
        return false;
    pcre2_jit_stack_assign(e->context, NULL, e->stack);
    return true;
}

/* The next match at or after `at`; *found false: none. */
static apus_status find(encoder *e, const pcre2_code *code, const char *text, size_t n, size_t at,
                        bool *found, size_t *begin, size_t *end)
{
    int rc;

    if (!e->match) {
        e->match = pcre2_match_data_create(1, NULL);
        if (!e->match)
            return out_of_memory();
    }
    do {
        rc = pcre2_match(code, (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK, e->match, e->context);
    } while (rc == PCRE2_ERROR_JIT_STACKLIMIT && grow_stack(e));
    if (rc == PCRE2_ERROR_NOMATCH) {
        *found = false;
        return APUS_OK;
    }
    if (rc < 0) {
        PCRE2_UCHAR words[120];

        pcre2_get_error_message(rc, words, sizeof(words));
        return apus_fail(APUS_ERR_FORMAT, "%s: its pattern cannot cut this text: %s", e->t->where,
                         (const char *)words);
    }
    const PCRE2_SIZE *ovector = pcre2_get_ovector_pointer(e->match);
    *found = true;
    *begin = ovector[0];
    *end = ovector[1];
    /* \K and look-behinds may turn the order around; a match never goes back. */
    if (*begin < at || *end < *begin)
        return apus_fail(APUS_ERR_SUPPORT, "%s: its pattern matches backwards", e->t->where);
    return APUS_OK;
}

static apus_status run_step(encoder *e, size_t step, const char *text, size_t n);

static apus_status prefix_space(encoder *e, size_t step, const char *text, size_t n)
{
    apus_str spaced = { 0 };
    apus_status st;

    if (text[0] == ' ')
        return run_step(e, step + 1, text, n);
    apus_str_add(&spaced, " ");
    apus_str_add_bytes(&spaced, text, n);
    st = spaced.failed ? APUS_ERR_MEMORY : run_step(e, step + 1, spaced.data, spaced.len);
    apus_str_release(&spaced);
    return st;
}

/* A cut that is still open: pieces are emitted one late, so that neighbours can be joined. */
typedef struct apusi_cut {
    size_t begin, end;
    bool open, matched;
} cut;

static apus_status flush(encoder *e, size_t step, const char *text, cut *c)
{
    const cut done = *c;

    c->open = false;
    if (!done.open || done.begin == done.end)
        return APUS_OK;
    return run_step(e, step + 1, text + done.begin, done.end - done.begin);
}

/* One stretch of the text, matched or not, joined to its neighbours as the behaviour says. */
static apus_status stretch(encoder *e, size_t step, const char *text, size_t begin, size_t end,
                           bool matched, cut *c)
{
    const apusi_behavior behavior = e->t->steps[step].behavior;
    bool join = false;

    matched = matched != e->t->steps[step].invert;
    switch (behavior) {
    case APUSI_REMOVED:
        if (matched)
            return APUS_OK;
        break;
    case APUSI_CONTIGUOUS:
        join = c->open && c->matched == matched;
        break;
    case APUSI_MERGED_WITH_PREVIOUS:
        join = c->open && matched && !c->matched;
        break;
    case APUSI_MERGED_WITH_NEXT:
        join = c->open && c->matched && !matched;
        break;
    case APUSI_ISOLATED:
        break;
    }
    if (!join) {
        APUS_FORWARD(flush(e, step, text, c));
        c->begin = begin;
        c->open = true;
    }
    c->end = end;
    c->matched = matched;
    return APUS_OK;
}

static apus_status split(encoder *e, size_t step, const char *text, size_t n)
{
    const pcre2_code *code = e->t->steps[step].pattern;
    cut c = { 0 };
    size_t done = 0, at = 0;

    while (at <= n) {
        bool found = false;
        size_t begin = 0, end = 0;

        APUS_FORWARD(find(e, code, text, n, at, &found, &begin, &end));
        if (!found)
            break;
        if (begin > done)
            APUS_FORWARD(stretch(e, step, text, done, begin, false, &c));
        APUS_FORWARD(stretch(e, step, text, begin, end, true, &c));
        done = at = end;
        if (begin == end) /* an empty match cuts, and the search goes on a character later */
            for (at++; at < n && ((uint8_t)text[at] & 0xc0) == 0x80;)
                at++;
    }
    if (done < n)
        APUS_FORWARD(stretch(e, step, text, done, n, false, &c));
    return flush(e, step, text, &c);
}

static apus_status run_step(encoder *e, size_t step, const char *text, size_t n)
{
    if (step == e->t->n_steps)
        return apusi_bpe(e->t, &e->scratch, text, n, e->out);
    if (!e->t->steps[step].pattern)
        return prefix_space(e, step, text, n);
    return split(e, step, text, n);
}

/* Text without added tokens of the first kind, normalized: those of the second kind, then words. */
static apus_status normalized_text(encoder *e, const char *text, size_t n)
{
    size_t scan = 0, from = 0;
    apusi_hit hit;

    while (apusi_next_added(e->t, true, e->parse_special, text, n, &scan, from, &hit)) {
        if (hit.begin > from)
            APUS_FORWARD(run_step(e, 0, text + from, hit.begin - from));
        APUS_FORWARD(apusi_tokens_add(e->out, hit.added->id));
        from = hit.end;
    }
    return from < n ? run_step(e, 0, text + from, n - from) : APUS_OK;
}

static apus_status plain_text(encoder *e, const char *text, size_t n)
{
    if (e->t->form == APUSI_FORM_NONE)
        return normalized_text(e, text, n);
    apus_str_clear(&e->normalized);
    APUS_FORWARD(apusi_normalize(&e->normalized, e->t->form, text, n));
    return normalized_text(e, e->normalized.data, e->normalized.len);
}

static apus_status whole_text(encoder *e, const char *text, size_t n)
{
    size_t scan = 0, from = 0;
    apusi_hit hit;

    while (apusi_next_added(e->t, false, e->parse_special, text, n, &scan, from, &hit)) {
        if (hit.begin > from)
            APUS_FORWARD(plain_text(e, text + from, hit.begin - from));
        APUS_FORWARD(apusi_tokens_add(e->out, hit.added->id));
        from = hit.end;
    }
    return from < n ? plain_text(e, text + from, n - from) : APUS_OK;
}

static apus_status add_all(apus_tokens *out, const apus_tokens *more)
{
    for (size_t i = 0; i < more->n; i++)
        APUS_FORWARD(apusi_tokens_add(out, more->ids[i]));
    return APUS_OK;
}

apus_status apus_tokenizer_encode(const apus_tokenizer *t, const char *text, size_t bytes,
                                  unsigned flags, apus_tokens *out)
{
    apus_status st;
    const size_t n_before = out->n;
    encoder e = { .t = t, .out = out, .parse_special = flags & APUS_ENCODE_PARSE_SPECIAL };
    apus_str lossy = { 0 };

    if (bytes > MOST_TEXT)
        return apus_fail(APUS_ERR_ARG,
                         "a text of %zu bytes is too long to encode at once (1 GiB); "
                         "cut it",
                         bytes);
    if (!apusi_utf8_valid(text, bytes)) {
        apusi_utf8_lossy(&lossy, text, bytes, true);
        APUS_TRY(lossy.failed ? APUS_ERR_MEMORY : APUS_OK);
        text = lossy.data;
        bytes = lossy.len;
    }
    if (flags & APUS_ENCODE_ADD_SPECIAL)
        APUS_TRY(add_all(out, &t->prefix));
    APUS_TRY(whole_text(&e, text, bytes));
    if (flags & APUS_ENCODE_ADD_SPECIAL)
        APUS_TRY(add_all(out, &t->suffix));

fail:
    if (st != APUS_OK)
        out->n = n_before;
    apus_str_release(&lossy);
    apus_str_release(&e.normalized);
    apusi_scratch_release(&e.scratch);
    pcre2_match_data_free(e.match);
    pcre2_match_context_free(e.context);
    if (e.stack)
        pcre2_jit_stack_free(e.stack);
    return st;
}
