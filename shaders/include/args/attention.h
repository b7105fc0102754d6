/* attention.h - arguments of attention.comp and of the kernels of its gradient. */
#ifndef APUS_ATTENTION_H
#define APUS_ATTENTION_H
#include "dual.h"

#define APUS_ATTENTION_PART 128 /* keys that a part of a divided cache has, at least */

/* What a lane does with its part of its own rows: reads it again in each turn, keeps it in
 * registers, or reads it again a vec4 at a time, where even the addresses would fill them. */
#define APUS_ATTENTION_AGAIN 0
#define APUS_ATTENTION_KEPT 1
#define APUS_ATTENTION_ONE_BY_ONE 2

/* In the argument buffer; the push block is its address and that of the step buffer. */
struct apus_attention_args {
    APUS_ADDR q, k, v, o, lse;                 /* lse: 0 where it is not wanted */
    APUS_ADDR sinks, partial;                  /* 0 where there are none */
    APUS_ADDR pos, seq, base, n_keys, pages, blocks;
    APUS_ADDR d_o, dot, acc_q, acc_k, acc_v;   /* gradient: dot = rowsum(d_o * o); acc: added, or
                                                  0 */
    APUS_ADDR d_q, d_k, d_v;
    APUS_ROWS_FIELDS /* live blocks (forward, d_q) or rows (d_kv, combine) */
    uint heads, kv_heads, max_pages, window;
    float scale, softcap;
};

struct apus_attention_push {
    APUS_ADDR args, step;
};

#endif
