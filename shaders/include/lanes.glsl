/* lanes.glsl - elements that lie side by side, one or two a lane: for CPU drivers, whose compiler
 * makes one vector load of loads by all lanes from neighbouring uniform addresses.  An address a
 * lane would be a gather.
 *
 * Numbers are read in the width that they are stored in: 32, 16 or 8 bits, a byte having one weight
 * or two.  Words that hold several would need shuffles, of whose operands llvmpipe (Mesa 26) makes
 * no vector loads.  The includer has set LANES, the subgroup's size, and B_TYPE, the format of the
 * weights, and calls take_lane() first. */
#ifndef APUS_LANES_GLSL
#define APUS_LANES_GLSL
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : require
#extension GL_EXT_shader_8bit_storage : require
#extension GL_EXT_shader_16bit_storage : require
#include "quant.glsl"

/* PER weights lie in the number that a lane reads; a piece is that of all lanes, CHUNK weights.  A
 * scale is of GRAIN weights. */
const bool QUANT = B_TYPE > APUS_BF16, OFFSET = QUANT && B_TYPE != APUS_Q8_0;
const uint PER = OFFSET ? 2 : 1, CHUNK = LANES * PER;
const uint GRAIN = B_TYPE == APUS_Q6_K ? 16 : 32;
const uint HIGH = B_TYPE == APUS_Q6_K ? 2 : 1; /* upper bits of a quant that has some */

/* 32 elements as they are stored: one index, so that CPU drivers compute one address. */
struct apus_words {
    uvec4 v[8];
};
struct apus_shorts {
    u16vec4 v[8];
};
struct apus_bytes32 {
    u8vec4 v[8];
};
struct apus_bytes16 {
    u8vec4 v[4];
};
layout(buffer_reference, std430, buffer_reference_align = 16) readonly
    buffer BufWords { apus_words v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly
    buffer BufShorts { apus_shorts v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly
    buffer BufBytes32 { apus_bytes32 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) readonly
    buffer BufBytes16 { apus_bytes16 v[]; };

uint lane;
uint high_shift; /* where the upper bits of the lane's first quant lie in their word */

void take_lane()
{
    lane = gl_SubgroupInvocationID;
    high_shift = lane % 4 * 8 + lane / 4 % (GRAIN / 8) * 2 * HIGH;
}

/* The lane's number of piece i of those that begin with the 32 elements number `at`.  Where bytes
 * hold two weights (TWO), elements 8j .. 8j+3 are the lower ones of four bytes and 8j+4 .. 8j+7
 * (`upper` 4) the upper ones. */
#define OWN(NAME, TYPE, BUFFER, STORED, TWO)                                                       \
    uint NAME(uvec2 from, uint at, uint i, uint upper)                                             \
    {                                                                                              \
        TYPE mine = TYPE(0);                                                                       \
                                                                                                   \
        [[unroll]] for (uint e = 0; e < LANES; e++) {                                              \
            const uint u = LANES * i + e, k = TWO ? u / 4 * 8 + upper + u % 4 : u;                 \
            const TYPE there = BUFFER(from).v[at + k / STORED].v[k % STORED / 4][k % 4];           \
            mine = lane == e ? there : mine;                                                       \
        }                                                                                          \
        return uint(mine);                                                                         \
    }
OWN(own_word, uint, BufWords, 32, PER == 2)
OWN(own_short, uint16_t, BufShorts, 32, PER == 2)
OWN(own_byte32, uint8_t, BufBytes32, 32, false)
OWN(own_byte16, uint8_t, BufBytes16, 16, false)

uint own_byte(uvec2 from, uint at, uint i)
{
    return PER == 2 ? own_byte16(from, at, i, 0) : own_byte32(from, at, i, 0);
}

float own_element(uint type, uvec2 from, uint at, uint i, uint upper)
{
    if (type == APUS_F32)
        return uintBitsToFloat(own_word(from, at, i, upper));
    const uint w = own_short(from, at, i, upper);
    return type == APUS_F16 ? unpackHalf2x16(w).x : uintBitsToFloat(w << 16);
}

/* The upper bits, scale and offset of the lane's weights of a piece that begins at element k of a
 * row. */
uint own_high(uvec2 scales, uint row, uint words, uint k)
{
    uint high = apus_high(B_TYPE, scales, row, words, k / 16);

    if (apus_has_high(B_TYPE))
        [[unroll]] for (uint i = GRAIN; i < CHUNK; i += GRAIN) {
            const uint there = apus_high(B_TYPE, scales, row, words, (k + i) / 16);
            high = lane * PER / GRAIN == i / GRAIN ? there : high;
        }
    return high;
}

vec2 own_scale(uvec2 scales, uint row, uint words, uint blocks, uint k)
{
    vec2 s = apus_scale(B_TYPE, scales, row, words, blocks, k / 16);

    [[unroll]] for (uint i = GRAIN; i < CHUNK; i += GRAIN) {
        const vec2 there = apus_scale(B_TYPE, scales, row, words, blocks, (k + i) / 16);
        s = lane * PER / GRAIN == i / GRAIN ? there : s;
    }
    return s;
}

/* The lane's quant of piece j: the lower or the upper one of its byte. */
float own_quant(uint byte, uint high, uint j, uint upper)
{
    if (B_TYPE == APUS_Q8_0)
        return float(int(int8_t(byte)));
    const uint quant = upper == 0 ? byte & 15u : byte >> 4;
    if (!apus_has_high(B_TYPE))
        return float(quant);
    const uint shift = (LANES * j / 4 % (GRAIN / 8) * 2 + upper / 4) * HIGH;
    const uint bits = high >> high_shift; /* the same for all of a word */
    const uint above = shift < 4 ? bits << 4 - shift : bits >> shift - 4;
    return float(quant | above & ((1u << HIGH) - 1) << 4);
}

float scaled(float quant, vec2 s)
{
    return OFFSET ? fma(quant, s.x, s.y) : quant * s.x;
}

#endif
