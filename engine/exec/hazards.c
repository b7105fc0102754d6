/* hazards.c - an independent check of recorded lists.  It shares no code with barrier.c and
 * works the
 * other way round: memory is cut into elementary intervals at every border of a range; each
 * interval
 * remembers in which epoch (number of barriers before) it was last written and last read, and by
 * whom; touching it again in the same epoch, with a write on either side, is a hazard. */
#include <inttypes.h>

#include "barrier.h"

typedef struct cell {
    int64_t write_epoch, read_epoch;
    uint32_t writer, reader;
} cell;

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static size_t border_index(const uint64_t *borders, size_t n, uint64_t value)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (borders[mid] < value)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static const char *label(const apus_item *item)
{
    if (item->kind == APUS_ITEM_DISPATCH)
        return item->kernel.name;
    return item->kind == APUS_ITEM_FILL ? "fill" : "copy";
}

static apus_status hazard(const apus_list *list, uint32_t early, uint32_t late, const char *kind,
                          uint64_t from, uint64_t to)
{
    const apus_item *a = &list->items[early], *b = &list->items[late];

    return apus_fail(APUS_ERR_ARG,
                     "hazard (%s): no barrier between item %u, %s of %s, and item %u, "
                     "%s of %s, at 0x%" PRIx64 "..0x%" PRIx64,
                     kind, early, label(a), a->node ? a->node->name : "-", late, label(b),
                     b->node ? b->node->name : "-", from, to);
}

static apus_status touch(const apus_list *list, cell *cells, const uint64_t *borders, size_t n,
                         const apus_access *a, uint32_t item, int64_t epoch, bool commit)
{
    for (size_t c = border_index(borders, n, a->at); c < n && borders[c] < a->at + a->bytes; c++) {
        cell *x = &cells[c];
        if (!commit) {
            if (x->write_epoch == epoch && x->writer != item)
                return hazard(list, x->writer, item,
                              a->write ? "write after write" : "read after write", borders[c],
                              borders[c + 1]);
            if (a->write && x->read_epoch == epoch && x->reader != item)
                return hazard(list, x->reader, item, "write after read", borders[c],
                              borders[c + 1]);
        } else if (a->write) {
            x->write_epoch = epoch;
            x->writer = item;
        } else {
            x->read_epoch = epoch;
            x->reader = item;
        }
    }
    return APUS_OK;
}

apus_status apus_hazards_check(const apus_list *list)
{
    apus_status st = APUS_OK;
    uint64_t *borders = apus_calloc(2 * (size_t)list->n_accesses + 1, sizeof(*borders));
    cell *cells = apus_calloc(2 * (size_t)list->n_accesses + 1, sizeof(*cells));
    int64_t epoch = 0;
    size_t n = 0, kept = 0;

    if (!borders || !cells)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < list->n_accesses; i++) {
        borders[n++] = list->accesses[i].at;
        borders[n++] = list->accesses[i].at + list->accesses[i].bytes;
    }
    qsort(borders, n, sizeof(*borders), by_value);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || borders[i] != borders[kept - 1])
            borders[kept++] = borders[i];
    for (size_t i = 0; i < kept; i++)
        cells[i] = (cell) { -1, -1, 0, 0 };
    for (uint32_t i = 0; i < list->n_items; i++) {
        const apus_item *item = &list->items[i];
        epoch += item->barrier;
        for (int commit = 0; commit < 2; commit++)
            for (uint32_t a = 0; a < item->n_access; a++)
                APUS_TRY(touch(list, cells, borders, kept, &list->accesses[item->first_access + a],
                               i, epoch, commit));
    }

fail:
    apus_free(borders);
    apus_free(cells);
    return st;
}
