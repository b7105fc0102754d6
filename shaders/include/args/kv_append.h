/* kv_append.h - arguments of kv_append.comp. */
#ifndef APUS_KV_APPEND_H
#define APUS_KV_APPEND_H
#include "dual.h"

/* In the argument buffer; the push block is its address and that of the step buffer. */
struct apus_kv_append_args {
    APUS_ADDR q, k, v, q_out, k_cache, v_cache;
    APUS_ADDR table; /* 0: nothing is turned */
    APUS_ADDR pos, seq, base, pages;
    APUS_ADDR q_norm, k_norm; /* 0: heads are not normalized */
    APUS_ROWS_FIELDS          /* tokens */
    uint heads, kv_heads, head_dim, max_pages, max_pos;
    float eps;
};

struct apus_kv_append_push {
    APUS_ADDR args, step;
};

#endif
