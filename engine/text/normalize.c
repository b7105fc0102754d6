/* normalize.c - Unicode normalization forms.  utf8proc decomposes and composes; the canonical order
 * of combining marks is made here with a stable merge of runs, because utf8proc sorts them by
 * insertion, which a hostile run of marks makes quadratic. */
#include <utf8proc.h>

#include "text_internal.h"

typedef struct apusi_points {
    utf8proc_int32_t *at;
    size_t n, room;
} points;

static apus_status add_point(points *p, uint32_t cp, utf8proc_option_t options)
{
    utf8proc_int32_t parts[32];
    int last_bound = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, parts, 32, options, &last_bound);

    if (n < 0 || n > 32)
        return apus_fail(APUS_ERR_FORMAT, "cannot normalize U+%04X", cp);
    APUS_FORWARD(apus_grow(&p->at, p->n, (size_t)n, &p->room, sizeof(*p->at)));
    memcpy(p->at + p->n, parts, (size_t)n * sizeof(*parts));
    p->n += (size_t)n;
    return APUS_OK;
}

static utf8proc_propval_t class_of(utf8proc_int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class;
}

/* Stable counting sort of a run of marks by combining class (1..254). */
static apus_status sort_run(utf8proc_int32_t *run, size_t n)
{
    size_t starts[257] = { 0 };

    if (n < 2)
        return APUS_OK;
    for (size_t i = 0; i < n; i++)
        starts[(class_of(run[i]) & 255) + 1]++;
    for (size_t c = 1; c < 257; c++)
        starts[c] += starts[c - 1];
    utf8proc_int32_t *sorted = apus_calloc(n, sizeof(*sorted));
    if (!sorted)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        sorted[starts[class_of(run[i]) & 255]++] = run[i];
    memcpy(run, sorted, n * sizeof(*run));
    apus_free(sorted);
    return APUS_OK;
}

static apus_status order_marks(points *p)
{
    for (size_t i = 0; i < p->n;) {
        size_t end = i;

        while (end < p->n && class_of(p->at[end]) > 0)
            end++;
        APUS_FORWARD(sort_run(p->at + i, end - i));
        i = end + 1;
    }
    return APUS_OK;
}

/* Text that is ASCII is normalized in every form. */
static bool is_ascii(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)text[i] >= 0x80)
            return false;
    return true;
}

apus_status apusi_normalize(apus_str *out, apusi_form form, const char *text, size_t n)
{
    apus_status st = APUS_OK;
    points p = { 0 };
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;

    if (form == APUSI_NFKC || form == APUSI_NFKD)
        options |= UTF8PROC_COMPAT;
    if (form == APUSI_FORM_NONE || is_ascii(text, n)) {
        apus_str_add_bytes(out, text, n);
        return out->failed ? APUS_ERR_MEMORY : APUS_OK;
    }
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const int step = apusi_utf8_step(text + i, n - i, &cp);

        APUS_BUG_IF(step <= 0);
        APUS_TRY(add_point(&p, cp, options));
        i += (size_t)step;
    }
    APUS_TRY(order_marks(&p));
    if (form == APUSI_NFC || form == APUSI_NFKC) {
        options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
        const utf8proc_ssize_t left =
            utf8proc_normalize_utf32(p.at, (utf8proc_ssize_t)p.n, options);
        APUS_BUG_IF(left < 0);
        p.n = (size_t)left;
    }
    for (size_t i = 0; i < p.n; i++)
        apusi_utf8_add(out, (uint32_t)p.at[i]);
    if (out->failed)
        st = APUS_ERR_MEMORY;

fail:
    apus_free(p.at);
    return st;
}
