/* moments.h - the optimizer's state of a training step: f32 for all that is trained, or codes of 8
 * bits for its large tensors (op/adamw_8bit.h). */
#ifndef APUSI_MOMENTS_H
#define APUSI_MOMENTS_H

#include "adapters.h"
#include "apus/train.h"

/* Of a slab of n elements.  What is not used has no bytes. */
typedef struct apusi_moments {
    apus_optim optim;
    apus_memory memory;
    uint64_t n;
    apus_buffer wide_m, wide_v;           /* f32: of all, or of what has no codes */
    apus_buffer codes_m, codes_v, scales; /* APUS_OPTIM_ADAMW_8BIT */
    apus_buffer runs;
    uint32_t n_runs, n_coded, n_blocks; /* blocks with codes, all blocks */
    uint64_t coded;                     /* elements with codes */
    uint32_t *table;                    /* what `runs` holds */
} apusi_moments;

/* A tensor of the state, as a checkpoint has it. */
typedef struct apusi_moment {
    const char *name;
    apus_dtype dtype;
    const apus_buffer *buffer;
} apusi_moment;

#define APUSI_MOST_MOMENTS 6

/* A buffer filled with 0.  Errors: APUS_ERR_MEMORY, APUS_ERR_DEVICE. */
apus_status apusi_buffer_zero(apus_gpu *gpu, apus_buffer *out, uint64_t bytes, apus_memory memory,
                              const char *name);
/* Moments of 0 for the slab of slot 0 of `adapters`, or of `model` where that is NULL.  An update
 * reads and writes each once, so they may lie in either memory.
 * Errors: APUS_ERR_MEMORY, APUS_ERR_SUPPORT (2^32 elements). */
apus_status apusi_moments_create(apusi_moments *out, apus_model *model,
                                 const apus_adapters *adapters, apus_optim optim,
                                 apus_memory memory, uint64_t n);
void apusi_moments_destroy(apusi_moments *m, apus_gpu *gpu);
uint64_t apusi_moments_bytes(const apusi_moments *m);
/* What a checkpoint holds of it; the last one says where the codes belong: it is compared, not
 * loaded. */
size_t apusi_moments_list(const apusi_moments *m, apusi_moment out[APUSI_MOST_MOMENTS]);

#endif
