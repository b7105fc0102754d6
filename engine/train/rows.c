/* rows.c - rows of a data set as token ids and labels, packed, ready for micro batches. */
#include "trace.h"
#include "trainer_internal.h"

void apusi_rows_release(apusi_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++)
        apus_encoded_release(&rows->at[i]);
    apus_free(rows->at);
    apus_free(rows->row_id);
    apus_free(rows->lengths);
    apus_packs_release(&rows->packs);
    *rows = (apusi_rows) { 0 };
}

/* Labels from position 1 on: what the loss sees. */
static size_t count_labels(const apus_encoded *e)
{
    size_t n = 0;

    for (size_t t = 1; t < e->n; t++)
        n += e->labels[t] >= 0;
    return n;
}

static apus_status add(apusi_trainer *t, apusi_rows *out, const apus_data_row *row, uint32_t id,
                       const apus_encode_params *params)
{
    apus_encoded e = { 0 };
    const apus_status st =
        apus_encode_train(&e, t->tokenizer, t->choice.tmpl, row->messages, row->n_messages, params);

    if (st != APUS_OK) {
        if (t->p->data.strict || st == APUS_ERR_MEMORY)
            return st;
        char *why = apus_strdup(apus_error_text());
        apus_log(APUS_LOG_WARN, "%s:%llu: left out: %s", row->dataset,
                 (unsigned long long)row->line, why ? why : "");
        apus_free(why);
        out->dropped++;
        return APUS_OK;
    }
    if (e.dropped) {
        out->too_long++;
        if (!out->shortest || e.full_n < out->shortest)
            out->shortest = (uint32_t)e.full_n;
    }
    if (e.dropped || e.n < 2 || count_labels(&e) == 0) {
        if (!e.dropped)
            apus_log(APUS_LOG_WARN, "%s:%llu: left out: no token of an answer is left to train",
                     row->dataset, (unsigned long long)row->line);
        out->cut += !e.dropped && e.full_n > e.n;
        out->dropped++;
        apus_encoded_release(&e);
        return APUS_OK;
    }
    out->row_id[out->n] = id;
    out->lengths[out->n] = (uint32_t)e.n;
    if (e.n > out->longest)
        out->longest = (uint32_t)e.n;
    out->at[out->n++] = e;
    return APUS_OK;
}

static apus_status pack(const apusi_trainer *t, apusi_rows *rows)
{
    const apus_pack_params params = { .packing = t->p->packing,
                                      .length = t->pack_length,
                                      .sections = t->p->packing_sections };
    size_t longer = 0;

    for (size_t i = 0; i < rows->n && t->pack_length; i++)
        longer += rows->lengths[i] > t->pack_length;
    if (longer)
        apus_log(APUS_LOG_WARN,
                 "%zu of %zu rows are longer than the %u tokens of a pack: each is a "
                 "pack by itself",
                 longer, rows->n, t->pack_length);
    return apus_packs_init(&rows->packs, rows->lengths, rows->n, &params);
}

apus_status apusi_rows_encode(apusi_trainer *t, apus_data_part part, apusi_rows *out)
{
    const size_t n = apus_data_count(t->data, part);
    const apus_encode_params params = {
        .system = t->p->system,
        .loss_scale = t->p->loss_scale,
        .max_length = t->p->max_length,
        .truncation = t->p->truncation,
    };

    const uint64_t began = apus_trace_begin();

    if (n == 0)
        return APUS_OK;
    out->at = apus_calloc(n, sizeof(*out->at));
    out->row_id = apus_calloc(n, sizeof(*out->row_id));
    out->lengths = apus_calloc(n, sizeof(*out->lengths));
    if (!out->at || !out->row_id || !out->lengths)
        return APUS_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        APUS_FORWARD(add(t, out, apus_data_get(t->data, part, i), (uint32_t)i, &params));
    apus_trace_end(began, "tokenize", part == APUS_DATA_TRAIN ? "train" : "val", "rows", n);
    if (out->dropped)
        apus_log(APUS_LOG_INFO,
                 "Dataset filtered, origin length: %zu, filtered dataset length: %zu", n, out->n);
    if (out->n == 0 && out->too_long)
        return apus_fail(APUS_ERR_FORMAT,
                         "no row is left: %zu of %zu are longer than --max_length %llu (the "
                         "shortest has %u tokens); use a larger one, or --truncation_strategy left",
                         out->too_long, n, (unsigned long long)t->p->max_length, out->shortest);
    if (out->n == 0 && out->cut)
        return apus_fail(APUS_ERR_FORMAT,
                         "no row is left: --max_length %llu cuts the answers off; use a larger one",
                         (unsigned long long)t->p->max_length);
    if (out->n == 0)
        return apus_fail(APUS_ERR_FORMAT, "none of the %zu rows has an answer to train on", n);
    return pack(t, out);
}

void apusi_rows_batch(const apusi_rows *rows, const uint32_t *packs, uint32_t n, apusi_batch *out)
{
    const apus_packs *p = &rows->packs;

    out->n = out->tokens = out->labels = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = p->first[packs[i]]; k < p->first[packs[i] + 1]; k++) {
            const apus_encoded *e = &rows->at[p->rows[k]];
            out->seqs[out->n++] = (apus_train_sequence) { .ids = e->ids,
                                                          .labels = e->labels,
                                                          .weights = e->loss_scale,
                                                          .n = (uint32_t)e->n,
                                                          .row_id = rows->row_id[p->rows[k]] };
            out->tokens += (uint32_t)e->n;
            out->labels += (uint32_t)count_labels(e);
        }
}

double apusi_rows_fill(const apusi_rows *rows, uint32_t length)
{
    const apus_packs *p = &rows->packs;
    double used = 0;

    for (size_t i = 0; i < p->n; i++)
        used += p->tokens[i] < length ? p->tokens[i] : length;
    return p->n && length ? used / ((double)p->n * length) : 0;
}
