/* attention_problem.h - shared by attention.c and attention_back.c: inputs, arguments,
 * constants. */
#ifndef APUSI_ATTENTION_PROBLEM_H
#define APUSI_ATTENTION_PROBLEM_H

#include "args/attention.h"
#include "attention.h"
#include "lower.h"
#include "op.h"

struct apusi_attention_attr {
    apus_attention_params p;
    apus_sequences s;
    /* Of the forward. */
    bool lse;       /* the log-sum-exp is its second output */
    uint32_t parts; /* that the keys may be divided into; its last output is then their results */
};

/* What the algorithms are chosen by. */
typedef struct apusi_attention_case {
    uint32_t head_dim, parts;
    uint64_t keys;       /* that a row may see */
    bool one_token;      /* of each sequence */
    uint32_t block_rows; /* of the heads of a group, in a block */
    apus_dtype q, kv;
} apusi_attention_case;

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

#define APUSI_ATTENTION_KEY_LANES 128 /* of a workgroup, where rows are split */

/* How the work on a head is spread over lanes (specialization constants of attention.glsl). */
typedef struct apusi_attention_lanes {
    uint32_t split; /* lanes that share a row */
    uint32_t lanes; /* of a workgroup */
    uint32_t rows;  /* rows of query heads that `split` lanes take: of block_tokens tokens */
    bool few;       /* a lane has few registers for its part of a row */
} apusi_attention_lanes;
/* Whether lanes can share rows of the apusi_attention_case, and whether they should. */
bool apusi_attention_split_fits(const apus_caps *caps, const void *problem);
bool apusi_attention_split_chosen(const apus_caps *caps, const void *problem);
/* On matrix cores: the same, and the kernel with its constants, behind those of
 * apusi_attention_spec.  Errors: APUS_ERR_SUPPORT. */
bool apusi_attention_coop_fits(const apus_caps *caps, const void *problem);
bool apusi_attention_coop_chosen(const apus_caps *caps, const void *problem);
bool apusi_attention_coop_bf16_fits(const apus_caps *caps, const void *problem);
bool apusi_attention_coop_bf16_sound(const apus_caps *caps, const void *problem);
bool apusi_attention_coop_bf16_chosen(const apus_caps *caps, const void *problem);
apus_status apusi_attention_coop_spec(const apus_caps *caps, const apusi_attention_case *c,
                                      bool bf16, apus_dispatch *d);
/* The lanes, with rows over several of them (which must fit) or not. */
apusi_attention_lanes apusi_attention_spread(const apus_caps *caps, const apus_node *n, bool split);
/* Arguments and specialization constants that both directions have. */
struct apus_attention_args apusi_attention_args(const apus_lower *l, const apus_node *n);
/* APUS_ATTENTION_AGAIN, _KEPT or _ONE_BY_ONE: where registers are few, a lane keeps its part of its
 * own rows if that is at most `most` numbers of each. */
uint32_t apusi_attention_keep(const apus_node *n, const apusi_attention_lanes *s, uint32_t most);
/* All constants, with `most` as there. */
void apusi_attention_spec(const apus_node *n, const apusi_attention_lanes *s, uint32_t most,
                          apus_dispatch *d);

#endif
