/* golden.h - the golden runner: recorded cases of a reference implementation, run through the
 * engine.
 *
 * A case is a folder with a manifest.json.  Each comparison is a check with one number, its worst
 * error, and a tolerance that the manifest or a derivation beside the check gives. */
#ifndef APUS_GOLDEN_H
#define APUS_GOLDEN_H

#include "adapt.h"
#include "json.h"
#include "model.h"
#include "safetensors.h"
#include "step.h"
#include "str.h"

#define GOLDEN_MOST_SEQUENCES 16

/* Number formats of the computation: what a forced algorithm rounds its inputs to. */
typedef enum golden_kind { GOLDEN_EXACT, GOLDEN_F16, GOLDEN_BF16 } golden_kind;

/* One run of the program. */
typedef struct golden {
    const char *only, *force, *torch_dtype, *as;
    bool strict, narrow;
    golden_kind kind;      /* the least exact of what is forced and torch_dtype */
    const char *no_device; /* why there is no device; NULL: there is one */
    uint32_t cases, passed, failed, skipped;
    cJSON *rows;         /* of --json */
    char temporary[256]; /* a folder, made when first needed */
} golden;

/* One case. */
typedef struct golden_case {
    golden *run;
    const char *name, *folder, *type; /* type: the manifest's "kind" */
    cJSON *manifest;
} golden_case;

/* ---- report.c ---- */

/* Passes where error <= tolerance; `detail`, if not NULL, names the worst place. */
void golden_check(golden_case *c, const char *check, double error, double tolerance,
                  const char *detail);
/* What the engine does not have: counts as skipped, or as failed under --strict. */
void golden_unsupported(golden_case *c, const char *check, const char *reason);
/* What could not even be compared. */
void golden_broken(golden_case *c, const char *check, const char *reason);
/* True for success; otherwise reports the failure text: APUS_ERR_SUPPORT as unsupported. */
bool golden_ok(golden_case *c, const char *check, apus_status st);
apus_status golden_write_json(const golden *run, const char *path);

/* ---- as_device.c ---- */

/* From now on the device is said to be the one of these caps; NULL: itself.  Borrowed. */
apus_status golden_as(const cJSON *caps);

/* ---- files.c ---- */

/* Tolerance number by keys, "logits", "suggested_atol"; NaN, which nothing passes, if absent. */
double golden_number(const cJSON *object, const char *a, const char *b);
/* A file of the case. */
apus_status golden_open(const golden_case *c, const char *name, apus_safetensors **out);
apus_status golden_json(const golden_case *c, const char *name, cJSON **out);
char *golden_path(const golden_case *c, const char *name);
/* A JSON file whose texts may hold zero bytes; they are read as U+F8F7, which no text has. */
apus_status golden_json_text(const golden_case *c, const char *name, cJSON **out);
/* A tensor of a format and element count (0: any). */
apus_status golden_tensor(const apus_safetensors *file, const char *name, apus_dtype dtype,
                          uint64_t count, const apus_file_tensor **out);
/* f32 values of an f32 tensor at any alignment; caller frees. */
apus_status golden_floats(const apus_safetensors *file, const char *name, uint64_t count,
                          float **out);
apus_status golden_ints(const apus_safetensors *file, const char *name, int32_t **out,
                        uint64_t *count);
/* A fresh path in the run's temporary folder; NULL if there is none. */
const char *golden_temporary(golden *run);

typedef struct golden_worst {
    double max, mean; /* of |a - b|; NaN where a value is not finite */
} golden_worst;
golden_worst golden_compare(const float *got, const float *want, uint64_t n);
/* The larger of the worst error so far and one more; a NaN stays. */
double golden_worse(double worst, double error);
/* |a - b| / |b| over vectors; |a| where b is all zero. */
double golden_relative(const float *got, const float *want, uint64_t n);

/* ---- tolerance.c ---- */

/* What is compared; the columns of half_precision.def. */
typedef enum golden_quantity {
    GOLDEN_LOGITS,
    GOLDEN_LOGITS_MEAN,
    GOLDEN_LOSS,
    GOLDEN_GRADIENTS,      /* relative */
    GOLDEN_FULL_LOSSES,    /* of full fine-tuning */
    GOLDEN_FULL_NORMS,     /* of its gradients, relative */
    GOLDEN_LORA_GRADIENTS, /* relative */
    GOLDEN_LORA_LOSSES,
    GOLDEN_LORA_NORMS,  /* relative */
    GOLDEN_LORA_LOGITS, /* after training */
    GOLDEN_LORA_LOGITS_MEAN,
    GOLDEN_QUANTITIES
} golden_quantity;

double golden_tolerance(const golden_case *c, golden_quantity q);
/* Of the losses of a trajectory: `exact` as recorded; `fall` is how far the loss falls. */
double golden_trajectory_tolerance(const golden_case *c, golden_quantity q, double exact,
                                   double fall);

/* ---- what the model's cases share ---- */

/* The recorded sequences of ref.safetensors. */
typedef struct golden_sequences {
    apus_safetensors *ref;
    uint32_t n;
    int32_t *ids[GOLDEN_MOST_SEQUENCES], *labels[GOLDEN_MOST_SEQUENCES];
    apus_train_sequence seq[GOLDEN_MOST_SEQUENCES];
    uint32_t n_labels, longest, tokens;
} golden_sequences;
apus_status golden_sequences_open(golden_sequences *s, const golden_case *c);
void golden_sequences_close(golden_sequences *s); /* safe on {0} */

/* The slab of gradients on the host, without the loss scale; caller frees *out. */
apus_status golden_read_gradients(const apus_model *model, const apus_train_step *step,
                                  float **out);
/* Logits of one sequence within tolerance. */
void golden_check_logits(golden_case *c, const char *check, golden_quantity q, const float *got,
                         const float *want, uint64_t n);
apus_status golden_model_open(const golden_case *c, const char *path, bool train_all,
                              apus_model **out);
apus_status golden_logits(apus_model *model, const golden_case *c, const apus_adapt_hook *hook,
                          const apus_train_sequence *seq, float *logits);

/* ---- kinds of cases ---- */

void golden_model_case(golden_case *c); /* logits, greedy tokens, config.v4, then: */
void golden_train_case(golden_case *c, const golden_sequences *s); /* loss, gradients, fullft */
/* The choices of a training plan, added to a text. */
apus_status golden_train_choices(const golden_case *c, const golden_sequences *s, apus_str *out);
void golden_lora_case(golden_case *c, const golden_sequences *s);
void golden_optim_case(golden_case *c);
void golden_tokenizer_case(golden_case *c);
void golden_sampling_case(golden_case *c);

#endif
