/* swiglu.h - arguments of swiglu.comp. */
#ifndef APUS_SWIGLU_H
#define APUS_SWIGLU_H
#include "dual.h"

/* What an element of the gate becomes (gate.glsl). */
#define APUS_GATE_SILU 1
#define APUS_GATE_GELU 2

struct apus_swiglu_push {
    APUS_ADDR gate, up, y, step;
    APUS_ROWS_FIELDS
    uint cols;
};

#endif
