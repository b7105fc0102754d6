/* dataset.c - reading data sets, and the order of their rows.
 *
 * Each row is parsed once, into the arena of the set.  Random draws come from one RandomState of
 * the seed, in the order in which ms-swift 4.6 draws them: for each set one that is not used, the
 * seed of its split, the sample of `#N`; at the end the seed that shuffles the training rows and
 * the one that shuffles the validation rows.  Explicit validation sets start a RandomState anew. */
#include "data_internal.h"
#include "order.h"

#define WARNINGS_A_FILE 10
#define MOST_ROWS APUS_ORDER_TORCH_MOST

/* Row numbers in order. */
typedef struct list {
    uint32_t *items;
    size_t n, room;
} list;

struct apus_data {
    apus_arena arena;
    apus_data_row *rows; /* all usable rows, file after file */
    size_t n_rows, room;
    list parts[2];
    apus_data_counts counts;
};

/* One set named on the command line: its rows, and how many of them are wanted. */
typedef struct part_of_set {
    uint32_t first, n;
    uint64_t sample; /* 0: all */
} part_of_set;

static apus_status list_reserve(list *l, size_t more)
{
    uint32_t *items;

    if (more > MOST_ROWS || l->n + more > MOST_ROWS)
        return apus_fail(APUS_ERR_ARG, "more than %u rows in all", MOST_ROWS);
    if (l->n + more <= l->room)
        return APUS_OK;
    items = apus_realloc(l->items, (l->n + more) * sizeof(*items));
    if (!items)
        return APUS_ERR_MEMORY;
    l->items = items;
    l->room = l->n + more;
    return APUS_OK;
}

static apus_status add_row(apus_data *d, const apus_data_row *row)
{
    if (d->n_rows >= MOST_ROWS)
        return apus_fail(APUS_ERR_ARG, "more than %u rows in all", MOST_ROWS);
    APUS_FORWARD(apus_grow(&d->rows, d->n_rows, 1, &d->room, sizeof(*d->rows)));
    d->rows[d->n_rows++] = *row;
    return APUS_OK;
}

/* A row that is no conversation: a warning, or the end under `strict`. */
static apus_status bad_row(apus_data *d, const char *path, uint64_t line, bool strict,
                           uint64_t bad_before)
{
    char *why = apus_strdup(apus_error_text());
    apus_status st = APUS_OK;

    if (!why)
        return APUS_ERR_MEMORY;
    d->counts.bad++;
    if (strict)
        st = apus_fail(APUS_ERR_FORMAT, "%s:%llu: %s", path, (unsigned long long)line, why);
    else if (bad_before < WARNINGS_A_FILE)
        apus_log(APUS_LOG_WARN, "%s:%llu: %s; the row is left out", path, (unsigned long long)line,
                 why);
    apus_free(why);
    return st;
}

static apus_status read_file(apus_data *d, const char *path, const apus_data_params *params)
{
    const apusi_row_rules rules = {
        .columns = params->columns,
        .n_columns = params->n_columns,
        .auto_columns = !params->no_auto_columns,
        .keep_extra = params->keep_extra,
    };
    const uint64_t before = d->counts.bad;
    const size_t first = d->n_rows;
    const char *dataset = apus_arena_strdup(&d->arena, path);
    apusi_source source = { 0 };
    apus_status st = dataset ? APUS_OK : APUS_ERR_MEMORY;

    if (st == APUS_OK)
        st = apusi_source_open(&source, path);
    while (st == APUS_OK) {
        apusi_span span;
        apus_data_row row;
        cJSON *object = NULL;
        bool more;

        APUS_TRY(apusi_source_next(&source, &span, &more));
        if (!more)
            break;
        APUS_TRY(apusi_source_parse(&source, &span, &object));
        st = apusi_row_read(&row, object, &rules, &d->arena);
        cJSON_Delete(object);
        if (st == APUS_ERR_FORMAT) {
            APUS_TRY(bad_row(d, path, span.line, params->strict, d->counts.bad - before));
            continue;
        }
        if (st != APUS_OK)
            break;
        row.dataset = dataset;
        row.line = span.line;
        st = add_row(d, &row);
    }
    if (st == APUS_OK && d->counts.bad - before > WARNINGS_A_FILE)
        apus_log(APUS_LOG_WARN, "%s: %llu rows in all are left out", path,
                 (unsigned long long)(d->counts.bad - before));
    if (st == APUS_OK && d->n_rows == first)
        st = d->counts.bad > before
                 ? apus_fail(APUS_ERR_FORMAT, "%s: none of its %llu rows can be used", path,
                             (unsigned long long)(d->counts.bad - before))
                 : apus_fail(APUS_ERR_FORMAT, "%s: the file holds no rows", path);

fail:
    apusi_source_close(&source);
    return st;
}

