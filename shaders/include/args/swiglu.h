/* swiglu.h - arguments of swiglu.comp. */
#ifndef APUS_SWIGLU_H
#define APUS_SWIGLU_H
#include "dual.h"

struct apus_swiglu_push {
    APUS_ADDR gate, up, y, step;
    APUS_ROWS_FIELDS
    uint cols;
};

#endif
