/* run_log.h - what a training run tells: logging.jsonl, the console line, trainer_state.json, in
 * the words and digits of ms-swift.
 *
 * The trainer hands over values; the log keeps them in full precision (log_history), appends the
 * rounded line to logging.jsonl, flushed, and returns the console line.  What depends on the
 * clock or the device's memory is told apart by apus_log_is_timing, so that two runs can be
 * compared. Belongs to one thread. */
#ifndef APUSI_RUN_LOG_H
#define APUSI_RUN_LOG_H

#include "base.h"

typedef struct apus_run_log apus_run_log;

typedef struct apus_run_log_params {
    const char *folder; /* of the run; logging.jsonl is made in it */
    uint64_t max_steps;
    uint64_t start_step; /* done before this run (resumed); speed counts from here */
} apus_run_log_params;

typedef struct apus_log_value {
    const char *key; /* "loss", "eval_loss", "rewards/chosen" */
    double number;
} apus_log_value;

typedef struct apus_log_entry {
    uint64_t step; /* steps done */
    double epoch;
    const apus_log_value *values; /* in the order in which they are shown */
    size_t n_values;
    double elapsed_s;  /* since training began */
    double memory_gib; /* device memory in use, 0: not known; the highest so far is shown */
} apus_log_entry;

/* Errors: APUS_ERR_MEMORY, APUS_ERR_IO (the folder cannot be written). */
apus_status apus_run_log_open(apus_run_log **out, const apus_run_log_params *params);
void apus_run_log_close(apus_run_log **log);
/* Append one log.  *console is its line for people (without line feed), borrowed until the next
 * call; `console` may be NULL.  A failed write is an error; the entry is kept in the history.
 * Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_run_log_add(apus_run_log *log, const apus_log_entry *entry, const char **console);

/* Where a log stands, and back there: what was added since is taken out of the file and of the
 * history.  Errors: APUS_ERR_IO. */
typedef struct apus_log_mark {
    uint64_t bytes;
    int entries;
} apus_log_mark;
apus_status apus_run_log_mark(const apus_run_log *log, apus_log_mark *out);
apus_status apus_run_log_rewind(apus_run_log *log, const apus_log_mark *mark);

/* PREFIX_runtime, PREFIX_samples_per_second, PREFIX_steps_per_second with the digits they are
 * logged with.  `prefix` is "train" or "eval". */
void apus_log_speed(apus_log_value values[3], const char *prefix, double seconds, double samples,
                    double steps);
/* Whether a key's value depends on the clock or on the machine: such values differ between runs. */
bool apus_log_is_timing(const char *key);

/* "32.794737±10.348403, min=20.000000, max=50.000000, size=190" of the rows' lengths in tokens. */
void apus_log_lengths(char *out, size_t room, const uint32_t *lengths, size_t n);
/* "PeftModelForCausalLM: 136.9572M Params (2.4422M Trainable [1.7832%]), 0.0001M Buffers." */
void apus_log_parameters(char *out, size_t room, const char *kind, uint64_t parameters,
                         uint64_t trained, uint64_t buffers);
/* "1m 12s" */
void apus_log_duration(char *out, size_t room, double seconds);

/* The last line of logging.jsonl.  A text that is NULL is left out (data sets) or null. */
typedef struct apus_run_end {
    const char *train_dataset, *val_dataset; /* apus_log_lengths */
    const char *model_parameter_info;        /* apus_log_parameters */
    const char *last_checkpoint;
    const char *best_checkpoint;
    double best_metric; /* where has_best */
    bool has_best;
    uint64_t step;
} apus_run_end;
/* Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_run_log_end(apus_run_log *log, const apus_run_end *end);

/* trainer_state.json of a checkpoint. */
typedef struct apus_trainer_state {
    uint64_t step, max_steps, epochs; /* epochs: num_train_epochs, whole */
    uint64_t eval_steps, save_steps, logging_steps, batch;
    double epoch;
    double total_flos;
    bool ended;    /* the run is over with this step */
    bool has_best; /* an evaluation was better than all before it: */
    double best_metric;
    uint64_t best_step;
    const char *best_checkpoint;
} apus_trainer_state;
/* Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_run_log_write_state(const apus_run_log *log, const char *path,
                                     const apus_trainer_state *state);
/* Take history and state over from the checkpoint that training goes on from; before the first add.
 * state->best_checkpoint is borrowed from the log.
 * Errors: APUS_ERR_MISSING, APUS_ERR_IO, APUS_ERR_FORMAT, APUS_ERR_MEMORY. */
apus_status apus_run_log_read_state(apus_run_log *log, const char *path, apus_trainer_state *state);

/* The logged values of one tag as a curve, for plots and reports: "train/loss" is the key loss,
 * "eval/loss" the key eval_loss.  Arrays are the caller's, apus_free. */
typedef struct apus_curve {
    char *tag;
    double *steps, *values;
    size_t n;
} apus_curve;
/* All tags in the order of their first appearance.  Errors: APUS_ERR_MEMORY. */
apus_status apus_run_log_curves(const apus_run_log *log, apus_curve **curves, size_t *n);
void apus_curves_release(apus_curve *curves, size_t n); /* the array too; safe on NULL, 0 */
/* "train/KEY", or "eval/REST" of a key that begins with eval_. */
void apus_log_tag(char *out, size_t room, const char *key);

#endif
