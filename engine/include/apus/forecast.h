/* forecast.h - what a run would take on a device that is not there: memory, dispatches and time, by
 * the same graphs and plans as the run's own; no weights are needed.
 *
 * Memory is what the run would allocate.  Time is an estimate: the longer of arithmetic and traffic
 * of each dispatch, by the peaks of the class of devices and what kernels of its kind reach. */
#ifndef APUS_FORECAST_H
#define APUS_FORECAST_H

#include "apus/gpu.h"
#include "apus/train.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_forecast_params {
    /* As for apus_train, with device_class set; data, strategies and folders are not looked at.
     * The model may be a config.json alone, or a folder without weights.  max_length: tokens of
     * each row (0: those of the model, at most 2048).  With packing each row of a batch is a pack
     * of packing_length tokens (0: max_length), full of rows of max_length. */
    apus_train_params train;
    const char *weights; /* format of the matrices ("q4_0"); NULL: as in the files; else f32, f16 or
                            bf16 as the config says */
} apus_forecast_params;

/* A plan that is run again and again. */
typedef struct apus_forecast_step {
    uint32_t tokens, dispatches;
    double flops, bytes, seconds;
} apus_forecast_step;

typedef struct apus_forecast_training {
    uint64_t n_trained;
    uint32_t rows, row_tokens, micro_batches; /* rows of a micro batch; micro batches of a step */
    const char *dtype;                        /* of activations */
    uint32_t recomputed, twice, layers;       /* layers that run again in the backward, of all */
    uint64_t weights, adapter, gradients, optimizer, scratch; /* bytes on the device */
    uint32_t host_layers;                  /* whose projections stay in the host's memory */
    uint64_t host_weights, host_optimizer; /* bytes there, besides `weights`, or in place of
                                              `optimizer` */
    uint64_t other;                        /* arguments, step buffers, the rope table */
    uint64_t device, host;                 /* all, at the peak; buffers of the host */
    apus_forecast_step micro, update;
    double step_s, tokens_s; /* of micro_batches micro steps and an update */
    bool fits;
    char *why, *advice; /* if not: the run's own words, and lines about what would */
} apus_forecast_training;

typedef struct apus_forecast_inference {
    uint32_t context;
    uint32_t layers, host_layers; /* all; whose projections stay in the host's memory */
    uint64_t host_weights;        /* bytes that these, and the table of tokens, take there */
    uint64_t weights, cache, scratch, other, device, host;
    apus_forecast_step decode, prompt; /* a token behind a full context; the first tokens of one */
    bool fits;
} apus_forecast_inference;

typedef struct apus_forecast {
    char model[256], device[256];
    uint64_t n_params, device_heap;
    bool shared; /* the device shares the host's memory: both count against device_heap */
    apus_forecast_training training;
    apus_forecast_inference inference;
} apus_forecast;

/* That training or inference does not fit is an answer, not a failure.  Release *out in any case.
 * Errors: APUS_ERR_ARG (no such class, format or target module), those of reading a config;
 * APUS_ERR_SUPPORT; APUS_ERR_MEMORY (the host's own). */
apus_status apus_forecast_make(apus_forecast *out, const apus_forecast_params *params);
void apus_forecast_release(apus_forecast *forecast); /* safe on {0} */

#ifdef __cplusplus
}
#endif

#endif
