/* trainer_internal.h - the state of a training run, shared by the files that it is split into:
 * rows.c (encoding), fit.c (model, plans, memory), folder.c (the run's folder), checkpoint.c,
 * evaluate.c, recover.c, finish.c, trainer.c. */
#ifndef APUSI_TRAINER_INTERNAL_H
#define APUSI_TRAINER_INTERNAL_H

#include "adapters.h"
#include "apus/train.h"
#include "run_log.h"
#include "schedule.h"
#include "step.h"
#include "tensorboard.h"

#define APUSI_MOST_BATCH 64u /* packs, or rows, of a micro batch */

/* The encoded rows of a part, and the packs that batches are made of. */
typedef struct apusi_rows {
    apus_encoded *at;
    apus_packs packs; /* one a row without packing */
    uint32_t *row_id; /* index in the part before rows were dropped */
    uint32_t *lengths;
    size_t n, dropped, too_long; /* dropped: too_long and those that are no conversation */
    size_t cut;                  /* without an answer: --max_length has cut it off */
    uint32_t longest, shortest;  /* of the kept; of those that are too long */
} apusi_rows;

/* A micro batch. */
typedef struct apusi_batch {
    apus_train_sequence *seqs; /* room for the largest; they point into encoded rows */
    uint32_t n, tokens, labels;
} apusi_batch;

/* Sums since the last logged line. */
typedef struct apusi_window {
    double loss, correct, tokens;
    uint64_t steps;
} apusi_window;

/* What lets a run go on after its device has failed (recover.c). */
typedef struct apusi_recovery {
    apus_train_params params; /* those in force: t->p once steps run */
    char device[33];          /* uuid of the first one */
    const char *begun_from;   /* checkpoint that the run was resumed from, or NULL */
    char *from;               /* the one that the model was last reloaded from, or NULL */
    uint32_t batch;           /* of a micro batch, at the beginning */
    uint64_t first_step;      /* done before the run began */
    uint64_t step, furthest;  /* being run; the most that were done */
    bool evaluating, saving, reopening;
    uint32_t tries;          /* since a step was done that had not been */
    uint32_t halvings;       /* of the work in a submission */
    uint32_t good, patience; /* steps since the last one, or since one was taken back; until then */
    uint64_t peak;           /* device memory before it was closed */
    uint64_t host_failures;  /* of allocations, before the first step */
    /* Where logs and batches stood at the newest checkpoint, or at the beginning. */
    apus_log_mark log_mark;
    uint64_t board_mark;
    uint32_t marked_batch, marked_accumulation;
} apusi_recovery;

typedef struct apusi_trainer {
    const apus_train_params *p;
    const apus_train_callbacks *cb;
    apus_train_result *result;
    apus_model *model;
    apus_tokenizer *tokenizer;
    apus_template_choice choice;
    apus_data *data;
    uint32_t pack_length; /* 0: no packing */
    apusi_rows train, val;
    apusi_batch batch; /* the one being made */
    apus_adapters *adapters;
    apus_train_step *step;
    apus_sampler *sampler;
    apus_sampler_plan plan;
    apus_schedule schedule;
    apus_run_log *log;
    apus_tensorboard *board;
    char *folder;                    /* the run's own, absolute */
    uint64_t eval_every, save_every; /* steps; 0: no, UINT64_MAX: at epochs' ends */
    apusi_window window;
    uint32_t overflows;  /* updates in a row that were skipped at the smallest loss scale */
    double loss_sum;     /* of all steps, for train_loss */
    uint64_t steps_done; /* in this run */
    uint64_t tokens;     /* trained through, context included */
    uint64_t start_step; /* of a resumed run */
    uint64_t begin_ns;
    uint64_t planned_bytes;
    bool count_only;           /* fit.c: memory is counted and nothing made, with */
    uint32_t clip;             /* rows cut to so many tokens; 0: not */
    uint32_t recompute, pairs; /* layers, and pairs of them (step.h) */
    uint32_t host_layers;      /* layers whose projections the host keeps (apus/model.h) */
    bool host_moments;         /* the optimizer's state too */
    const char *count_as;      /* and weights of this format; NULL: as they are */
    char torch_dtype[16]; /* of the checkpoint that is resumed; "": the flag's, or the default */
    apus_trainer_state state;
    char *best_checkpoint, *last_checkpoint;
    char *parameter_info;
    apusi_recovery recovery;
} apusi_trainer;

