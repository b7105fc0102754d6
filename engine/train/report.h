/* report.h - the report of a run: one HTML page that needs no other file and no network. */
#ifndef APUSI_REPORT_H
#define APUSI_REPORT_H

#include "run_log.h"

typedef struct apus_report_pair {
    const char *key, *value;
} apus_report_pair;

/* What was asked before and after training; either answer may be NULL. */
typedef struct apus_report_sample {
    const char *question, *before, *after;
} apus_report_sample;

/* Members that are NULL or 0 are left out of the page. */
typedef struct apus_report {
    const char *model;
    const char *method; /* "LoRA, rank 8, alpha 32" */
    const char *device;
    const char *folder; /* of the run */
    uint64_t train_rows, val_rows, rows_left_out;
    uint64_t parameters, trained_parameters;
    uint64_t planned_bytes, peak_bytes; /* device memory */
    double seconds;
    uint64_t steps;
    uint64_t tokens; /* trained through, for tokens a second */
    const double *final_loss, *first_loss, *eval_loss, *best_metric; /* NULL: none */
    const apus_curve *curves; /* train/loss and train/learning_rate are shown, eval/loss if there */
    size_t n_curves;
    const apus_report_pair *args;
    size_t n_args;
    const apus_report_sample *samples;
    size_t n_samples;
} apus_report;

/* Every text is escaped.  Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_report_write(const char *path, const apus_report *report);

#endif
