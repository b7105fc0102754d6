/* tuning_internal.h - what the files of `apus tune` share. */
#ifndef APUSI_TUNING_INTERNAL_H
#define APUSI_TUNING_INTERNAL_H

#include "apus/tuning.h"
#include "exec.h"

#define APUSI_SHAPES_MOST 64

/* Products of given shapes, on a device of their own. */
typedef struct apusi_shapes {
    apus_gpu *gpu;
    apus_exec *exec;
    apus_graph graph;
    apus_buffer buffers[2 * APUSI_SHAPES_MOST];
    uint32_t n_buffers;
    apus_plan *plan; /* has run once */
} apusi_shapes;

/* Make params->shapes, with several weights each, so that they do not all stay in a cache.
 * Errors: APUS_ERR_ARG (which is no shape), those of apus_gpu_create and of plans. */
apus_status apusi_shapes_open(apusi_shapes *s, const apus_tuning_params *params);
void apusi_shapes_close(apusi_shapes *s); /* safe on {0} */

/* Words that are sane numbers in any format, the same ones every time: small quants up to byte
 * scales_at, halves and floats in [-0.5, 0.5) elsewhere. */
void apusi_shapes_fill(uint32_t *words, uint64_t bytes, apus_dtype type, uint64_t scales_at);

#endif
