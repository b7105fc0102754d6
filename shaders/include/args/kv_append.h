/* kv_append.h - arguments of kv_append.comp. */
#ifndef APUS_KV_APPEND_H
#define APUS_KV_APPEND_H
#include "dual.h"

struct apus_kv_append_push {
    APUS_ADDR k, v, k_cache, v_cache, table, pos, seq, base, pages, step; /* table: 0, keys are
                                                                             not turned */
    APUS_ROWS_FIELDS
    uint width;     /* kv_heads * head_dim */
    uint head_dim;
    uint max_pages;
    uint max_pos;
};

#endif
