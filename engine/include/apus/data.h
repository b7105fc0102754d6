/* data.h - data sets: reading rows, the order in which they are trained on, validation split.
 *
 * A row of any of the known shapes (messages, conversations, alpaca, query/response/history, text)
 * becomes a list of messages (roles system, user, assistant, tool_call, tool_response).  Orders,
 * splits and samples are those of ms-swift for the same seed.
 *
 * Threads: an apus_data is not changed after apus_data_open and may be read by several threads; an
 * apus_sampler belongs to one. */
#ifndef APUS_DATA_H
#define APUS_DATA_H

#include "apus/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_data_row {
    const apus_message *messages;
    const apus_message *rejected; /* the whole rejected conversation; NULL: none */
    const char *const *images;    /* path, URL or data URL of each picture */
    const double *labels;         /* "label": a number, a boolean (0, 1) or a list of them */
    const char *tools;            /* JSON text of the list of tools; NULL: none */
    const char *channel;          /* NULL: none */
    const char *extra;            /* JSON object of the other columns (keep_extra), or NULL */
    const char *dataset;          /* the path it came from */
    double margin;
    uint64_t line; /* where it stands in that file, from 1 */
    uint32_t n_messages, n_rejected, n_images, n_labels;
    bool has_margin;
    bool answered; /* at least one message is an answer that may be trained */
} apus_data_row;

typedef enum apus_data_part { APUS_DATA_TRAIN, APUS_DATA_VAL } apus_data_part;

/* "from=to" renames of columns are applied before anything is recognized. */
typedef struct apus_data_rename {
    const char *from, *to;
} apus_data_rename;

typedef struct apus_data_params {
    const char *const *paths; /* each "PATH" or "PATH#N": N rows of it */
    size_t n_paths;
    const char *const *val_paths; /* a validation set of its own; then nothing is split off */
    size_t n_val_paths;
    const apus_data_rename *columns;
    size_t n_columns;
    double split_ratio;   /* of each set, [0, 1): the part split off for validation */
    uint64_t seed;        /* --data_seed, < 2^32 */
    bool shuffle;         /* --dataset_shuffle */
    bool val_shuffle;     /* --val_dataset_shuffle; a split-off set follows `shuffle` */
    bool strict;          /* a bad row is an error; otherwise it is left out with a warning */
    bool keep_unanswered; /* keep rows that have no answer to train */
    bool keep_extra;      /* keep columns that are not known (reward functions read them) */
    bool no_auto_columns; /* --disable_auto_column_mapping: only exact column names */
} apus_data_params;

typedef struct apus_data_counts {
    uint64_t rows;       /* usable rows in all files */
    uint64_t bad;        /* left out: not a conversation */
    uint64_t unanswered; /* left out of the two parts: nothing to train */
} apus_data_counts;

typedef struct apus_data apus_data;

/* Read every file, order the rows, split.  Rows that are left out are named by warnings (file,
 * line, reason; ten a file, then a count).  `params` and what it points to need not outlive the
 * call. *out is NULL on failure.
 * Errors: APUS_ERR_MISSING (no such file), APUS_ERR_ARG (no file named, a kind of file that is not
 * read, a ratio or sample out of range), APUS_ERR_FORMAT ("FILE:LINE: column C: ..." for malformed
 * JSON, a file without usable rows; a bad row under `strict`), APUS_ERR_MEMORY, APUS_ERR_IO. */
apus_status apus_data_open(apus_data **out, const apus_data_params *params);
void apus_data_close(apus_data **data);

size_t apus_data_count(const apus_data *data, apus_data_part part);
/* Row i of a part in its order; borrowed until close.  i < apus_data_count. */
const apus_data_row *apus_data_get(const apus_data *data, apus_data_part part, size_t i);
apus_data_counts apus_data_report(const apus_data *data);

/* Write the validation rows as ms-swift's val_dataset.jsonl: each message is a JSON text.
 * apus_data_open reads the file back.  Errors: APUS_ERR_IO, APUS_ERR_MEMORY. */
