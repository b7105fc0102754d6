/* barrier.h - where barriers go in a list, and an independent check of it. */
#ifndef APUSI_BARRIER_H
#define APUSI_BARRIER_H

#include "lower.h"

/* Set item->barrier so that every item that reads or writes a range that an earlier one wrote, or
 * writes one that an earlier one read, comes after a barrier behind that earlier one. */
apus_status apus_barriers_place(apus_list *list);

/* Derive the hazards again, by another way, from ranges and barriers alone.
 * Errors: APUS_ERR_ARG; the text names both items, their nodes and the range. */
apus_status apus_hazards_check(const apus_list *list);

#endif
