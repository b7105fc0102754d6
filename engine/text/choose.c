/* choose.c - which template a model wants: by the names given, by ms-swift's registry of models, or
 * by the markers in the model's own chat template.
 *
 * Markers of a row are the <…> and [UPPER] words of its prompt and the longer plain lines of its
 * prefix and prompt.  A row fits a chat template that has them all, together with the row's default
 * system text and its texts about thinking, if it has such.  Of several the best is, in this order:
 * the one that thinks as the chat template does, the one with the longest default system text, with
 * the most markers, a candidate of the model's architecture, the first of the table. */
#include <ctype.h>
#include <stdio.h>

#include "file.h"
#include "text_internal.h"

static const struct {
    const char *architectures, *gguf, *model_type, *templates;
} types[] = {
#define X(architectures, gguf, model_type, templates)                                              \
    { architectures, gguf, model_type, templates },
#include "model_type.def"
#undef X
};

static const struct {
    const char *id, *model_type, *tmpl;
} known[] = {
#define X(id, model_type, tmpl) { id, model_type, tmpl },
#include "model_id.def"
#undef X
};

/* Whether one of the words of `list`, with `gap` between them, is `word`. */
static bool has_word(const char *list, char gap, const char *word)
{
    const size_t n = strlen(word);

    for (const char *p = list; n && (p = strstr(p, word)); p++)
        if ((p == list || p[-1] == gap) && (p[n] == gap || !p[n]))
            return true;
    return false;
}

static bool row_is(size_t i, const apus_template_hint *hint)
{
    if (hint->architecture && *hint->architecture)
        return has_word(types[i].architectures, '|', hint->architecture);
    return hint->gguf_architecture && !strcmp(types[i].gguf, hint->gguf_architecture);
}

/* ---- by markers ------------------------------------------------------------------------------ */

#define MOST_MARKS 24
#define MOST_MARK 80

typedef struct apusi_marks {
    char at[MOST_MARKS][MOST_MARK];
    size_t n;
} marks;

static void add_mark(marks *m, const char *text, size_t n)
{
    /* The beginning and end of a text come from variables in most chat templates. */
    if (n == 0 || n >= MOST_MARK || m->n == MOST_MARKS || !strncmp(text, "</s>", n) ||
        !strncmp(text, "<s>", n))
        return;
    for (size_t i = 0; i < m->n; i++)
        if (strlen(m->at[i]) == n && !memcmp(m->at[i], text, n))
            return;
    memcpy(m->at[m->n], text, n);
    m->at[m->n++][n] = 0;
}

/* The bytes of a marker that begins at p: <…> or [UPPER]; 0: none. */
static size_t marker(const char *p)
{
    size_t n = 1;

    if (*p == '<') {
        while (p[n] && !strchr("<> \n{", p[n]))
            n++;
        return p[n] == '>' && n > 1 ? n + 1 : 0;
    }
    if (*p == '[') {
        while (isupper((unsigned char)p[n]) || p[n] == '/' || p[n] == '_')
            n++;
        return p[n] == ']' && n > 2 ? n + 1 : 0;
    }
    return 0;
}

static void add_line(marks *m, const char *begin, const char *end)
{
    while (begin < end && isspace((unsigned char)*begin))
        begin++;
    while (end > begin && isspace((unsigned char)end[-1]))
        end--;
    if (end - begin >= 10)
        add_mark(m, begin, (size_t)(end - begin));
}

static void collect(marks *m, const char *text, bool markers)
{
    const char *line = text, *p = text;

    while (text && *p) {
        const size_t n = marker(p);
        const char *close = p[0] == '{' && p[1] == '{' ? strstr(p, "}}") : NULL;

        if (!n && !close && *p != '\n') {
            p++;
            continue;
        }
        add_line(m, line, p);
        if (n && markers)
            add_mark(m, p, n);
        p = n ? p + n : close ? close + 2 : p + 1;
        line = p;
    }
    if (text)
        add_line(m, line, p);
}

