/* bench.h - how fast a model reads, writes and trains on a device, by the same calls that
 * inference and training make; and what the device can at most.
 *
 * A bench owns its model.  One thread. */
#ifndef APUS_BENCH_H
#define APUS_BENCH_H

#include "apus/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_bench apus_bench;

#define APUS_BENCH_MOST_SEQUENCES 64

typedef struct apus_bench_params {
    const char *device;      /* index, name or uuid; NULL: APUS_DEVICE or the best one */
    const char *torch_dtype; /* NULL: as the model's files say */
    uint32_t max_tokens;     /* longest text of a test: depth, prompt and answer together */
    bool full; /* weights are opened and trained as full fine-tuning does, all in f32 */
    uint32_t max_sequences; /* most of a test, [1, APUS_BENCH_MOST_SEQUENCES]; 0: 1 */
} apus_bench_params;

/* Errors: those of apus_model_open, APUS_ERR_MEMORY. */
apus_status apus_bench_open(apus_bench **out, const char *model, const apus_bench_params *params);
void apus_bench_close(apus_bench **bench); /* accepts &{NULL} */
/* Borrowed until close. */
const apus_model *apus_bench_model(const apus_bench *bench);

typedef struct apus_bench_about {
    const char *weight_type; /* number format of most weights: "q4_1" */
    const char *cache_type;
    const char *act_type; /* of activations */
    uint32_t chunk;       /* most tokens of one run */
    uint64_t model_bytes; /* weights in device memory */
    uint64_t choices;     /* hash of the algorithms of the last test */
} apus_bench_about;
void apus_bench_describe(const apus_bench *bench, apus_bench_about *out);

/* What the device reaches in work that does nothing else. */
typedef struct apus_bench_peaks {
    double copy_bytes_s; /* read and written, together */
    double fma_flops_s;  /* f32, two operations each */
} apus_bench_peaks;
/* Errors: APUS_ERR_MEMORY, APUS_ERR_DEVICE, APUS_ERR_LOST. */
apus_status apus_bench_measure_peaks(apus_bench *bench, apus_bench_peaks *out);

typedef struct apus_bench_test {
    uint32_t depth;     /* tokens in the cache before; not timed */
    uint32_t prompt;    /* tokens read in chunks */
    uint32_t gen;       /* tokens written one by one */
    uint32_t sequences; /* of which each has all of these, read in turn, written together; 0: 1 */
} apus_bench_test;

typedef struct apus_bench_run {
    double seconds;
    double flops;         /* of the recorded work */
    double bytes;         /* of weights and cache, which each of its runs reads once */
    double host_seconds;  /* of `seconds`: preparing and submitting, not waiting for the device */
    uint32_t steps;       /* of the work: a chunk or token of a text, a training step */
    uint32_t submissions; /* of all steps, that the device was given */
    uint32_t recomputed;  /* layers whose forward a training step ran again */
} apus_bench_run;

/* One run of a test: the cache is emptied, filled up to `depth`, then timed.  Plans are made on
 * first use, so the first run of a test is a warm-up.
 * Errors: APUS_ERR_ARG (longer than max_tokens, more than max_sequences, nothing to do),
 * APUS_ERR_MEMORY, APUS_ERR_DEVICE, APUS_ERR_LOST. */
apus_status apus_bench_generate(apus_bench *bench, const apus_bench_test *test,
                                apus_bench_run *out);

typedef struct apus_bench_train_params {
    uint32_t tokens;    /* of the one sequence of a step */
    uint32_t rank;      /* of the adapter; 0: 8 */
    uint32_t recompute; /* the first so many layers run their forward again in the backward pass;
                           0: none, more than there are: all */
} apus_bench_train_params;

/* One step (forward, backward, clip, AdamW): LoRA on all projections, or all weights of a bench
 * that was opened so; the first call of a shape makes its plans; all layers are recomputed if it
 * does not fit otherwise.  out->bytes is 0.
 * Errors: APUS_ERR_ARG, APUS_ERR_MEMORY, APUS_ERR_DEVICE, APUS_ERR_LOST, APUS_ERR_SUPPORT. */
apus_status apus_bench_train(apus_bench *bench, const apus_bench_train_params *params,
                             apus_bench_run *out);

#ifdef __cplusplus
}
#endif
#endif
