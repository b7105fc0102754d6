/* options.h - what a command was asked for, as typed structs.
 *
 * Reading checks what concerns several flags at once, decides what the table leaves open and puts
 * the decided values back into args, so that args.json shows what was in force.  Texts and lists
 * are borrowed from args.  NULL, 0 or false mean "not asked for" unless a field says otherwise.
 * Errors of all: APUS_ERR_ARG, APUS_ERR_MISSING and APUS_ERR_IO (a file named by --system),
 * APUS_ERR_MEMORY. */
#ifndef APUS_CLI_OPTIONS_H
#define APUS_CLI_OPTIONS_H

#include "apus/bench.h"
#include "apus/forecast.h"
#include "apus/generate.h"
#include "apus/train.h"
#include "args.h"

typedef struct apus_texts {
    const char *const *items;
    size_t n;
} apus_texts;

typedef enum apus_when { APUS_WHEN_NO, APUS_WHEN_STEPS, APUS_WHEN_EPOCH } apus_when;

typedef struct apus_sft_options {
    const char *model;       /* never NULL */
    const char *model_type;  /* NULL: by the model's files */
    const char *template;    /* NULL: the model's own */
    const char *system;      /* the text itself; NULL: the template's default */
    const char *device;      /* NULL: APUS_DEVICE or the best one */
    const char *torch_dtype; /* "float32", "float16", "bfloat16"; NULL: the model's */
    apus_texts adapters;     /* to train further */

    apus_texts dataset; /* at least one */
    apus_texts val_dataset;
    double split_dataset_ratio; /* 0 if there is a val_dataset */
    bool dataset_shuffle;
    bool train_dataloader_shuffle;
    bool strict;
    uint64_t data_seed;
    uint64_t max_length;             /* 0: the model's */
    const char *truncation_strategy; /* "delete", "left", "right" */
    const char *loss_scale;          /* "default", "last_round", "all" */
    bool packing;
    uint64_t packing_length;      /* 0: the model's */
    const char *packing_strategy; /* "binpack", "sequential" */
    uint32_t packing_num_proc;

    bool full; /* all weights; else LoRA */
    uint32_t lora_rank;
    double lora_alpha;
    double lora_dropout;
    bool use_rslora;
    apus_texts target_modules; /* names; all_linear is set apart */
    bool all_linear;

    apus_optim optim;
    double learning_rate;
    const char *lr_scheduler_type;
    double warmup_ratio;
    double weight_decay;
    double adam_beta1;
    double adam_beta2;
    double adam_epsilon;
    double max_grad_norm; /* 0: no clipping */
    double num_train_epochs;
    uint64_t max_steps; /* 0: by epochs */
    uint32_t train_batch_size;
    uint32_t eval_batch_size;
    uint32_t gradient_accumulation_steps;
    apus_recompute gradient_checkpointing;
    uint64_t seed;

    apus_when eval_strategy; /* NO if there can be no rows to evaluate */
    double eval_steps;       /* >= 1: whole; below 1: share of all steps */
    apus_when save_strategy;
    double save_steps;         /* as eval_steps */
    uint32_t save_total_limit; /* 0: keep all */
    uint64_t logging_steps;
    bool tensorboard;
    const char *output_dir; /* without the version folder; never NULL */
    bool add_version;
    const char *resume_from_checkpoint;
} apus_sft_options;

apus_status apus_sft_options_read(apus_sft_options *out, apus_args *args);

/* The step interval that eval_steps or save_steps means when all steps are known; at least 1. */
uint64_t apus_steps_of(double steps_or_share, uint64_t all_steps);

