/* rope.h - arguments of rope.comp. */
#ifndef APUS_ROPE_H
#define APUS_ROPE_H
#include "dual.h"

struct apus_rope_push {
    APUS_ADDR x, table, pos, y, step;
    APUS_ROWS_FIELDS      /* tokens */
    uint heads, head_dim, max_pos;
    float sign;           /* 1, or -1: the opposite angle */
};

#endif
