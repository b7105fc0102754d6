/* half.c - IEEE 754 binary16 and bfloat16, by bit patterns. */
#include "half.h"

typedef union {
    uint32_t u;
    float f;
} bits32;

float apus_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 31u;
    const uint32_t fraction = h & 0x3ffu;
    bits32 v;

    if (exponent == 31)
        v.u = sign | 0x7f800000u | fraction << 13;
    else if (exponent)
        v.u = sign | (exponent + 112) << 23 | fraction << 13;
    else {
        /* Subnormal or zero: a whole number of 2^-24, exact in f32. */
        v.f = (float)fraction * 0x1p-24f;
        v.u |= sign;
    }
    return v.f;
}

uint16_t apus_f32_to_f16(float f)
{
    const bits32 v = { .f = f };
    const uint16_t sign = (uint16_t)(v.u >> 16 & 0x8000u);
    const uint32_t a = v.u & 0x7fffffffu;

    if (a > 0x7f800000u) {
        const uint32_t payload = a >> 13 & 0x3ffu;
        return (uint16_t)(sign | 0x7c00u | (payload ? payload : 0x200u));
    }
    if (a >= 0x477ff000u) /* 65520, half way from the largest to 2^16, and above */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x33000000u) /* below half of the smallest */
        return sign;
    if (a < 0x38800000u) { /* below 2^-14: a subnormal */
        const uint32_t exponent = a >> 23;
        const uint32_t mantissa = (a & 0x7fffffu) | 0x800000u;
        const uint32_t shift = 126 - exponent; /* 14 to 24 */
        const uint32_t half = 1u << (shift - 1);
        const uint32_t rest = mantissa & ((1u << shift) - 1);
        uint32_t h = mantissa >> shift;
        if (rest > half || (rest == half && (h & 1)))
            h++;
        return (uint16_t)(sign | h);
    }
    /* A carry of the fraction goes into the exponent, as it should. */
    const uint32_t rounded = a + 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | (rounded - 0x38000000u) >> 13);
}

uint16_t apus_f32_to_bf16(float f)
{
    const bits32 v = { .f = f };

    if ((v.u & 0x7fffffffu) > 0x7f800000u) {
        const uint16_t h = (uint16_t)(v.u >> 16);
        return (h & 0x7fu) ? h : (uint16_t)(h | 0x40u);
    }
    return (uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1u)) >> 16);
}
