/* adapters_internal.h - filling a slot: begin, a place for each module, end with the values. */
#ifndef APUSI_ADAPTERS_INTERNAL_H
#define APUSI_ADAPTERS_INTERNAL_H

#include "adapters.h"

/* Empty the slot; numbers (rank, alpha, ...) are set by the caller before the end. */
apus_status apusi_slot_begin(apus_adapters *ad, uint32_t slot);
void apusi_slot_place(apus_adapters *ad, uint32_t slot, uint32_t module, uint32_t rank);
/* Upload `values` (slot->n f32) and write the slot's entries of the table. */
apus_status apusi_slot_end(apus_adapters *ad, uint32_t slot, const float *values);

#endif
