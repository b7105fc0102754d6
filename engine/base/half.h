/* half.h - 16-bit floats in software, round to nearest even. */
#ifndef APUSI_HALF_H
#define APUSI_HALF_H

#include "base.h"

float apus_f16_to_f32(uint16_t h);
uint16_t apus_f32_to_f16(float f); /* overflow gives infinity; NaN stays NaN */
static inline float apus_bf16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } v = { .u = (uint32_t)h << 16 };
    return v.f;
}
uint16_t apus_f32_to_bf16(float f);

#endif
