/* args_value.c - one value: from words to its type, checked against the limits of its row. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base.h"
#include "cli_internal.h"
#include "str.h"

static bool same_word(const char *text, const char *word)
{
    for (; *text && *word; text++, word++) {
        const char low = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;

        if (low != *word)
            return false;
    }
    return *text == *word;
}

/* The words that swift's parser takes. */
static bool parse_bool(const char *text, bool *on)
{
    static const char *const yes[] = { "true", "yes", "t", "y", "1" };
    static const char *const no[] = { "false", "no", "f", "n", "0" };

    for (size_t i = 0; i < APUS_COUNT(yes); i++) {
        if (same_word(text, yes[i]) || same_word(text, no[i])) {
            *on = same_word(text, yes[i]);
            return true;
        }
    }
    return false;
}

/* Is x in the interval "[1, 8)"?  The table writes "inf" for no bound. */
static bool in_interval(const char *limits, double x)
{
    char *rest = NULL;
    double least, most;

    if (!limits)
        return true;
    least = strtod(limits + 1, &rest);
    APUS_BUG_IF(*rest != ',');
    most = strtod(rest + 1, &rest);
    APUS_BUG_IF(*rest != ']' && *rest != ')');
    if (limits[0] == '[' ? !(x >= least) : !(x > least))
        return false;
    return *rest == ']' ? x <= most : x < most;
}

/* Where a word stands in "a|b;c": 1 before the ';', 2 after it (not supported), 0 nowhere. */
static int in_choices(const char *limits, const char *word)
{
    const size_t n = strlen(word);
    int place = 1;

    for (const char *at = limits; *at;) {
        const size_t len = strcspn(at, "|;");

        if (len == n && !memcmp(at, word, n))
            return place;
        at += len;
        if (*at == ';')
            place = 2;
        if (*at)
            at++;
    }
    return 0;
}

char *apusi_choices_text(const char *limits)
{
    apus_str s = { 0 };

    for (const char *at = limits; *at && *at != ';'; at++) {
        if (*at == '|')
            apus_str_add(&s, ", ");
        else
            apus_str_add_bytes(&s, at, 1);
    }
    if (s.failed) {
        apus_str_release(&s);
        return NULL;
    }
    return s.data;
}

static apus_status bad(const apus_arg_row *row, const char *word)
{
    static const char *const kinds[] = {
        [APUS_ARG_BOOL] = "true or false",
        [APUS_ARG_INT] = "a whole number",
        [APUS_ARG_UINT] = "a whole number",
        [APUS_ARG_FLOAT] = "a number",
    };

    if (row->state == APUS_ARG_FIXED)
        return apus_fail(APUS_ERR_SUPPORT, "--%s %s: not supported yet (%s); only %s is", row->name,
                         word, row->help, row->or_else);
    return apus_fail(APUS_ERR_ARG, "--%s %s: expected %s%s%s", row->name, word, kinds[row->type],
                     row->limits ? " in " : "", row->limits ? row->limits : "");
}

static apus_status check_choice(const apus_arg_row *row, const char *word)
{
    const int place = in_choices(row->limits, word);
    char *allowed;
    apus_status st;

    if (place == 1)
        return APUS_OK;
    allowed = apusi_choices_text(row->limits);
    if (!allowed)
        return APUS_ERR_MEMORY;
    if (place == 2 || row->state == APUS_ARG_FIXED)
        st = apus_fail(APUS_ERR_SUPPORT, "--%s %s: not supported yet; supported: %s", row->name,
                       word, allowed);
    else
        st = apus_fail(APUS_ERR_ARG, "--%s %s: expected one of: %s", row->name, word, allowed);
    apus_free(allowed);
    return st;
}

/* Numbers are plain decimals; strtod alone would take "0x10", "nan" and " 1" too. */
static bool plain_number(const char *text, bool whole)
{
    return text[0] && strspn(text, whole ? "+-0123456789" : "+-.eE0123456789") == strlen(text);
}

static apus_status parse_number(apusi_value *out, const apus_arg_row *row, const char *word)
{
    char *rest = NULL;

    if (!plain_number(word, row->type != APUS_ARG_FLOAT))
        return bad(row, word);
    errno = 0;
    if (row->type == APUS_ARG_FLOAT) {
        out->real = strtod(word, &rest);
        if (*rest || !isfinite(out->real) || !in_interval(row->limits, out->real))
            return bad(row, word);
        return APUS_OK;
    }
    out->whole = strtoll(word, &rest, 10);
    if (*rest || rest == word || errno || !in_interval(row->limits, (double)out->whole))
        return bad(row, word);
    return APUS_OK;
}

static apus_status check_fixed(const apusi_value *value, const char *word)
{
    const apus_arg_row *row = value->row;
    bool wanted = false;

    if (row->state != APUS_ARG_FIXED || row->type != APUS_ARG_BOOL)
        return APUS_OK;
    parse_bool(row->or_else, &wanted);
    if (value->on == wanted)
        return APUS_OK;
    return bad(row, word);
}

static apus_status copy_words(apusi_value *out, const char *const *words, size_t n)
{
    out->texts = apus_calloc(n ? n : 1, sizeof(*out->texts));
    if (!out->texts)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        out->texts[i] = apus_strdup(words[i]);
        if (!out->texts[i])
            return APUS_ERR_MEMORY;
        out->n_texts++;
    }
    return APUS_OK;
}

apus_status apusi_value_set(apusi_value *value, const char *const *words, size_t n)
{
    apus_status st;
    apusi_value fresh = { .row = value->row, .given = value->given, .set = true };
    const apus_arg_type type = value->row->type;

    APUS_BUG_IF(n != 1 && type != APUS_ARG_STRINGS);
    switch (type) {
    case APUS_ARG_BOOL:
        st = parse_bool(words[0], &fresh.on) ? APUS_OK : bad(value->row, words[0]);
        break;
    case APUS_ARG_INT:
    case APUS_ARG_UINT:
    case APUS_ARG_FLOAT:
        st = parse_number(&fresh, value->row, words[0]);
        break;
    default:
        st = APUS_OK;
        for (size_t i = 0; i < n && st == APUS_OK && value->row->limits; i++)
            st = check_choice(value->row, words[i]);
        if (st == APUS_OK)
            st = copy_words(&fresh, words, n);
    }
    APUS_TRY(st);
    APUS_TRY(check_fixed(&fresh, words[0]));
    apusi_value_release(value);
    *value = fresh;
    return APUS_OK;

fail:
    apusi_value_release(&fresh);
    return st;
}

void apusi_value_release(apusi_value *value)
{
    for (size_t i = 0; i < value->n_texts; i++)
        apus_free(value->texts[i]);
    apus_free(value->texts);
    value->texts = NULL;
    value->n_texts = 0;
}
