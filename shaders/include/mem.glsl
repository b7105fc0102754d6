/* mem.glsl - memory by device address: references, loads by number format, live rows.
 *
 * An address is a uvec2 in a push block or an argument struct.  16-bit formats are read by 32-bit
 * words, so that no device feature is needed (but in lanes.glsl); quantized ones: quant.glsl. */
#ifndef APUS_MEM_GLSL
#define APUS_MEM_GLSL
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_control_flow_attributes : require
#include "dual.h"

/* Numbers of formats: the rows of engine/base/dtype.def. */
#define APUS_F32 0u
#define APUS_F16 1u
#define APUS_BF16 2u
#define APUS_Q8_0 3u
#define APUS_Q4_0 4u
#define APUS_Q4_1 5u
#define APUS_Q5_0 9u
#define APUS_Q5_1 10u
#define APUS_Q4_K 11u
#define APUS_Q6_K 12u

layout(buffer_reference, std430, buffer_reference_align = 4) buffer BufF { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer BufU { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 8) buffer BufU2 { uvec2 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer BufF4 { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer BufU4 { uvec4 v[]; };
struct apus_f8 {
    vec4 lo, hi;
};
layout(buffer_reference, std430, buffer_reference_align = 16) buffer BufF8 { apus_f8 v[]; };
struct apus_u8 {
    uvec4 lo, hi;
};
layout(buffer_reference, std430, buffer_reference_align = 16) buffer BufU8 { apus_u8 v[]; };

bool apus_none(uvec2 a)
{
    return (a.x | a.y) == 0u;
}

uvec2 apus_add(uvec2 a, uint bytes)
{
    uint carry;
    const uint lo = uaddCarry(a.x, bytes, carry);
    return uvec2(lo, a.y + carry);
}

/* a + i * bytes, the product in 64 bits. */
uvec2 apus_at(uvec2 a, uint i, uint bytes)
{
    uint hi, lo, carry;
    umulExtended(i, bytes, hi, lo);
    lo = uaddCarry(a.x, lo, carry);
    return uvec2(lo, a.y + hi + carry);
}

uint apus_live_rows(uvec2 step_at, uint var, uint skip, uint most, uint mul)
{
    if (var == 0xffffffffu)
        return most * mul;
    const uint n = BufU(step_at).v[var];
    return (n > skip ? min(n - skip, most) : 0u) * mul;
}

vec4 apus_half4(uvec2 w)
{
    return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

vec4 apus_bhalf4(uvec2 w)
{
    return vec4(uintBitsToFloat(w.x << 16), uintBitsToFloat(w.x & 0xffff0000u),
                uintBitsToFloat(w.y << 16), uintBitsToFloat(w.y & 0xffff0000u));
}

/* The larger one; b is left out if it is a NaN, of which max() may give anything (a is none).  By
 * bits: a compiler may take comparisons with NaN for granted. */
float apus_larger(float a, float b)
{
    return (floatBitsToUint(b) & 0x7fffffffu) > 0x7f800000u ? a : max(a, b);
}

/* Elements 4i .. 4i+3 of a plain tensor. */
vec4 apus_load4(uint type, uvec2 a, uint i)
{
    if (type == APUS_F32)
        return BufF4(a).v[i];
    const uvec2 w = BufU2(a).v[i];
    return type == APUS_F16 ? apus_half4(w) : apus_bhalf4(w);
}

float apus_load1(uint type, uvec2 a, uint i)
{
    if (type == APUS_F32)
        return BufF(a).v[i];
    const uint w = BufU(a).v[i >> 1];
    if (type == APUS_F16)
        return (i & 1u) == 0u ? unpackHalf2x16(w).x : unpackHalf2x16(w).y;
    return uintBitsToFloat((i & 1u) == 0u ? w << 16 : w & 0xffff0000u);
}

/* Elements 8i .. 8i+7. */
void apus_load8(uint type, uvec2 a, uint i, out vec4 lo, out vec4 hi)
{
    if (type == APUS_F32) {
        lo = BufF8(a).v[i].lo; /* one index, so that CPU drivers compute one address */
        hi = BufF8(a).v[i].hi;
        return;
    }
    const uvec4 w = BufU4(a).v[i];
    lo = type == APUS_F16 ? apus_half4(w.xy) : apus_bhalf4(w.xy);
    hi = type == APUS_F16 ? apus_half4(w.zw) : apus_bhalf4(w.zw);
}

/* Elements 4i .. 4i+3 of a tensor of n elements, zeros past its end.  The rows of 16-bit
 * activations are whole fours (graph.h). */
vec4 apus_load4_of(uint type, uvec2 a, uint i, uint n)
{
    if (type != APUS_F32 || 4 * i + 4 <= n)
        return apus_load4(type, a, i);
    vec4 x = vec4(0.0);
    [[unroll]] for (uint k = 0; k < 4; k++)
        if (4 * i + k < n)
            x[k] = BufF(a).v[4 * i + k];
    return x;
}

/* f32 to bf16 bits, round to nearest even (NaN stays NaN). */
uint apus_bf16_bits(float f)
{
    const uint u = floatBitsToUint(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (u >> 16) | 0x40u;
    return (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
}

/* f rounded to what f16 can have, to nearest even, too large to infinity: packHalf2x16 may round
 * either way, and where it rounds to zero an overflow would not show.  Below 2^-14 it may still be
 * off by 2^-24. */
float apus_f16_round(float f)
{
    const uint u = floatBitsToUint(f), sign = u & 0x80000000u;
    const uint r = (u + 0xfffu + ((u >> 13) & 1u)) & 0xffffe000u;

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return f; /* NaN */
    return uintBitsToFloat((r & 0x7fffffffu) >= 0x47800000u ? sign | 0x7f800000u : r);
}

uint apus_f16_pair(vec2 x)
{
    return packHalf2x16(vec2(apus_f16_round(x.x), apus_f16_round(x.y)));
}

uint apus_bf16_pair(vec2 x)
{
    return apus_bf16_bits(x.x) | apus_bf16_bits(x.y) << 16;
}

void apus_store4(uint type, uvec2 a, uint i, vec4 x)
{
    if (type == APUS_F32)
        BufF4(a).v[i] = x;
    else if (type == APUS_F16)
        BufU2(a).v[i] = uvec2(apus_f16_pair(x.xy), apus_f16_pair(x.zw));
    else
        BufU2(a).v[i] = uvec2(apus_bf16_pair(x.xy), apus_bf16_pair(x.zw));
}

void apus_store4_of(uint type, uvec2 a, uint i, uint n, vec4 x)
{
    if (type != APUS_F32 || 4 * i + 4 <= n) {
        apus_store4(type, a, i, x);
        return;
    }
    [[unroll]] for (uint k = 0; k < 4; k++)
        if (4 * i + k < n)
            BufF(a).v[4 * i + k] = x[k];
}

/* Elements 2i and 2i+1. */
vec2 apus_load2(uint type, uvec2 a, uint i)
{
    if (type == APUS_F32)
        return vec2(BufF(a).v[2 * i], BufF(a).v[2 * i + 1]);
    const uint w = BufU(a).v[i];
    return type == APUS_F16 ? unpackHalf2x16(w)
                            : vec2(uintBitsToFloat(w << 16), uintBitsToFloat(w & 0xffff0000u));
}

void apus_store2(uint type, uvec2 a, uint i, vec2 x)
{
    if (type == APUS_F16) {
        BufU(a).v[i] = apus_f16_pair(x);
    } else if (type == APUS_BF16) {
        BufU(a).v[i] = apus_bf16_pair(x);
    } else {
        BufF(a).v[2 * i] = x.x;
        BufF(a).v[2 * i + 1] = x.y;
    }
}

/* Bytes of an element of a plain tensor. */
uint apus_bytes(uint type)
{
    return type == APUS_F32 ? 4 : 2;
}

#endif
