/* classes.h - the caps of the classes of GPUs (classes.def), read from the recordings that this
 * build holds.  Private; the table itself is in apus/gpu.h. */
#ifndef APUSI_CLASSES_H
#define APUSI_CLASSES_H

#include "apus/gpu.h"
#include "caps.h"

/* The text of each file of engine/gpu/classes that a class names. */
#define X(name, caps, example, f32, matrix, bandwidth, memory, dispatch, bus)                      \
    extern const char apusi_class_##caps[];
#include "classes.def"
#undef X

/* By name.  Errors: APUS_ERR_ARG (no such class: the text lists them). */
apus_status apus_gpu_class_find(const apus_gpu_class **out, const char *name);
/* What a device of the class can do; `memory` replaces the example's where it is not 0.
 * Errors: APUS_ERR_FORMAT, APUS_ERR_MEMORY. */
apus_status apusi_class_caps(apus_caps *out, const apus_gpu_class *c, uint64_t memory);

#endif
