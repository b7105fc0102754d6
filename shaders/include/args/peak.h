/* peak.h - arguments of shaders/peak.comp, for C and GLSL. */
#ifndef APUS_PEAK_H
#define APUS_PEAK_H
#include "dual.h"

struct apus_peak_push {
    APUS_ADDR x, y; /* (n, 4) f32 */
    uint n;         /* elements of 16 bytes */
    uint loops;     /* of 512 multiply-adds; 0: copy */
    float a, b;
};

#endif
