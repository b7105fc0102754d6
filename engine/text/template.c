/* template.c - the table of chat templates and what is asked of a row. */
#include "text_internal.h"

static const apus_template table[] = {
#define T(...) { __VA_ARGS__ },
#include "template.def"
#undef T
};

const apus_template apusi_plain_template = { .name = "none",
                                             .prompt = "{{QUERY}}",
                                             .auto_add_bos = true };

apus_status apus_template_find(const apus_template **out, const char *name)
{
    *out = NULL;
    for (size_t i = 0; i < APUS_COUNT(table); i++) {
        if (strcmp(table[i].name, name))
            continue;
        *out = &table[i];
        return APUS_OK;
    }
    return apus_fail(APUS_ERR_MISSING, "there is no template '%.60s' in the table of %zu templates",
                     name, APUS_COUNT(table));
}

const apus_template *apus_template_at(size_t i)
{
    return i < APUS_COUNT(table) ? &table[i] : NULL;
}

const char *apus_template_name(const apus_template *tmpl)
{
    return tmpl->name;
}

const char *apus_template_default_system(const apus_template *tmpl)
{
    return tmpl->default_system;
}

bool apus_template_is_hybrid(const apus_template *tmpl)
{
    return tmpl->is_thinking && tmpl->non_thinking_prefix;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

const char *apusi_template_end_mark(const apus_template *tmpl, size_t *n)
{
    const char *begin = tmpl->suffix, *end;

    if (!begin)
        return NULL;
    while (is_blank(*begin))
        begin++;
    end = begin + strlen(begin);
    while (end > begin && is_blank(end[-1]))
        end--;
    *n = (size_t)(end - begin);
    if (*n == 0 || strstr(begin, "{{"))
        return NULL;
    return begin;
}

static bool ends_with(const char *text, size_t n, const char *end, size_t n_end)
{
    return n_end > 0 && n >= n_end && !memcmp(text + n - n_end, end, n_end);
}

bool apusi_template_ends(const apus_template *tmpl, const apus_tokenizer *t, const char *answer,
                         size_t n)
{
    size_t n_mark = 0;
    const char *mark = apusi_template_end_mark(tmpl, &n_mark);
    const char *eos = t->eos >= 0 ? apus_tokenizer_piece(t, (uint32_t)t->eos) : NULL;

    if (mark && ends_with(answer, n, mark, n_mark))
        return true;
    if (eos && ends_with(answer, n, eos, strlen(eos)))
        return true;
    for (size_t i = 0; i < APUSI_MOST_STOPS && tmpl->stop[i]; i++)
        if (ends_with(answer, n, tmpl->stop[i], strlen(tmpl->stop[i])))
            return true;
    return false;
}

static apus_status add_text(apus_stops *stops, const char *text, size_t n)
{
    for (size_t i = 0; i < stops->n_texts; i++)
        if (strlen(stops->texts[i]) == n && !memcmp(stops->texts[i], text, n))
            return APUS_OK;
    stops->texts[stops->n_texts] = apus_strndup(text, n);
    if (!stops->texts[stops->n_texts])
        return APUS_ERR_MEMORY;
    stops->n_texts++;
    return APUS_OK;
}

static void add_id(apus_stops *stops, uint32_t id)
{
    for (size_t i = 0; i < stops->n_ids; i++)
        if (stops->ids[i] == id)
            return;
    stops->ids[stops->n_ids++] = id;
}

apus_status apus_template_stops(apus_stops *out, const apus_template *tmpl, const apus_tokenizer *t)
{
    apus_stops stops = { 0 };
    apus_status st = APUS_ERR_MEMORY;
    size_t n = 0;
    const char *mark = apusi_template_end_mark(tmpl, &n);
    const char *eos = t->eos >= 0 ? apus_tokenizer_piece(t, (uint32_t)t->eos) : NULL;

    *out = (apus_stops) { 0 };
    stops.ids = apus_calloc(t->eos_ids.n + APUSI_MOST_STOPS + 1, sizeof(*stops.ids));
    if (!stops.ids)
        goto fail;
    stops.texts = apus_calloc(APUSI_MOST_STOPS + 2, sizeof(*stops.texts));
    if (!stops.texts)
        goto fail;
    if (mark) {
        const uint32_t id = apusi_vocab_find(&t->vocab, mark, n);

        if (id != APUSI_NO_ID)
            add_id(&stops, id);
        APUS_TRY(add_text(&stops, mark, n));
    }
    if (eos)
        APUS_TRY(add_text(&stops, eos, strlen(eos)));
    for (size_t i = 0; i < t->eos_ids.n; i++)
        add_id(&stops, t->eos_ids.ids[i]);
    for (size_t i = 0; i < APUSI_MOST_STOPS && tmpl->stop[i]; i++) {
        const uint32_t id = apusi_vocab_find(&t->vocab, tmpl->stop[i], strlen(tmpl->stop[i]));

        if (id != APUSI_NO_ID)
            add_id(&stops, id);
        APUS_TRY(add_text(&stops, tmpl->stop[i], strlen(tmpl->stop[i])));
    }
    *out = stops;
    return APUS_OK;

fail:
    apus_stops_release(&stops);
    return st;
}

void apus_stops_release(apus_stops *stops)
{
    for (size_t i = 0; i < stops->n_texts; i++)
        apus_free(stops->texts[i]);
    apus_free(stops->texts);
    apus_free(stops->ids);
    *stops = (apus_stops) { 0 };
}
