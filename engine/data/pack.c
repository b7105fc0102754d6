/* pack.c - which rows stand in which pack: what ms-swift 4.6 and binpacking 2.0.1 make of their
 * lengths.
 *
 * binpack     1000 rows at a time, the longest first, each into the emptiest pack of these rows if
 *             it fits there, else into a new one; the pack that was begun last is opened again for
 *             the next 1000
 * sequential  rows in their order; a pack ends where the next row does not fit
 *
 * A row that is longer than a pack may be is a pack by itself. */
#include "apus/data.h"
#include "base.h"
#include "order.h"

#define ROWS_AT_ONCE 1000u /* PACKING_BATCH_SIZE */

typedef struct item {
    uint32_t length, row;
} item;

/* The rows that are being packed. */
typedef struct bench {
    item *items;
    uint32_t *pack_of; /* of each item */
    uint64_t *tokens;  /* in each pack */
    size_t n, n_packs;
} bench;

static void begin_pack(apus_packs *out)
{
    out->n++;
    out->first[out->n] = out->first[out->n - 1];
}

/* Into the pack that was begun last. */
static void add_row(apus_packs *out, uint32_t row, uint32_t length)
{
    const size_t pack = out->n - 1;

    out->rows[out->first[out->n]++] = row;
    out->tokens[pack] += length;
    if (out->tokens[pack] > out->longest)
        out->longest = out->tokens[pack];
    if (out->first[pack + 1] - out->first[pack] > out->most_rows)
        out->most_rows = out->first[pack + 1] - out->first[pack];
}

/* ---- binpack ---- */

static int longest_first(const void *a, const void *b)
{
    const item *x = a, *y = b;

    if (x->length != y->length)
        return x->length > y->length ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* If a row does not fit into the emptiest pack, it fits into none. */
static void choose_packs(bench *w, uint64_t most)
{
    qsort(w->items, w->n, sizeof(*w->items), longest_first);
    w->n_packs = 0;
    for (size_t i = 0; i < w->n; i++) {
        size_t best = 0;

        for (size_t p = 1; p < w->n_packs; p++)
            if (w->tokens[p] < w->tokens[best])
                best = p;
        if (w->n_packs == 0 || w->tokens[best] + w->items[i].length > most) {
            best = w->n_packs++;
            w->tokens[best] = 0;
        }
        w->tokens[best] += w->items[i].length;
        w->pack_of[i] = (uint32_t)best;
    }
}

static void binpack(bench *w, const uint32_t *lengths, uint32_t from, uint32_t to, uint64_t most,
                    apus_packs *out)
{
    w->n = 0;
    while (from < to) {
        for (uint32_t i = 0; i < ROWS_AT_ONCE && from < to; i++, from++)
            w->items[w->n++] = (item) { lengths[from], from };
        choose_packs(w, most);
        const size_t done = from < to ? w->n_packs - 1 : w->n_packs;
        for (size_t p = 0; p < done; p++) {
            begin_pack(out);
            for (size_t i = 0; i < w->n; i++)
                if (w->pack_of[i] == p)
                    add_row(out, w->items[i].row, w->items[i].length);
        }
        size_t kept = 0;
        for (size_t i = 0; i < w->n; i++)
            if (w->pack_of[i] == done)
                w->items[kept++] = w->items[i];
        w->n = kept;
    }
}

static apus_status bench_init(bench *w, size_t n)
{
    *w = (bench) { .items = apus_calloc(n, sizeof(*w->items)),
                   .pack_of = apus_calloc(n, sizeof(*w->pack_of)),
                   .tokens = apus_calloc(n, sizeof(*w->tokens)) };
    return w->items && w->pack_of && w->tokens ? APUS_OK : APUS_ERR_MEMORY;
}

static void bench_release(bench *w)
{
    apus_free(w->items);
    apus_free(w->pack_of);
    apus_free(w->tokens);
}

/* ---- the others ---- */

static void sequential(const uint32_t *lengths, uint32_t from, uint32_t to, uint64_t most,
                       apus_packs *out)
{
    for (uint32_t i = from; i < to; i++) {
        if (i == from || (uint64_t)out->tokens[out->n - 1] + lengths[i] > most)
            begin_pack(out);
        add_row(out, i, lengths[i]);
    }
}

static void a_pack_each(const uint32_t *lengths, uint32_t n, apus_packs *out)
{
    for (uint32_t i = 0; i < n; i++) {
        begin_pack(out);
        add_row(out, i, lengths[i]);
    }
}

/* Where section i of k begins, as numpy.linspace(0, n, k + 1, dtype=int64) has it. */
static uint32_t section_begin(uint32_t i, uint32_t k, uint32_t n)
{
    return i == k ? n : (uint32_t)((double)i * ((double)n / k));
}

apus_status apus_packs_init(apus_packs *out, const uint32_t *lengths, size_t n,
                            const apus_pack_params *params)
{
    const uint32_t rows = (uint32_t)n, most = (uint32_t)apus_ceil_div(n, ROWS_AT_ONCE);
    const uint32_t wanted = params->sections ? params->sections : 1;
    const uint32_t sections = wanted < most ? wanted : most;
    bench w = { 0 };
    apus_status st = APUS_OK;

    if (n > APUS_ORDER_TORCH_MOST)
        return apus_fail(APUS_ERR_ARG, "%zu rows are more than the %u that can be packed", n,
                         APUS_ORDER_TORCH_MOST);
    *out = (apus_packs) { .rows = apus_calloc(n + 1, sizeof(*out->rows)),
                          .first = apus_calloc(n + 1, sizeof(*out->first)),
                          .tokens = apus_calloc(n + 1, sizeof(*out->tokens)) };
    if (!out->rows || !out->first || !out->tokens)
        return APUS_ERR_MEMORY;
    if (params->packing == APUS_PACKING_NONE) {
        a_pack_each(lengths, rows, out);
        return APUS_OK;
    }
    if (params->packing == APUS_PACKING_BINPACK)
        APUS_TRY(bench_init(&w, n + 1));
    for (uint32_t i = 0; i < sections; i++) {
        const uint32_t from = section_begin(i, sections, rows),
                       to = section_begin(i + 1, sections, rows);

        if (params->packing == APUS_PACKING_BINPACK)
            binpack(&w, lengths, from, to, params->length, out);
        else
            sequential(lengths, from, to, params->length, out);
    }
fail:
    bench_release(&w);
    return st;
}

void apus_packs_release(apus_packs *packs)
{
    apus_free(packs->rows);
    apus_free(packs->first);
    apus_free(packs->tokens);
    *packs = (apus_packs) { 0 };
}
