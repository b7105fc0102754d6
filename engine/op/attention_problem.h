/* attention_problem.h - shared by attention.c and attention_back.c: inputs, arguments,
 * constants. */
#ifndef APUSI_ATTENTION_PROBLEM_H
#define APUSI_ATTENTION_PROBLEM_H

#include "args/attention.h"
#include "attention.h"
#include "lower.h"

struct apusi_attention_attr {
    apus_attention_params p;
    apus_sequences s;
};

/* The first inputs of both nodes. */
enum {
    APUSI_Q,
    APUSI_K,
    APUSI_V,
    APUSI_POS,
    APUSI_SEQ,
    APUSI_BASE,
    APUSI_LENGTH,
    APUSI_PAGES,
    APUSI_BLOCKS,
    APUSI_ATTENTION_IN
};

/* Rows of query heads that a lane takes for blocks of that many tokens. */
uint32_t apusi_attention_rows(const apus_caps *caps, uint32_t block_tokens, uint32_t group);
/* Arguments and specialization constants that both directions have. */
struct apus_attention_args apusi_attention_args(const apus_lower *l, const apus_node *n);
void apusi_attention_spec(const apus_lower *l, const apus_node *n, apus_dispatch *d);

#endif
