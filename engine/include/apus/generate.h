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

typedef struct apus_generator_params {
    uint32_t max_length;         /* tokens of prompt and answer; 0: the model's max_positions */
    uint32_t batch;              /* prompts at once, [1, 64]; 0: 1 */
    const char *const *adapters; /* PEFT folders, the first is used by default */
    size_t n_adapters;
} apus_generator_params;

/* Errors: APUS_ERR_MEMORY (what the cache needs), those of loading adapters. */
apus_status apus_generator_create(apus_generator **out, apus_model *model,
                                  const apus_generator_params *params);
void apus_generator_destroy(apus_generator **generator);

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
    const apus_cancel *cancel; /* stops the answer, which is not an error */
    /* Each new token as it is drawn; false stops.  `prompt` is the index of the prompt. */
    bool (*token)(void *user, uint32_t prompt, uint32_t id);
    void *user;
} apus_generate_params;

typedef struct apus_generate_result {
    uint32_t prompt_tokens; /* of which `reused` were still in the cache */
    uint32_t reused;
    uint32_t new_tokens;        /* without the one that stopped it */
    double prefill_s, decode_s; /* of running; plans are made before */
    double host_us;             /* per decode step, outside waiting for the device */
    bool stopped;               /* by a stop id; else by length, callback or cancel */
} apus_generate_result;

/* Answer one prompt.  What it shares with the last call's text is not computed again.
 * Errors: APUS_ERR_ARG (an empty or too long prompt, an id outside the vocabulary, parameters
 * out of range), APUS_ERR_MEMORY, APUS_ERR_DEVICE, APUS_ERR_LOST. */
apus_status apus_generate(apus_generator *generator, const uint32_t *prompt, size_t n,
                          const apus_generate_params *params, apus_generate_result *result);

#ifdef __cplusplus
}
#endif

#endif
