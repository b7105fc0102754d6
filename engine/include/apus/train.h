/* train.h - supervised fine-tuning: LoRA or all weights, from a data set to a folder of
 * checkpoints.
 *
 * The folder is ms-swift's: args.json, logging.jsonl, val_dataset.jsonl, checkpoint-N/, images/,
 * runs/, and report.html.  Calls back for progress; never prints. */
#ifndef APUS_TRAIN_H
#define APUS_TRAIN_H

#include "apus/data.h"
#include "apus/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Layers whose forward runs again in the backward, so that what they made need not be kept.  The
 * numbers are the same bits either way. */
typedef enum apus_recompute {
    APUS_RECOMPUTE_NONE,
    APUS_RECOMPUTE_ALL,
    APUS_RECOMPUTE_FIT /* as few as leave a quarter of the memory, or all */
} apus_recompute;

/* AdamW with moments in f32, or in 8 bits by blocks of 256 elements (tensors of fewer than 4096
 * elements and the embedding keep f32). */
typedef enum apus_optim { APUS_OPTIM_ADAMW, APUS_OPTIM_ADAMW_8BIT } apus_optim;

typedef struct apus_train_params {
    const char *model, *model_type, *template_name, *system, *device, *torch_dtype;
    const char *const *adapters; /* to train further: at most one */
    size_t n_adapters;
    apus_data_params data;
    bool dataloader_shuffle;
    uint64_t max_length; /* 0: the model's */
    apus_truncation truncation;
    const char *loss_scale;
    apus_packing packing;    /* rows share packs, each of which counts as a row of a batch */
    uint64_t packing_length; /* tokens of a pack, < 2^32; 0: max_length, or the model's */
    uint32_t packing_sections;

    bool full;
    uint32_t lora_rank;
    double lora_alpha, lora_dropout;
    bool use_rslora;
    const char *const *targets; /* n_targets 0: all projections */
    size_t n_targets;

    apus_optim optim;
    double learning_rate, warmup_ratio, weight_decay, adam_beta1, adam_beta2, adam_epsilon,
        max_grad_norm;
    const char *lr_scheduler;
    double epochs;
    uint64_t max_steps;                       /* 0: by epochs */
    uint32_t batch, eval_batch, accumulation; /* accumulation 0: effective batch of 16 */
    apus_recompute recompute;                 /* --gradient_checkpointing */
    uint64_t seed;

    int eval_strategy, save_strategy; /* 0 no, 1 steps, 2 epoch */
    double eval_steps, save_steps;    /* >= 1: steps; < 1: share of all steps */
    uint32_t save_total_limit;
    uint64_t logging_steps;
    bool tensorboard;
    const char *output_dir; /* without the version folder */
    bool add_version;
    const char *resume; /* checkpoint folder */

    const char *args_json;     /* text written as args.json; NULL: none */
    const apus_cancel *cancel; /* ends with a checkpoint and APUS_ERR_CANCELLED */

    const char *device_class; /* apus/forecast.h only: a class in place of a device, */
    uint64_t class_memory;    /* bytes of its memory; 0: the example's */
} apus_train_params;

/* What fits, before the first step. */
typedef struct apus_train_plan_info {
    const char *model, *device, *template_name, *template_reason;
    uint64_t n_params, n_trained;
    uint64_t train_rows, val_rows, steps, max_tokens; /* of the longest micro batch */
    apus_packing packing;
    uint64_t train_packs, val_packs; /* equal to the rows without packing */
    uint64_t pack_length;            /* most tokens of a pack; 0: no packing */
    double train_fill, val_fill;     /* share of that which is used, on average */
    double epochs;
    uint64_t device_bytes, host_bytes, device_heap; /* planned peaks, and what the device has */
    const char *dtype;           /* of activations: "float32", "float16", "bfloat16" */
    uint32_t recomputed, layers; /* layers that are made again in the backward, of so many */
    uint32_t twice;              /* of them, twice */
    uint32_t host_layers;        /* layers whose projections stay in the host's memory */
    uint64_t host_weight_bytes;  /* that these, and a table of tokens, take there */
    bool host_moments;           /* the optimizer's state stays there too */
    bool narrow;                 /* products whose factors are rounded to 16 bits are among them */
    apus_optim optim;
    uint64_t moment_bytes; /* of the optimizer's state */
    uint64_t n_coded;      /* trained numbers whose moments have 8 bits, with padding */
    double seconds;        /* estimated from the first plan's work; <= 0: not known */
    const char
        *advice; /* NULL; if the run does not fit, lines about what would: then only names and
                           bytes are set besides, and apus_train ends with APUS_ERR_MEMORY */
} apus_train_plan_info;

typedef struct apus_train_progress {
    uint64_t step, steps;
    double seconds; /* since training began */
    double loss, learning_rate, tokens_per_s;
} apus_train_progress;

typedef struct apus_train_callbacks {
    void *user;
    void (*folder)(void *user, const char *path); /* the run's own folder exists */
    void (*plan)(void *user, const apus_train_plan_info *info);
    void (*step)(void *user, const apus_train_progress *progress); /* after every step */
    void (*log)(void *user, const char *console_line);             /* a logged line for people */
    void (*checkpoint)(void *user, const char *path);
} apus_train_callbacks;

typedef struct apus_train_result {
    char folder[1024];     /* output/…/vN-date */
    char checkpoint[1024]; /* the last one */
    double train_loss, seconds, tokens_per_s;
    uint64_t steps, tokens; /* trained tokens, context included */
    uint64_t device_peak, host_peak;
} apus_train_result;

/* Train.  A device that is lost on the way, or has no memory left, is opened again, and the run
 * goes on from its newest checkpoint, with a warning.  The text of a failure on the way names that
 * checkpoint.
 * Errors: APUS_ERR_ARG, those of the model, the data and the device; APUS_ERR_LOST, APUS_ERR_MEMORY
 * (opened again several times without a new step); APUS_ERR_IO (a full disk, a read-only folder:
 * what was being written); APUS_ERR_CANCELLED (after a checkpoint). */
apus_status apus_train(const apus_train_params *params, const apus_train_callbacks *callbacks,
                       apus_train_result *result);

/* Write base weights with an adapter merged in as a Hugging Face folder: safetensors,
 * config.json, the tokenizer's files.  dtype: "float32", "float16", "bfloat16" or NULL (float32).
 * Errors: APUS_ERR_ARG, those of the model and the adapter, APUS_ERR_IO. */
apus_status apus_merge_lora(const char *model, const char *adapter, const char *device,
                            const char *dtype, const char *output_dir);

#ifdef __cplusplus
}
#endif

#endif
