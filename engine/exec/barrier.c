/* barrier.c - placing barriers: ranges touched since the last barrier are kept, and the first item
 * that collides with one of them gets a barrier.  Barriers are global, as drivers implement
 * them. */
#include "barrier.h"

static bool collides(const apus_access *a, const apus_access *b)
{
    return (a->write || b->write) && a->at < b->at + b->bytes && b->at < a->at + a->bytes;
}

apus_status apus_barriers_place(apus_list *list)
{
    uint32_t open = 0; /* first item since the last barrier */

    for (uint32_t i = 0; i < list->n_items; i++) {
        apus_item *item = &list->items[i];
        const apus_access *mine = list->accesses + item->first_access;

        item->barrier = false;
        for (uint32_t e = open; e < i && !item->barrier; e++) {
            const apus_item *early = &list->items[e];
            const apus_access *theirs = list->accesses + early->first_access;
            for (uint32_t a = 0; a < item->n_access && !item->barrier; a++)
                for (uint32_t b = 0; b < early->n_access && !item->barrier; b++)
                    item->barrier = collides(&mine[a], &theirs[b]);
        }
        if (item->barrier)
            open = i;
    }
    return APUS_OK;
}