apus_status apusi_rows_encode(apusi_trainer *t, apus_data_part part, apusi_rows *out);
void apusi_rows_release(apusi_rows *rows);
/* The rows of n packs as a micro batch. */
void apusi_rows_batch(const apusi_rows *rows, const uint32_t *packs, uint32_t n, apusi_batch *out);
/* How full packs of `length` tokens are, (0, 1]. */
double apusi_rows_fill(const apusi_rows *rows, uint32_t length);

/* Open the model with its adapter, then make the plans of the largest micro batches. */
apus_status apusi_model_prepare(apusi_trainer *t);
apus_status apusi_step_prepare(apusi_trainer *t);
/* Tokens of the largest micro batch: the longest packs together. */
uint32_t apusi_largest_batch(const apusi_trainer *t, const apusi_rows *rows, uint32_t batch);
/* Rows of any micro batch at most, of training or validation. */
uint32_t apusi_most_sequences(const apusi_trainer *t);
/* --per_device_eval_batch_size, as far as it is supported. */
uint32_t apusi_eval_batch(const apusi_trainer *t);
/* Whether all of it fits, before any of it is made.  Errors: those of the two above;
 * APUS_ERR_MEMORY after calling back with what would fit. */
apus_status apusi_fit_check(apusi_trainer *t);

/* Make output_dir/vN-date (or output_dir), with args.json and val_dataset.jsonl. */
apus_status apusi_folder_make(apusi_trainer *t);
/* Delete the oldest checkpoints but the best and the last, so that `save_total_limit` are left. */
void apusi_folder_trim(const apusi_trainer *t);

/* Write checkpoint-N under a temporary name, sync, rename. */
apus_status apusi_checkpoint_write(apusi_trainer *t, uint64_t step, double epoch, bool ended);
/* Without --torch_dtype a run goes on with the checkpoint's: a full one's config says float32.
 * Errors: APUS_ERR_ARG (it was made with another --optim). */
apus_status apusi_checkpoint_types(apusi_trainer *t, const char *folder);
/* Algorithms are chosen as they were: by the tune file that the checkpoint holds, or by none.
 * Errors: APUS_ERR_FORMAT, APUS_ERR_SUPPORT (what it holds is no tune file), APUS_ERR_MEMORY. */
apus_status apusi_checkpoint_tuned(apusi_trainer *t, const char *folder);
/* Weights were loaded before; this restores moments, numbers and history. */
apus_status apusi_checkpoint_resume(apusi_trainer *t, const char *folder);

apus_status apusi_evaluate(apusi_trainer *t, uint64_t step, double epoch);
/* Log values: file, board, console. */
apus_status apusi_log(apusi_trainer *t, uint64_t step, double epoch, const apus_log_value *values,
                      size_t n);
/* Remember what is needed after a failure: before the first step, after each checkpoint, after each
 * step. */
apus_status apusi_recovery_begin(apusi_trainer *t);
apus_status apusi_recovery_mark(apusi_trainer *t);
void apusi_recovery_progress(apusi_trainer *t, uint64_t step);
/* Steps ended with `st`: open the device again and stand where the newest checkpoint stands.  Any
 * other failure is given back, as is that of a device which fails too often. */
apus_status apusi_recover(apusi_trainer *t, apus_status st);
/* Add to the text of a failure what the run can go on from. */
apus_status apusi_recovery_hint(const apusi_trainer *t, apus_status st);
void apusi_recovery_release(apusi_recovery *r);
/* Most bytes held on the device, this one and those before. */
uint64_t apusi_device_peak(const apusi_trainer *t);
/* The closing lines, pictures and the report. */
apus_status apusi_finish(apusi_trainer *t, double epoch);
double apusi_elapsed(const apusi_trainer *t);

/* Write the model as a Hugging Face folder (export.c): f32 values as `dtype`; adapters of slot 0
 * are merged in where not NULL; trained weights are read from the device. */
apus_status apusi_export_folder(apus_model *m, const apus_adapters *adapters, apus_dtype dtype,
                                const char *folder);

#endif
