/* loss_scale.c - how much each part of an answer counts: the grammar "[base+]name[+name…]" and the
 * cutting of an answer by the rows of loss_scale.def.  Chained names cut each other's parts, and
 * their weights multiply. */
#include "text_internal.h"

typedef enum apusi_tail { APUSI_TAIL_NONE, APUSI_TAIL_SPACE, APUSI_TAIL_NEWLINE } tail_kind;
typedef enum apusi_row_kind { ROW_KEY, ROW_BETWEEN, ROW_HEAD } row_kind;

typedef struct apusi_scale_row {
    const char *name;
    row_kind kind;
    const char *open, *close;
    tail_kind tail;
    float weight, after;
} row;

#define KEY(name, open, weight, after)                                                             \
    { name, ROW_KEY, open, NULL, APUSI_TAIL_NONE, weight, after },
#define BETWEEN(name, open, close, weight)                                                         \
    { name, ROW_BETWEEN, open, close, APUSI_TAIL_NONE, weight, 1 },
#define HEAD(name, open, close, tail, weight) { name, ROW_HEAD, open, close, tail, weight, 1 },
static const row table[] = {
#include "loss_scale.def"
};
#undef KEY
#undef BETWEEN
#undef HEAD

static const struct {
    const char *name;
    apusi_base base;
} bases[] = { { "default", APUSI_BASE_DEFAULT },
              { "last_round", APUSI_BASE_LAST_ROUND },
              { "all", APUSI_BASE_ALL } };

apus_status apusi_loss_scale_append(apusi_loss_scale *scale, const char *name, size_t n)
{
    if (n == 4 && !memcmp(name, "base", 4))
        return APUS_OK; /* changes nothing */
    for (size_t i = 0; i < APUS_COUNT(table); i++) {
        if (strlen(table[i].name) != n || memcmp(table[i].name, name, n))
            continue;
        if (scale->n == APUSI_MOST_SCALES)
            return apus_fail(APUS_ERR_ARG, "loss_scale: more than %d names", APUSI_MOST_SCALES);
        scale->names[scale->n++] = table[i].name;
        return APUS_OK;
    }
    if (n == 9 && !memcmp(name, "agentflan", 9))
        return apus_fail(APUS_ERR_SUPPORT, "loss_scale 'agentflan' is not supported yet");
    return apus_fail(APUS_ERR_ARG,
                     "loss_scale: there is no '%.*s'; it is default, last_round or "
                     "all, then +react, +hermes, +qwen, +alpha_umi, +ignore_empty_think or "
                     "+ignore_think_prefix",
                     (int)(n < 60 ? n : 60), name);
}

apus_status apusi_loss_scale_parse(apusi_loss_scale *out, const char *text)
{
    *out = (apusi_loss_scale) { 0 };
    for (const char *p = text ? text : "default"; p;) {
        const char *plus = strchr(p, '+');
        const size_t n = plus ? (size_t)(plus - p) : strlen(p);
        bool is_base = false;

        for (size_t i = 0; p == text && i < APUS_COUNT(bases); i++) {
            if (strlen(bases[i].name) != n || memcmp(bases[i].name, p, n))
                continue;
            out->base = bases[i].base;
            is_base = true;
        }
        if (!is_base && text)
            APUS_FORWARD(apusi_loss_scale_append(out, p, n));
        p = plus ? plus + 1 : NULL;
    }
    return APUS_OK;
}

static bool has_at(const char *text, size_t n, size_t at, const char *what)
{
    const size_t length = strlen(what);

    return n - at >= length && !memcmp(text + at, what, length);
}

/* Where a row's match that begins at `at` ends; 0: none begins there. */
static size_t match(const row *r, const char *text, size_t n, size_t at)
{
    size_t end;

    if ((r->kind == ROW_HEAD && at != 0) || !has_at(text, n, at, r->open))
        return 0;
    end = at + strlen(r->open);
    if (r->kind == ROW_KEY)
        return end;
    if (r->kind == ROW_BETWEEN) {
        if (end == n)
            return 0;
        const char *close = memmem(text + end + 1, n - end - 1, r->close, strlen(r->close));
        return close ? (size_t)(close - text) + strlen(r->close) : 0;
    }
    if (r->close) {
        end += apusi_blank_start(text + end, n - end);
        if (!has_at(text, n, end, r->close))
            return 0;
        end += strlen(r->close);
    }
    if (r->tail == APUSI_TAIL_SPACE)
        end += apusi_blank_start(text + end, n - end);
    if (r->tail == APUSI_TAIL_NEWLINE && end < n && text[end] == '\n')
        end++;
    return end;
}

static apus_status cut(const apusi_loss_scale *scale, size_t level, const char *text, size_t n,
                       float weight, apusi_part part, void *user)
{
    float rest = 1; /* weight of what follows the last key */
    size_t from = 0;

    if (level == scale->n)
        return part(user, text, n, weight);
    for (size_t at = 0; at < n;) {
        size_t end = 0, i;

        for (i = 0; i < APUS_COUNT(table); i++) {
            if (!strcmp(table[i].name, scale->names[level]))
                end = match(&table[i], text, n, at);
            if (end)
                break;
        }
        if (!end) {
            at++;
            continue;
        }
        if (at > from)
            APUS_FORWARD(cut(scale, level + 1, text + from, at - from, weight * rest, part, user));
        APUS_FORWARD(
            cut(scale, level + 1, text + at, end - at, weight * table[i].weight, part, user));
        rest = table[i].after;
        from = at = end;
    }
    if (from < n || n == 0)
        return cut(scale, level + 1, text + from, n - from, weight * rest, part, user);
    return APUS_OK;
}

apus_status apusi_loss_scale_split(const apusi_loss_scale *scale, const char *text, size_t n,
                                   float weight, apusi_part part, void *user)
{
    return cut(scale, 0, text, n, weight, part, user);
}