/* "PATH#N"; the whole name is a path if there is such a file. */
static apus_status parse_name(const char *name, char **path, uint64_t *sample)
{
    const char *hash = strrchr(name, '#');
    uint64_t n = 0;

    *sample = 0;
    if (hash && hash[1] && strspn(hash + 1, "0123456789") == strlen(hash + 1) &&
        !apus_path_exists(name)) {
        for (const char *p = hash + 1; *p; p++) {
            n = n * 10 + (uint64_t)(*p - '0');
            if (n > MOST_ROWS)
                return apus_fail(APUS_ERR_ARG, "data set %s: at most %u rows can be asked for",
                                 name, MOST_ROWS);
        }
        if (n == 0)
            return apus_fail(APUS_ERR_ARG,
                             "data set %s: #0 asks for no row; without it all are taken", name);
        *sample = n;
        *path = apus_strndup(name, (size_t)(hash - name));
    } else {
        *path = apus_strdup(name);
    }
    return *path ? APUS_OK : APUS_ERR_MEMORY;
}

/* Rows `of` a set, `wanted` of them: whole copies, then a random (or the first) part of one. */
static apus_status sample_rows(list *to, const uint32_t *of, uint32_t n, uint64_t wanted,
                               bool shuffle, apus_mt19937 *random)
{
    const uint64_t copies = wanted / n;
    const uint32_t rest = (uint32_t)(wanted % n);
    uint32_t *drawn = NULL;

    APUS_FORWARD(list_reserve(to, (size_t)wanted));
    for (uint64_t i = 0; i < copies * n; i++)
        to->items[to->n++] = of[i % n];
    if (rest && shuffle) {
        drawn = apus_calloc(n, sizeof(*drawn));
        if (!drawn)
            return APUS_ERR_MEMORY;
        apus_order_legacy(random, drawn, n);
    }
    for (uint32_t i = 0; i < rest; i++)
        to->items[to->n++] = of[drawn ? drawn[i] : i];
    apus_free(drawn);
    return APUS_OK;
}

/* Split and sample one set into the two lists.  `only_val`: all of it is validation. */
static apus_status split_set(apus_data *d, const part_of_set *set, const char *name, double ratio,
                             bool only_val, bool shuffle, apus_mt19937 *random)
{
    const uint64_t wanted = set->sample ? set->sample : set->n;
    const uint64_t least = wanted < set->n ? wanted : set->n;
    uint64_t n_val = only_val || ratio == 0.0 ? 0 : (uint64_t)((double)least * ratio);
    uint32_t *order = apus_calloc(set->n, sizeof(*order));
    const uint32_t *val, *train;
    apus_status st = order ? APUS_OK : APUS_ERR_MEMORY;

    if (!order)
        goto fail;
    apus_order_draw_seed(random); /* drawn and not used by the reference */
    if (!only_val && ratio > 0.0 && n_val == 0)
        n_val = 1;
    if (n_val && n_val >= wanted) {
        st = apus_fail(APUS_ERR_ARG,
                       "data set %s: of %llu rows none is left to train after "
                       "splitting %llu off",
                       name, (unsigned long long)wanted, (unsigned long long)n_val);
        goto fail;
    }
    if (only_val && wanted > set->n) {
        st = apus_fail(APUS_ERR_ARG, "validation set %s: it has only %u usable rows", name, set->n);
        goto fail;
    }
    if (n_val && shuffle) {
        apus_order_numpy(apus_order_draw_seed(random), order, set->n);
        val = order;
        train = order + n_val;
    } else {
        for (uint32_t i = 0; i < set->n; i++)
            order[i] = i;
        train = order;
        val = order + (set->n - n_val);
    }
    for (uint32_t i = 0; i < set->n; i++)
        order[i] += set->first;
    APUS_TRY(list_reserve(&d->parts[APUS_DATA_VAL], (size_t)n_val));
    for (uint64_t i = 0; i < n_val; i++)
        d->parts[APUS_DATA_VAL].items[d->parts[APUS_DATA_VAL].n++] = val[i];
    st = sample_rows(&d->parts[only_val ? APUS_DATA_VAL : APUS_DATA_TRAIN], train,
                     set->n - (uint32_t)n_val, wanted - n_val, shuffle, random);

fail:
    apus_free(order);
    return st;
}

