/* bench.h - the result of `apus bench`: tests with their samples, and their forms. */
#ifndef APUSI_BENCH_H
#define APUSI_BENCH_H

#include "apus/bench.h"
#include "apus/gpu.h"
#include "options.h"

/* What all rows of a result share. */
typedef struct apusi_bench_setting {
    const char *model_path;
    char model_type[96]; /* "family 135M Q4_1" */
    char cpu[128];
    apus_model_about model;
    apus_bench_about about;
    apus_bench_peaks peaks;
    apus_device_row device;
    const char *tuner_type; /* of training steps */
    bool full;              /* all weights, not an adapter */
} apusi_bench_setting;

enum { APUSI_BENCH_SAMPLES = 1000 };

typedef struct apusi_bench_row {
    apus_bench_test test;
    uint32_t train; /* tokens of a training step; 0: the test above */
    char time[32];  /* when it began */
    uint32_t n;     /* samples */
    double seconds[APUSI_BENCH_SAMPLES];
    double host_s[APUSI_BENCH_SAMPLES]; /* of a step: preparing and submitting */
    double flops, bytes;                /* of one run */
    double submissions;                 /* of a step */
    uint32_t recomputed;                /* layers that a training step ran again */
    uint64_t device_peak, host_peak;
} apusi_bench_row;

typedef enum apusi_bench_form {
    APUSI_BENCH_MD,
    APUSI_BENCH_JSON,
    APUSI_BENCH_JSONL,
    APUSI_BENCH_CSV
} apusi_bench_form;

/* Write head, row and foot of a result on stdout.
 * Errors: APUS_ERR_MEMORY, APUS_ERR_IO. */
apus_status apusi_bench_begin(apusi_bench_form form);
apus_status apusi_bench_add(apusi_bench_form form, const apusi_bench_setting *setting,
                            const apusi_bench_row *row, bool first);
apus_status apusi_bench_end(apusi_bench_form form);
/* "pp512 @ d4096", "tg128", "tg128 x4", "pp512+tg128", "train512", "full512 r4". */
void apusi_bench_name(char *out, size_t room, const apusi_bench_row *row, bool full);

#endif
