/* swiglu_back.h - arguments of swiglu_back.comp. */
#ifndef APUS_SWIGLU_BACK_H
#define APUS_SWIGLU_BACK_H
#include "dual.h"

struct apus_swiglu_back_push {
    APUS_ADDR gate, up, dy, d_gate, d_up, step;
    APUS_ROWS_FIELDS
    uint cols;
};

#endif
