/* op.h - the algorithms that operators have, and which of them a device gets. */
#ifndef APUS_OP_H
#define APUS_OP_H

#include "apus/gpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One algorithm of an operator, at one of some problems that tell them apart. */
typedef struct apus_algorithm {
    const char *op, *problem, *variant;
    bool built;                 /* this build holds its kernel */
    bool fits;                  /* the device and the problem allow it */
    bool chosen, chosen_narrow; /* taken where all is f32; where 16 bits are allowed */
} apus_algorithm;

/* Call back for every algorithm of every operator that has several, on the device of this index
 * (apus_device_row.index).  What APUS_KERNEL forces counts as chosen.
 * Errors: those of apus_device_rows; APUS_ERR_MISSING (no such device); APUS_ERR_ARG (APUS_KERNEL
 * names no algorithm). */
apus_status apus_device_algorithms(uint32_t device,
                                   void (*each)(void *user, const apus_algorithm *a), void *user);

/* What is said of the tune file of the device of this index (`apus tune`): which it is, why it is
 * not used, or "none".  *said is freed by the caller with free().
 * Errors: those of apus_device_rows; APUS_ERR_MISSING (no such device, or no file that APUS_TUNE
 * names); APUS_ERR_IO, APUS_ERR_FORMAT (of that file); APUS_ERR_MEMORY. */
apus_status apus_device_tuned(uint32_t device, char **said);

#ifdef __cplusplus
}
#endif

#endif
