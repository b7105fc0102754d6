/* session.h - inference on a model: a cache, recorded plans by shape bucket, sampling.
 *
 * A run takes some new tokens of each of some sequences, appends their keys and values to the
 * cache and
 * draws the next token of each.  Plans are made on first use of a bucket and replayed after.  One
 * thread. */
#ifndef APUSI_SESSION_H
#define APUSI_SESSION_H

#include "adapt.h"
#include "cache.h"
#include "model.h"

typedef struct apus_session apus_session;

#define APUS_SESSION_SEQUENCES 64u /* most of one run */

typedef struct apus_session_params {
    uint32_t tokens;             /* the cache holds as many (all sequences together) */
    uint32_t length;             /* most tokens of one sequence; 0: as many as the cache holds */
    uint32_t max_sequences;      /* [1, APUS_SESSION_SEQUENCES] at once; 0: 1 */
    uint32_t chunk;              /* most tokens of one run; 0: 512 */
    const apus_adapt_hook *hook; /* adapters, or NULL; borrowed until destroy */
    const char *force;           /* algorithms to force (tests); NULL: APUS_KERNEL */
    bool profile;
    bool fresh; /* build the plan anew for every run (tests) */
} apus_session_params;

typedef struct apus_sampling {
    float temperature;        /* 0: the most likely token */
    uint32_t top_k;           /* 0: all */
    float top_p;              /* 1: all */
    float min_p;              /* 0: all */
    float repetition_penalty; /* 1: none */
    uint32_t seed;
} apus_sampling;

typedef struct apus_session_item {
    apus_sequence *sequence;
    const uint32_t *tokens;
    uint32_t n;       /* >= 1 */
    uint32_t slot;    /* row of the table of seen tokens, < max_sequences */
    uint32_t adapter; /* slot of the adapter table; UINT32_MAX: none */
    const apus_sampling *sampling;
} apus_session_item;

apus_status apus_session_create(apus_session **out, apus_model *model,
                                const apus_session_params *params);
void apus_session_destroy(apus_session **session);
apus_cache *apus_session_cache(apus_session *session);

/* Run the items' tokens (n summed <= chunk) and draw one id each into ids (may be NULL).
 * Errors: APUS_ERR_ARG (more tokens than a chunk, a position past the model's), APUS_ERR_MEMORY,
 * APUS_ERR_DEVICE, APUS_ERR_LOST, APUS_ERR_CANCELLED. */
apus_status apus_session_run(apus_session *session, const apus_session_item *items,
                             uint32_t n_items, uint32_t *ids, const apus_cancel *cancel);
/* The same for one sequence, and the logits of every token: (n, V) f32 into `logits`. */
apus_status apus_session_logits(apus_session *session, const apus_session_item *item,
                                float *logits);
/* Forget which tokens a slot has seen (repetition penalty). */
apus_status apus_session_forget(apus_session *session, uint32_t slot);
/* The plan that a run of this shape uses, made if need be: for reports and benchmarks. */
apus_status apus_session_plan(apus_session *session, uint32_t tokens, uint32_t sequences,
                              apus_plan **out);
/* Host time outside waiting since the last call, ns. */
uint64_t apus_session_host_ns(apus_session *session);

#endif