apus_status apus_data_write_val(const apus_data *data, const char *path);

/* Which rows stand in which pack, as ms-swift 4.6 (with binpacking 2.0.1) has it for the same
 * lengths.  A pack is one row to the sampler.  A row longer than `length` is a pack by itself. */
typedef enum apus_packing {
    APUS_PACKING_NONE,      /* each row is a pack */
    APUS_PACKING_BINPACK,   /* 1000 rows at a time, the longest first; few packs */
    APUS_PACKING_SEQUENTIAL /* rows keep their order; a pack ends where the next does not fit */
} apus_packing;

typedef struct apus_pack_params {
    apus_packing packing;
    uint32_t length;   /* most tokens of a pack */
    uint32_t sections; /* --packing_num_proc: parts of the rows that are packed each by itself, at
                          most one for 1000 rows; 0: 1 */
} apus_pack_params;

typedef struct apus_packs {
    uint32_t *rows;   /* of all packs, one behind the other */
    uint32_t *first;  /* (n + 1): pack i has rows[first[i]] .. rows[first[i + 1] - 1] */
    uint32_t *tokens; /* (n) in each pack */
    size_t n;
    uint32_t longest, most_rows; /* of a pack: tokens, rows */
} apus_packs;

/* Pack n rows of at least one token each; release is safe on {0}, and needed after a failure.
 * Errors: APUS_ERR_ARG (more rows than can be ordered), APUS_ERR_MEMORY. */
apus_status apus_packs_init(apus_packs *out, const uint32_t *lengths, size_t n,
                            const apus_pack_params *params);
void apus_packs_release(apus_packs *packs);

/* Which rows each step of training takes.
 *
 * An epoch is the rows in order, or in torch.randperm's order of seed + epoch; a micro batch is
 * `batch` of them, the last one of an epoch the rest; a step is `accumulation` micro batches, the
 * last one of an epoch what is left. */
typedef struct apus_sampler_params {
    uint64_t rows;         /* of the training part that are really used; with packing, packs */
    uint32_t batch;        /* per_device_train_batch_size; 0 means 1 */
    uint32_t accumulation; /* 0: so that batch * accumulation >= 16, as ms-swift does */
    double epochs;         /* may be a fraction; 0 means 3 */
    uint64_t max_steps;    /* > 0 replaces epochs */
    uint64_t seed;         /* --data_seed */
    bool shuffle;          /* --train_dataloader_shuffle */
    bool drop_last;        /* --dataloader_drop_last: no partial micro batch */
} apus_sampler_params;

typedef struct apus_sampler_plan {
    uint64_t batches_per_epoch; /* micro batches */
    uint64_t steps_per_epoch;
    uint64_t max_steps;
    uint64_t epochs; /* whole epochs begun, num_train_epochs of trainer_state.json */
    uint32_t batch, accumulation;
} apus_sampler_plan;

typedef struct apus_sampler_step {
    const uint32_t *rows; /* borrowed until the next call */
    size_t n_rows;        /* micro batch m is rows [m * batch, min((m + 1) * batch, n_rows)) */
    uint32_t n_batches;
    uint64_t number; /* of this step, from 1 */
    double epoch;    /* epochs done after this step, as it is logged */
} apus_sampler_step;

typedef struct apus_sampler apus_sampler;

/* Errors: APUS_ERR_ARG (no rows, a batch larger than the rows with drop_last), APUS_ERR_MEMORY. */
apus_status apus_sampler_create(apus_sampler **out, const apus_sampler_params *params);
void apus_sampler_destroy(apus_sampler **sampler);
apus_sampler_plan apus_sampler_plan_of(const apus_sampler *sampler);
/* The next step; false after max_steps. */
bool apus_sampler_next(apus_sampler *sampler, apus_sampler_step *step);
/* Go on after `step` steps (0: from the start), as when training resumes. */
void apus_sampler_seek(apus_sampler *sampler, uint64_t step);

#ifdef __cplusplus
}
#endif

#endif