/* The chat template as its strings mean it: \n and \" of Jinja's literals undone. */
static apus_status unescape(apus_str *out, const char *text)
{
    apus_str_add(out, "");
    for (const char *p = text; *p; p++) {
        char c = *p;

        if (c == '\\' && p[1] && strchr("nt\\'\"", p[1])) {
            p++;
            c = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
        }
        apus_str_add_bytes(out, &c, 1);
    }
    return out->failed ? APUS_ERR_MEMORY : APUS_OK;
}

/* What of a row's prompt opens the answer: from its last marker on. */
static const char *answer_header(const apus_template *row)
{
    const char *last = row->prompt;

    for (const char *p = row->prompt; *p; p++)
        if (marker(p))
            last = p;
    return last;
}

static bool opens_with_thinking(const apus_template *row, const char *chat)
{
    char text[200];

    snprintf(text, sizeof(text), "%s%s", answer_header(row), row->thinking_prefix);
    return strstr(chat, text) != NULL;
}

typedef struct apusi_fit {
    size_t thinks, system, marks, candidate;
} fit;

static bool fits(const apus_template *row, const char *chat, const marks *m, fit *f)
{
    const char *system = row->default_system, *skip = row->non_thinking_prefix;

    if (m->n == 0)
        return false;
    for (size_t i = 0; i < m->n; i++)
        if (!strstr(chat, m->at[i]))
            return false;
    if (system && *system && !strstr(chat, system))
        return false;
    if (skip && (!strstr(chat, "enable_thinking") || !strstr(chat, skip)))
        return false;
    if (row->thinking_prefix && !skip && !opens_with_thinking(row, chat))
        return false;
    f->thinks = skip || row->thinking_prefix;
    f->system = system ? strlen(system) : 0;
    f->marks = m->n;
    return true;
}

static bool better(const fit *a, const fit *b)
{
    if (a->thinks != b->thinks)
        return a->thinks > b->thinks;
    if (a->system != b->system)
        return a->system > b->system;
    if (a->marks != b->marks)
        return a->marks > b->marks;
    return a->candidate > b->candidate;
}

static bool is_candidate(const apus_template *row, const apus_template_hint *hint)
{
    for (size_t i = 0; hint && i < APUS_COUNT(types); i++)
        if (row_is(i, hint) && has_word(types[i].templates, ' ', row->name))
            return true;
    return false;
}

static apus_status match(const apus_template **out, char *reason, size_t room,
                         const char *chat_template, const apus_template_hint *hint)
{
    apus_str chat = { 0 };
    const apus_template *row;
    fit best = { 0 };
    char words[120] = "";

    *out = NULL;
    const apus_status st = unescape(&chat, chat_template);
    for (size_t i = 0; st == APUS_OK && (row = apus_template_at(i)); i++) {
        marks m = { .n = 0 };
        fit f = { 0 };

        collect(&m, row->prefix, false);
        collect(&m, row->prompt, true);
        if (!fits(row, chat.data, &m, &f))
            continue;
        f.candidate = is_candidate(row, hint);
        if (*out && !better(&f, &best))
            continue;
        *out = row;
        best = f;
        snprintf(words, sizeof(words), "%.50s%s%.50s", m.at[0], m.n > 1 ? " and " : "",
                 m.n > 1 ? m.at[1] : "");
    }
    apus_str_release(&chat);
    if (st != APUS_OK)
        return st;
    if (!*out)
        return apus_fail(APUS_ERR_MISSING, "the model's own chat template has the markers of no "
                                           "row of the template table; pass --template");
    snprintf(reason, room, "template '%s': the model's own chat template has its %s", (*out)->name,
             words);
    return APUS_OK;
}

apus_status apus_template_match(const apus_template **out, char *reason, size_t room,
                                const char *chat_template)
{
    return match(out, reason, room, chat_template, NULL);
}

/* ---- by names -------------------------------------------------------------------------------- */

