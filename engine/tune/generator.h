/* generator.h - what the files of generation share: places for texts, and what they are made of. */
#ifndef APUSI_GENERATOR_H
#define APUSI_GENERATOR_H

#include "adapters.h"
#include "apus/generate.h"
#include "session.h"

#define APUSI_GENERATE_CHUNK 512u /* most tokens of a prompt that are read at once */

/* A place for a text: what the cache holds of it, and the answer that is written there. */
typedef struct apusi_lane {
    apus_sequence sequence;
    uint32_t *text; /* ids whose keys are in the cache */
    uint32_t n_text;
    int adapter;     /* that they were computed with */
    bool busy;       /* with an answer: */
    uint32_t prompt; /* its number */
    uint32_t next;   /* handed out, not run yet */
    uint32_t most;   /* tokens */
    uint32_t runs;
    uint64_t host_ns; /* of these runs */
    apus_generate_result result;
} apusi_lane;

struct apus_generator {
    apus_model *model;
    apus_session *session;
    apus_adapters *adapters;
    apus_adapt_hook hook;
    apusi_lane lanes[APUS_GENERATE_MOST];
    uint32_t n_lanes, max_length;
};

#endif
