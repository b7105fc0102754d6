/* tuner.h - measuring the choices of plans: each algorithm and tile that fits a problem, on the
 * device, with the operands that the plan itself has. */
#ifndef APUSI_TUNER_H
#define APUSI_TUNER_H

#include "exec.h"
#include "tuned.h"

#define APUS_TUNER_PLANS 4

typedef struct apus_tuner_params {
    /* Nothing new is begun after so many, but the first problem is measured; 0: none is. */
    double seconds;
    const apus_cancel *cancel; /* or NULL */
    /* Before each measurement: how much is done, of `total` choices, by their number or by time,
     * and what comes now.  May be NULL. */
    void (*progress)(void *user, uint32_t done, uint32_t total, const char *problem);
    /* A problem is done; in the end those that were not measured, with ns 0.  May be NULL. */
    void (*measured)(void *user, const apus_tuned_row *row);
    void *user;
} apus_tuner_params;

typedef struct apus_tuner_result {
    uint32_t problems, measured; /* with more than one choice; of them */
} apus_tuner_result;

/* Measure the problems of plans of one exec, the one that takes the largest part of a step first,
 * and add a row for each to `into`, which keeps those that it has.  Each plan has run a step: live
 * rows are those of that.  What plans write is written over, so that they are good for nothing
 * else afterwards.
 * Errors: APUS_ERR_CANCELLED, APUS_ERR_LOST, APUS_ERR_DEVICE, APUS_ERR_MEMORY; rows that were
 * added before stay. */
apus_status apus_tuner_run(apus_exec *exec, apus_plan *const *plans, uint32_t n_plans,
                           apus_tuned *into, const apus_tuner_params *params,
                           apus_tuner_result *result);

#endif
