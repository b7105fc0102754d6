/* schedule.h - learning-rate schedules, by the names and formulas of transformers. */
#ifndef APUSI_SCHEDULE_H
#define APUSI_SCHEDULE_H

#include "base.h"

typedef enum apus_schedule_kind {
    APUS_SCHEDULE_COSINE, /* ms-swift's default */
    APUS_SCHEDULE_LINEAR,
    APUS_SCHEDULE_COSINE_WITH_RESTARTS,
    APUS_SCHEDULE_POLYNOMIAL,
    APUS_SCHEDULE_CONSTANT,
    APUS_SCHEDULE_CONSTANT_WITH_WARMUP,
    APUS_SCHEDULE_INVERSE_SQRT,
    APUS_SCHEDULE_COSINE_WITH_MIN_LR,
    APUS_SCHEDULE_WARMUP_STABLE_DECAY,
    APUS_SCHEDULE_COUNT
} apus_schedule_kind;

typedef enum apus_schedule_shape {
    APUS_SHAPE_DEFAULT, /* warm-up linear, decay cosine */
    APUS_SHAPE_LINEAR,
    APUS_SHAPE_COSINE,
    APUS_SHAPE_ONE_MINUS_SQRT,
} apus_schedule_shape;

/* What the schedule is made of; a member that is 0 has transformers' default. */
typedef struct apus_schedule_params {
    apus_schedule_kind kind;
    double lr;          /* at the top */
    uint64_t max_steps; /* of the whole training */
    uint64_t warmup_steps;
    double warmup_ratio; /* of max_steps, rounded up; warmup_steps > 0 goes before */
    double num_cycles;   /* cosine, cosine_with_min_lr, warmup_stable_decay: 0.5; restarts: 1 */
    double power;        /* polynomial: 1 */
    double lr_end;       /* polynomial: 1e-7 */
    bool has_lr_end;     /* lr_end is meant although it is 0 */
    double min_lr;       /* cosine_with_min_lr: this, or min_lr_rate * lr */
    double min_lr_rate;
    double min_lr_ratio; /* warmup_stable_decay */
    uint64_t timescale;  /* inverse_sqrt: warm-up steps, or 10000 without warm-up */
    uint64_t num_decay_steps, num_stable_steps;  /* warmup_stable_decay; stable: what is left */
    apus_schedule_shape warmup_type, decay_type; /* warmup_stable_decay */
} apus_schedule_params;

typedef struct apus_schedule {
    apus_schedule_params params; /* with defaults filled in */
} apus_schedule;

/* The kind by transformers' name ("cosine_with_restarts").  Errors: APUS_ERR_ARG (names the
 * list). */
apus_status apus_schedule_find(apus_schedule_kind *out, const char *name);
const char *apus_schedule_name(apus_schedule_kind kind);
/* Take `--lr_scheduler_kwargs`, a JSON object, over into params.
 * Errors: APUS_ERR_FORMAT, APUS_ERR_ARG (a key that the kind does not have), APUS_ERR_MEMORY. */
apus_status apus_schedule_read_kwargs(apus_schedule_params *params, const char *json);
/* Errors: APUS_ERR_ARG (a number out of range). */
apus_status apus_schedule_init(apus_schedule *schedule, const apus_schedule_params *params);
/* The rate with which step `step` (from 0) is trained.  After step n the log shows that of n. */
double apus_schedule_lr(const apus_schedule *schedule, uint64_t step);

#endif
