/* rope.h - arguments of rope.comp. */
#ifndef APUS_ROPE_H
#define APUS_ROPE_H
#include "dual.h"

struct apus_rope_push {
    APUS_ADDR x, table, pos, y, step;
    APUS_ADDR x2, y2;     /* a second tensor of the same tokens, or 0 */
    APUS_ROWS_FIELDS      /* tokens */
    uint heads, heads2;   /* of x; of x2, or 0 */
    uint head_dim, max_pos;
    float sign;           /* 1, or -1: the opposite angle */
};

#endif
