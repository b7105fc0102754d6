/* duration.h - how long a list of dispatches would take on a class of devices: for each the longer
 * of its arithmetic and its memory traffic, by the peaks of the class (gpu/classes.def) and what
 * kernels of its kind reach of them (efficiency.def), or of what crosses the bus to the host's
 * memory if that is longer, and what a dispatch costs besides. */
#ifndef APUSI_DURATION_H
#define APUSI_DURATION_H

#include "lower.h"

typedef struct apus_list_work {
    const uint32_t *vars; /* of the step (args/step.h): how many rows are live */
    double pairs;         /* of tokens in attention: the sum of the squares of the lengths */
    double cache_bytes;   /* that each dispatch of attention reads besides its rows */
} apus_list_work;

typedef struct apus_list_time {
    uint32_t dispatches;
    double flops, bytes, seconds;
} apus_list_time;

apus_list_time apus_list_duration(const apus_list *list, const apus_gpu_class *device,
                                  apus_device_class class, const apus_list_work *work);

#endif
