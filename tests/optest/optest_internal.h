/* optest_internal.h - what the files of the runner share. */
#ifndef APUS_OPTEST_INTERNAL_H
#define APUS_OPTEST_INTERNAL_H

#include "optest.h"

/* One bound tensor on the device, with its guard. */
typedef struct optesti_slot {
    apus_buffer buffer;
    uint64_t bytes;
    uint32_t guard; /* first word of the pattern: a NaN of its own */
} optesti_slot;

/* `data` NULL: filled with NaN.  False after a failed check. */
bool optesti_slot_create(optesti_slot *s, uint64_t bytes, const void *data, uint32_t id);
bool optesti_guard_ok(const optesti_slot *s);
/* Random or given values, rounded to the tensor's format; the result (freed with apus_free) is its
 * bytes as the device holds them.  NULL after a failed check. */
uint8_t *optesti_values(optest_tensor *t, uint64_t *state, uint64_t *bytes);
/* Values in a plain format, n of them; the caller frees them. */
void *optesti_encode(apus_dtype type, const double *values, uint64_t n);
void optesti_decode(apus_dtype type, const void *data, double *values, uint64_t n);
uint64_t optesti_count(const optest_tensor *t); /* elements */

#endif
