/* mutate.c - dispatches of one kernel replaced by fills.  See mutate.h. */
#include "mutate.h"

#include <stdio.h>

static bool in_place(const apus_access *all, uint32_t n, const apus_access *w)
{
    for (uint32_t i = 0; i < n; i++)
        if (!all[i].write && all[i].at < w->at + w->bytes && w->at < all[i].at + all[i].bytes)
            return true;
    return false;
}

/* Append the fills that stand for `item`; returns how many. */
static uint32_t add_fills(apus_item *to, const apus_list *list, const apus_item *item)
{
    const apus_access *all = list->accesses + item->first_access;
    uint32_t n = 0;

    for (uint32_t i = 0; i < item->n_access; i++) {
        /* Whole words only: what lies behind belongs to somebody else. */
        const uint64_t bytes = all[i].bytes / 4 * 4;
        if (!all[i].write || bytes == 0 || in_place(all, item->n_access, &all[i]))
            continue;
        APUS_BUG_IF(all[i].at % 4 != 0);
        to[n++] = (apus_item) { .kind = APUS_ITEM_FILL,
                                .node = item->node,
                                .slot = -1,
                                .first_access = item->first_access + i,
                                .n_access = 1,
                                .to = all[i].at,
                                .bytes = bytes };
    }
    return n;
}

/* Is it a dispatch of "kernel" or, if an algorithm is named, of "kernel:algorithm"? */
static bool meant(const apus_item *item, const char *mutant)
{
    const size_t n = strcspn(mutant, ":");

    if (item->kind != APUS_ITEM_DISPATCH || strlen(item->kernel.name) != n ||
        memcmp(item->kernel.name, mutant, n) != 0)
        return false;
    return !mutant[n] || (item->algorithm && !strcmp(item->algorithm, mutant + n + 1));
}

static bool exists(const char *mutant)
{
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(mutant, ":"), mutant);
    return apus_kernel_exists(name);
}

apus_status apusi_mutate(apus_list *list, const char *mutant)
{
    apus_item *items;
    uint32_t n = 0;

    if (!exists(mutant))
        return apus_fail(APUS_ERR_ARG, "APUS_MUTATE: this build has no kernel '%s'", mutant);
    /* An access makes at most one fill. */
    items = apus_calloc((size_t)list->n_items + list->n_accesses + 1, sizeof(*items));
    if (!items)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < list->n_items; i++) {
        const apus_item *item = &list->items[i];
        if (meant(item, mutant))
            n += add_fills(items + n, list, item);
        else
            items[n++] = *item;
    }
    list->item_room = (size_t)list->n_items + list->n_accesses + 1;
    list->n_items = n;
    apus_free(list->items);
    list->items = items;
    return APUS_OK;
}