static apus_status shuffle_list(list *l, apus_mt19937 *random)
{
    const size_t n = l->n;
    uint32_t *order, *old = l->items;

    if (n == 0)
        return APUS_OK;
    order = apus_calloc(n, sizeof(*order));
    if (!order)
        return APUS_ERR_MEMORY;
    apus_order_numpy(apus_order_draw_seed(random), order, (uint32_t)n);
    for (size_t i = 0; i < n; i++)
        order[i] = old[order[i]];
    l->items = order;
    l->room = n;
    apus_free(old);
    return APUS_OK;
}

/* Read, split, sample and shuffle the sets of one list of names. */
static apus_status load_sets(apus_data *d, const apus_data_params *params, bool only_val)
{
    const char *const *names = only_val ? params->val_paths : params->paths;
    const size_t n = only_val ? params->n_val_paths : params->n_paths;
    const bool shuffle = only_val ? params->val_shuffle : params->shuffle;
    const double ratio = params->n_val_paths ? 0.0 : params->split_ratio;
    apus_mt19937 random;

    apus_mt19937_seed(&random, (uint32_t)params->seed);
    for (size_t i = 0; i < n; i++) {
        part_of_set set = { .first = (uint32_t)d->n_rows };
        char *path = NULL;
        apus_status st = parse_name(names[i], &path, &set.sample);

        if (st == APUS_OK)
            st = read_file(d, path, params);
        apus_free(path);
        set.n = (uint32_t)d->n_rows - set.first;
        if (st == APUS_OK)
            st = split_set(d, &set, names[i], ratio, only_val, shuffle, &random);
        if (st != APUS_OK)
            return st;
    }
    if (!shuffle)
        return APUS_OK;
    if (!only_val)
        APUS_FORWARD(shuffle_list(&d->parts[APUS_DATA_TRAIN], &random));
    if (only_val || ratio > 0.0)
        return shuffle_list(&d->parts[APUS_DATA_VAL], &random);
    return APUS_OK;
}

/* Rows that were ordered and split like the others, but have nothing to train. */
static void drop_unanswered(apus_data *d)
{
    for (size_t part = 0; part < 2; part++) {
        list *l = &d->parts[part];
        size_t kept = 0;

        for (size_t i = 0; i < l->n; i++) {
            const apus_data_row *row = &d->rows[l->items[i]];
            if (row->answered) {
                l->items[kept++] = l->items[i];
            } else if (d->counts.unanswered++ < WARNINGS_A_FILE) {
                apus_log(APUS_LOG_WARN, "%s:%llu: it has no answer to train; the row is left out",
                         row->dataset, (unsigned long long)row->line);
            }
        }
        l->n = kept;
    }
}

apus_status apus_data_open(apus_data **out, const apus_data_params *params)
{
    apus_status st;
    apus_data *d;

    *out = NULL;
    if (params->n_paths == 0 && params->n_val_paths == 0)
        return apus_fail(APUS_ERR_ARG, "no data set is named; pass --dataset FILE");
    if (!(params->split_ratio >= 0.0 && params->split_ratio < 1.0))
        return apus_fail(APUS_ERR_ARG, "split_dataset_ratio is %g; it must be in [0, 1)",
                         params->split_ratio);
    if (params->seed > UINT32_MAX)
        return apus_fail(APUS_ERR_ARG, "data_seed is %llu; it must be below 2^32",
                         (unsigned long long)params->seed);
    d = apus_alloc(sizeof(*d));
    if (!d)
        return APUS_ERR_MEMORY;
    APUS_TRY(load_sets(d, params, false));
    APUS_TRY(load_sets(d, params, true));
    d->counts.rows = d->n_rows;
    if (!params->keep_unanswered)
        drop_unanswered(d);
    if (params->n_paths && d->parts[APUS_DATA_TRAIN].n == 0) {
        st = apus_fail(APUS_ERR_FORMAT, "%s: no row of the training set has an answer to train",
                       params->paths[0]);
        goto fail;
    }
    *out = d;
    return APUS_OK;

fail:
    apus_data_close(&d);
    return st;
}

void apus_data_close(apus_data **data)
{
    apus_data *d = *data;

    if (!d)
        return;
    apus_free(d->parts[0].items);
    apus_free(d->parts[1].items);
    apus_free(d->rows);
    apus_arena_release(&d->arena);
    apus_free(d);
    *data = NULL;
}

size_t apus_data_count(const apus_data *data, apus_data_part part)
{
    return data->parts[part].n;
}

const apus_data_row *apus_data_get(const apus_data *data, apus_data_part part, size_t i)
{
    APUS_BUG_IF(i >= data->parts[part].n);
    return &data->rows[data->parts[part].items[i]];
}

apus_data_counts apus_data_report(const apus_data *data)
{
    return data->counts;
}
