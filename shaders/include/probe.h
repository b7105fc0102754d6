/* probe.h - arguments of shaders/probe.comp, for C and GLSL. */
#ifndef APUS_PROBE_H
#define APUS_PROBE_H
#include "dual.h"

struct apus_probe_push {
    APUS_ADDR x, y; /* (n) f32 */
    uint n;
    uint loops; /* 0: y = a x + i; else y[i] = the number of iterations, as a float */
    float a;
};

#endif
