/* bench_internal.h - what the files of the benchmark share. */
#ifndef APUSI_BENCH_INTERNAL_H
#define APUSI_BENCH_INTERNAL_H

#include "adapters.h"
#include "apus/bench.h"
#include "session.h"
#include "step.h"

struct apus_bench {
    apus_model *model;
    uint32_t max_tokens, max_sequences;
    uint32_t *ids;
    int32_t *labels;
    apus_session *session; /* while it reads and writes */
    apus_sequence sequences[APUS_BENCH_MOST_SEQUENCES];
    apus_adapters *adapters; /* while it trains */
    apus_train_step *step;
    uint32_t train_tokens, train_rank, train_recompute;
    uint32_t recomputed; /* layers: all where the step did not fit otherwise */
    uint64_t train_steps;
    bool full;
    uint64_t choices;
};

#endif