typedef struct apus_infer_options {
    const char *model; /* NULL only if there are adapters, whose args.json may name it */
    const char *model_type;
    const char *template;
    const char *system;
    const char *device;
    const char *torch_dtype;
    apus_texts adapters;
    apus_texts val_dataset; /* none and no load_data_args: a chat */
    bool load_data_args;
    const char *result_path;
    uint64_t max_length;
    uint64_t max_new_tokens; /* 0: what is left of the model's length */
    uint32_t max_batch_size; /* rows at once, [1, APUS_GENERATE_MOST]; 0: as many as fit */
    /* Sampling: has_* is false where the model's generation_config.json decides. */
    bool has_temperature, has_top_k, has_top_p, has_repetition_penalty;
    double temperature;
    uint32_t top_k; /* 0: off */
    double top_p;
    double min_p;
    double repetition_penalty;
    uint64_t seed;
    bool stream; /* decided: a chat streams unless told otherwise */
    bool chat;
} apus_infer_options;

/* Call it after model and its like were adopted from the adapter's args.json (apus_args_adopt). */
apus_status apus_infer_options_read(apus_infer_options *out, apus_args *args);

typedef struct apus_export_options {
    const char *model; /* NULL: from the adapter's args.json */
    const char *model_type;
    apus_texts adapters; /* exactly one with merge_lora */
    bool merge_lora;
    const char *output_dir; /* never NULL */
    const char *torch_dtype;
} apus_export_options;

apus_status apus_export_options_read(apus_export_options *out, apus_args *args);

typedef struct apus_inspect_options {
    const char *model;   /* never NULL */
    uint64_t max_length; /* 0: the model's */
} apus_inspect_options;

apus_status apus_inspect_options_read(apus_inspect_options *out, apus_args *args);

typedef struct apus_plan_options {
    const char *model;        /* never NULL */
    const char *device_class; /* NULL: all of them */
    uint64_t device_memory;   /* bytes; 0: the class's */
    const char *weights;      /* NULL: as stored */
    const char *torch_dtype;  /* NULL: the model's */
    uint64_t max_length;      /* 0: the model's, at most 2048 */
    bool packing;
    uint64_t packing_length; /* 0: max_length */
    bool full;
    uint32_t lora_rank;
    double lora_dropout;
    apus_texts target_modules;
    bool all_linear;
    uint32_t train_batch_size, gradient_accumulation_steps;
    apus_recompute gradient_checkpointing;
    apus_optim optim;
    bool json;
} apus_plan_options;

apus_status apus_plan_options_read(apus_plan_options *out, apus_args *args);

/* What several commands read in the same way (options.c). */
apus_optim apusi_optim_asked(const apus_args *args);
apus_recompute apusi_recompute_asked(const apus_args *args);
apus_texts apusi_targets_asked(const apus_args *args, bool *all_linear);

enum { APUS_BENCH_MOST = 16 };

typedef struct apus_bench_options {
    const char *model; /* never NULL */
    const char *device;
    const char *torch_dtype; /* NULL: the model's */
    uint64_t n_prompt[APUS_BENCH_MOST], n_gen[APUS_BENCH_MOST], n_depth[APUS_BENCH_MOST];
    size_t n_prompts, n_gens, n_depths;
    uint64_t pairs[APUS_BENCH_MOST][2]; /* prompt, then answer, in one run */
    size_t n_pairs;
    uint32_t repetitions;
    uint64_t n_parallel[APUS_BENCH_MOST]; /* sequences that are written at once */
    size_t n_parallels;
    uint64_t train_tokens; /* 0: no training step is timed */
    const char *tuner_type;
    bool full;          /* tuner_type is "full" */
    uint32_t recompute; /* layers */
    const char *output; /* "md", "json", "jsonl", "csv" */
} apus_bench_options;

apus_status apus_bench_options_read(apus_bench_options *out, apus_args *args);

typedef struct apus_tune_options {
    const char *model; /* NULL only if there are shapes */
    apus_texts shapes;
    const char *device;
    const char *torch_dtype; /* NULL: the model's */
    uint32_t n_prompt;       /* 0: no prompt is read */
    uint32_t train_tokens;   /* 0: there is no training step */
    uint32_t lora_rank;
    double seconds;
    const char *result_path; /* NULL: the device's file in the cache folder */
} apus_tune_options;

apus_status apus_tune_options_read(apus_tune_options *out, apus_args *args);

/* The last part of a path without slashes at its end and without ".gguf"; freed by the caller. */
char *apus_model_name_of(const char *path);

#endif
