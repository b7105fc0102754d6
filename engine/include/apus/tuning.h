/* tuning.h - measuring which algorithms and tiles a device is fastest with, at the shapes of a
 * model, and the tune file that keeps what was found.  Plans are then chosen by that file. */
#ifndef APUS_TUNING_H
#define APUS_TUNING_H

#include <stddef.h>

#include "apus/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What was found for a problem.  Texts are borrowed for the call. */
typedef struct apus_tuning_row {
    const char *problem; /* operator, shape and formats: "matmul nt 1x576x576 q4_1" */
    const char *choice;  /* algorithm, with a tile that is not its default: "vec_cpu/2" */
    const char *or_else; /* what is taken without the file */
    unsigned bits;       /* to which algorithms could round their inputs: 32, 16 or 8 */
    double seconds, or_else_seconds; /* of one dispatch; 0: it was not measured */
} apus_tuning_row;

typedef struct apus_tuning_params {
    const char *model; /* folder or GGUF file; NULL: the shapes below */
    /* Products in place of a model's, as problems are named ("nt 512x4096x4096 q4_K"), at most 64;
     * activations have torch_dtype, by default float32. */
    const char *const *shapes;
    size_t n_shapes;
    const char *device;      /* index, name or uuid; NULL: APUS_DEVICE or the best one */
    const char *torch_dtype; /* of activations; NULL: as the model's files say */
    uint32_t prompt;         /* tokens that are read at once, [0, 512]; 0: none are */
    uint32_t train;          /* tokens of a LoRA training step; 0: there is none */
    uint32_t rank;           /* of the adapter; 0: 8 */
    /* Measuring ends after so many, but the first problem is measured; 0: nothing is, and nothing
     * is written. */
    double seconds;
    const char *path; /* of the file; NULL: the device's in the user's cache folder */
    const apus_cancel *cancel;
    /* Called before each measurement: how much is done, of `total` choices, by their number or by
     * time, in this part of the work: "inference", "training" or "shapes".  May be NULL. */
    void (*progress)(void *user, const char *part, uint32_t done, uint32_t total,
                     const char *problem);
    void (*row)(void *user, const apus_tuning_row *row); /* for each problem; may be NULL */
    void *user;
} apus_tuning_params;

typedef struct apus_tuning_result {
    char path[1024];             /* of the file; "" where none was written */
    uint32_t problems, measured; /* where there is a choice; of them */
    uint32_t faster;             /* of them, where something is faster than the default */
    uint32_t rows;               /* of the file, with what it held before */
    uint64_t hash;               /* of its choices */
} apus_tuning_result;

/* Measure the problems of writing a token, reading a prompt and a training step, or those of
 * shapes, and write the file.  What it held for other problems of the same device, driver and build
 * is kept.  After a failure on the way, a cancel too, what was measured is written, and *result
 * says so.
 * Errors: those of apus_model_open; APUS_ERR_ARG (lengths; APUS_KERNEL is set),
 * APUS_ERR_CANCELLED, APUS_ERR_DEVICE, APUS_ERR_LOST, APUS_ERR_IO, APUS_ERR_MISSING (no folder for
 * the file), APUS_ERR_MEMORY. */
apus_status apus_tuning_run(const apus_tuning_params *params, apus_tuning_result *result);

#ifdef __cplusplus
}
#endif

#endif