/* The number format at the end of a file's name: -Q4_K_M, .f16, -bf16. */
static bool is_format(const char *word)
{
    static const char *const starts[] = { "q", "iq", "f", "bf" };

    for (size_t i = 0; i < APUS_COUNT(starts); i++) {
        const size_t n = strlen(starts[i]);

        if (!strncmp(word, starts[i], n) && isdigit((unsigned char)word[n]))
            return true;
    }
    return false;
}

/* The last part of a path or id in lower case, without .gguf and the number format. */
static bool short_name(char *out, size_t room, const char *name)
{
    size_t n = strlen(name);

    while (n > 0 && name[n - 1] == '/')
        n--;
    size_t begin = n;
    while (begin > 0 && name[begin - 1] != '/')
        begin--;
    n -= begin;
    if (n == 0 || n >= room)
        return false;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)tolower((unsigned char)name[begin + i]);
    out[n] = 0;
    if (n <= 5 || strcmp(out + n - 5, ".gguf"))
        return true;
    out[n - 5] = 0;
    for (size_t i = n - 5; i-- > 1;) {
        if (out[i] != '-' && out[i] != '.')
            continue;
        if (is_format(out + i + 1))
            out[i] = 0;
        break;
    }
    return true;
}

static bool known_model(apus_template_choice *out, const apus_template_hint *hint)
{
    char name[256];

    if (!hint->model_name || !short_name(name, sizeof(name), hint->model_name))
        return false;
    for (size_t i = 0; i < APUS_COUNT(known); i++) {
        if (strcmp(known[i].id, name) ||
            (hint->model_type && strcmp(known[i].model_type, hint->model_type)))
            continue;
        if (!out->tmpl && apus_template_find(&out->tmpl, known[i].tmpl) != APUS_OK)
            return false;
        out->model_type = known[i].model_type;
        snprintf(out->reason, sizeof(out->reason), "template '%s': '%.120s' is in the model table",
                 out->tmpl->name, name);
        return true;
    }
    return false;
}

/* The model type named, or the first that the architecture may be; *n: how many those are, and *row
 * the (first) row. */
static void find_type(const apus_template_hint *hint, size_t *row, size_t *n)
{
    *n = 0;
    for (size_t i = APUS_COUNT(types); i-- > 0;) {
        if (hint->model_type ? strcmp(types[i].model_type, hint->model_type) : !row_is(i, hint))
            continue;
        *row = i;
        (*n)++;
    }
}

apus_status apus_template_choose(apus_template_choice *out, const apus_template_hint *hint)
{
    size_t row = 0, n_types = 0;
    const char *chat = hint->chat_template;

    *out = (apus_template_choice) { .model_type = "" };
    find_type(hint, &row, &n_types);
    if (hint->model_type && !n_types)
        return apus_fail(APUS_ERR_MISSING, "there is no model type '%.60s' in the model table",
                         hint->model_type);
    if (hint->template_name)
        APUS_FORWARD(apus_template_find(&out->tmpl, hint->template_name));
    const bool is_known = known_model(out, hint);
    if (!is_known && n_types)
        out->model_type = types[row].model_type;
    if (hint->template_name)
        snprintf(out->reason, sizeof(out->reason), "template '%s': as given", out->tmpl->name);
    if (out->tmpl)
        return APUS_OK;
    if (n_types == 1 && !strchr(types[row].templates, ' ')) {
        APUS_FORWARD(apus_template_find(&out->tmpl, types[row].templates));
        snprintf(out->reason, sizeof(out->reason), "template '%s': the only one of model type '%s'",
                 out->tmpl->name, types[row].model_type);
        return APUS_OK;
    }
    if (chat)
        return match(&out->tmpl, out->reason, sizeof(out->reason), chat, hint);
    if (n_types)
        return apus_fail(APUS_ERR_MISSING,
                         "model type '%s' has several templates (%s) and the "
                         "model has no chat template of its own; pass --template",
                         types[row].model_type, types[row].templates);
    return apus_fail(APUS_ERR_MISSING, "the model table does not know this model, and it has no "
                                       "chat template of its own; pass --template");
}
