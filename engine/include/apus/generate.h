/* generate.h - text from a model: a cache, adapters, sampling; one conversation or several
 * prompts at once.
 *
 * A generator borrows its model.  One thread; a cancel token may be set by another or by a
 * signal. */
#ifndef APUS_GENERATE_H
#define APUS_GENERATE_H

#include "apus/model.h"
#include "apus/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_generator apus_generator;

#define APUS_GENERATE_MOST 64 /* prompts at once */

typedef struct apus_generator_params {
    uint32_t max_length; /* tokens of a prompt and its answer; 0: the model's max_positions */
    uint32_t batch;      /* prompts at once, [1, APUS_GENERATE_MOST]; 0: 1 */
    /* Tokens of the longest prompt: the largest plans are made at once, so that all share their
     * scratch memory.  0: each is made when it is needed, and a larger one takes more. */
    uint32_t longest_prompt;
    const char *const *adapters; /* PEFT folders, the first is used by default */
    size_t n_adapters;
} apus_generator_params;

/* The cache has room for `batch` texts of max_length tokens.
 * Errors: APUS_ERR_ARG (batch), APUS_ERR_MEMORY (what the cache needs), those of loading
 * adapters. */
apus_status apus_generator_create(apus_generator **out, apus_model *model,
                                  const apus_generator_params *params);
void apus_generator_destroy(apus_generator **generator);

/* How many prompts at once fit, and what they take. */
typedef struct apus_generator_fit {
    uint32_t batch;        /* those that were asked for, or as many as fit; 0: not one */
    uint64_t device, host; /* bytes of model, cache and plans with as many */
    uint64_t cache;        /* of which are the cache */
    uint64_t heap;         /* bytes that the device has */
    char why[384];         /* not those that were asked for; "": they fit */
} apus_generator_fit;

/* Count what a generator with these parameters takes beside its model, with prompts of all lengths
 * up to the longest (0: up to max_length); nothing is made.
 * Errors: those of apus_model_open and apus_generator_create, but APUS_ERR_MEMORY. */
apus_status apus_generator_plan(apus_generator_fit *out, const apus_model *model,
                                const apus_generator_params *params);

/* Open a model for such a generator, of one prompt at once.  Where a device with memory of its own
 * is too small for both, the projections of as few layers as help stay with the host
 * (apus_model_params.host_layers).
 * Errors: those of apus_model_open and of counting (apus_generator_plan). */
apus_status apus_generator_model(apus_model **out, const char *path, const apus_model_params *model,
                                 const apus_generator_params *params);

typedef struct apus_generate_params {
    float temperature;        /* 0: the most likely token */
    uint32_t top_k;           /* 0: all */
    float top_p;              /* (0, 1]; 0 means 1 */
    float min_p;              /* [0, 1) */
    float repetition_penalty; /* > 0; 0 means 1 */
    uint32_t seed;
    uint32_t max_new_tokens;  /* 0: as many as fit */
    const uint32_t *stop_ids; /* an id that ends the answer; it is not part of it */
    size_t n_stop_ids;
    int adapter;               /* index of adapters; -1: none (the base model) */
    const apus_cancel *cancel; /* stops all answers, which is not an error */
    /* Each new token as it is drawn; false ends that answer.  Prompts are counted from 0. */
    bool (*token)(void *user, uint32_t prompt, uint32_t id);
    void *user;
} apus_generate_params;

typedef struct apus_generate_result {
    uint32_t prompt_tokens; /* of which `reused` were still in the cache */
    uint32_t reused;
    uint32_t new_tokens; /* without the one that stopped it */
    /* Of running, with the answers beside it; plans are made before. */
    double prefill_s, decode_s;
    double host_us; /* per decode step, outside waiting for the device */
    bool stopped;   /* by a stop id; else by length, callback or cancel */
    bool cancelled; /* by cancel: it is not whole */
} apus_generate_result;

/* Answer one prompt.  What it shares with the last call's text is not computed again.
 * Errors: APUS_ERR_ARG (an empty or too long prompt, an id outside the vocabulary, parameters
 * out of range), APUS_ERR_MEMORY, APUS_ERR_DEVICE, APUS_ERR_LOST. */
apus_status apus_generate(apus_generator *generator, const uint32_t *prompt, size_t n,
                          const apus_generate_params *params, apus_generate_result *result);

/* Where prompts come from and where answers go. */
typedef struct apus_prompts {
    /* The next prompt, borrowed until the next call; *more false: there are none. */
    apus_status (*next)(void *user, const uint32_t **ids, size_t *n, bool *more);
    /* An answer has ended: the one to that prompt, counted from 0 as `next` gave them. */
    apus_status (*done)(void *user, uint32_t prompt, const apus_generate_result *result);
    void *user;
} apus_prompts;

/* Answer prompts until there are no more, up to `batch` of them at once: where one has ended, the
 * next begins.  An answer depends on its prompt and the parameters alone (each begins with the
 * seed), but that sums of several rows may be rounded otherwise than those of one.  A failure of
 * `next`, or a prompt that is refused, ends the call once the answers before it have ended; one of
 * `done` ends it at once.  A cancel ends all answers; they are `done` too.
 * Errors: those of apus_generate, of `next` and `done`. */
apus_status apus_generate_each(apus_generator *generator, const apus_prompts *prompts,
                               const apus_generate_params *params);

#ifdef __cplusplus
}
#endif

#endif
