/* run_log_internal.h - the inside of a run's log, shared by the files that write it. */
#ifndef APUSI_RUN_LOG_INTERNAL_H
#define APUSI_RUN_LOG_INTERNAL_H

#include "json.h"
#include "run_log.h"
#include "str.h"

struct apus_run_log {
    apus_run_log_params params;
    char *path;     /* logging.jsonl */
    cJSON *history; /* every log: values, epoch, step */
    apus_str console;
    double memory_gib;     /* highest so far */
    char *best_checkpoint; /* of a state that was read */
};

#endif
