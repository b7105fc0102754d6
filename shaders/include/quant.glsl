/* quant.glsl - weights in any format: decoders of the plane layouts (engine/graph/layout.h).
 *
 * A quantized weight is a plane of quants and one of scales with the upper bits before them,
 * `words` words a row; `blocks` is how many blocks of 32 elements a row has.  A kernel reads words
 * of quants, as many at a time as it likes, and with them of each block or half of one (16
 * elements: q6_K's halves differ)
 *     apus_high, apus_highs             the words that have the upper bits
 *     apus_scale_words, apus_scale_of   the words that have the scales, and what they say
 *     apus_quad                         four elements out of those. */
#ifndef APUS_QUANT_GLSL
#define APUS_QUANT_GLSL
#include "mem.glsl"

bool apus_has_high(uint type)
{
    return type == APUS_Q5_0 || type == APUS_Q5_1 || type == APUS_Q6_K;
}

/* The upper bits of half block `h` of row `row`; of both halves of block `b`. */
uint apus_high(uint type, uvec2 scales, uint row, uint words, uint h)
{
    return apus_has_high(type) ? BufU(scales).v[row * words + (type == APUS_Q6_K ? h : h >> 1)]
                               : 0;
}

uvec2 apus_highs(uint type, uvec2 scales, uint row, uint words, uint b)
{
    if (type == APUS_Q6_K)
        return BufU2(scales).v[(row * words >> 1) + b];
    return uvec2(apus_high(type, scales, row, words, 2 * b));
}

/* The words that have the scales of block `b` of row `row`. */
uvec4 apus_scale_words(uint type, uvec2 scales, uint row, uint words, uint blocks, uint b)
{
    const uint at = row * words + (apus_has_high(type) ? blocks : 0);

    if (type == APUS_Q4_K)
        return BufU4(scales).v[(at >> 2) + (b >> 3)];
    if (type == APUS_Q6_K) {
        const uint s = at + blocks; /* two words a block came before */
        return uvec4(BufU(scales).v[s + (b >> 1)],
                     BufU(scales).v[s + (blocks >> 1) + (b >> 4)], 0, 0);
    }
    return uvec4(BufU(scales).v[at + (type == APUS_Q4_1 || type == APUS_Q5_1 ? b : b >> 1)]);
}

/* What is taken off a quant. */
float apus_zero(uint type)
{
    return type == APUS_Q4_0 ? 8.0 : type == APUS_Q5_0 ? 16.0 : type == APUS_Q6_K ? 32.0 : 0.0;
}

/* Scale d and offset m of half block `h`, out of the words of its block: value = q * d + m. */
vec2 apus_scale_of(uint type, uvec4 w, uint h)
{
    const uint b = h >> 1;

    if (type == APUS_Q4_1 || type == APUS_Q5_1)
        return unpackHalf2x16(w.x);
    if (type == APUS_Q4_K) {
        const uint low = ((b & 4u) == 0u ? w.y : w.z) >> 8 * (b & 3u), high = w.w >> 4 * (b & 7u);
        const vec2 s = vec2((low & 15u) | (high & 3u) << 4, (low >> 4 & 15u) | (high & 12u) << 2);
        return unpackHalf2x16(w.x) * vec2(s.x, -s.y);
    }
    const uint pair = type == APUS_Q6_K ? w.y >> 16 * (h >> 4 & 1u) : w.x >> 16 * (b & 1u);
    float d = unpackHalf2x16(pair).x;
    if (type == APUS_Q6_K)
        d *= float(int(w.x << (24 - 8 * (h & 3u))) >> 24);
    return vec2(d, -apus_zero(type) * d);
}

vec2 apus_scale(uint type, uvec2 scales, uint row, uint words, uint blocks, uint h)
{
    return apus_scale_of(type, apus_scale_words(type, scales, row, words, blocks, h >> 1), h);
}

/* The quants of elements 4i .. 4i+3 of a row, a byte each; `word` is the word that has them. */
uint apus_quants(uint type, uint word, uint high, uint i)
{
    if (type == APUS_Q8_0)
        return word;
    const uint q = ((i & 1u) == 0u ? word : word >> 4) & 0x0f0f0f0fu;
    if (type == APUS_Q6_K)
        return q | (high >> 2 * (i & 3u) & 0x03030303u) << 4;
    return apus_has_high(type) ? q | (high >> (i & 7u) & 0x01010101u) << 4 : q;
}

/* Elements 4i .. 4i+3 of a row; `word` is the word of quants that has them. */
vec4 apus_quad(uint type, uint word, uint high, uint i, vec2 scale)
{
    const uint q = apus_quants(type, word, high, i);

    if (type == APUS_Q8_0)
        return vec4(bitfieldExtract(int(q), 0, 8), bitfieldExtract(int(q), 8, 8),
                    bitfieldExtract(int(q), 16, 8), bitfieldExtract(int(q), 24, 8))
               * scale.x;
    return vec4(q & 0xffu, (q >> 8) & 0xffu, (q >> 16) & 0xffu, q >> 24) * scale.x + scale.y;
}

/* Elements 4i .. 4i+3 of row `row` of a weight (rows, 4 * cols4) in any format. */
vec4 apus_weight4(uint type, uvec2 w, uvec2 scales, uint words, uint row, uint cols4, uint i)
{
    const uint at = row * cols4 + i;

    if (type <= APUS_BF16)
        return apus_load4(type, w, at);
    return apus_quad(type, BufU(w).v[type == APUS_Q8_0 ? at : at >> 1],
                     apus_high(type, scales, row, words, i >> 2), i,
                     apus_scale(type, scales, row, words, cols4 >> 3, i >> 2));
}

#endif
