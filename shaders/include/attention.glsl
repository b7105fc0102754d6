/* attention.glsl - what the attention kernels share: arguments, rows of keys, masks. */
#ifndef APUS_ATTENTION_GLSL
#define APUS_ATTENTION_GLSL
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "mem.glsl"
#include "args/attention.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint E4 = 16;          /* head size / 4 */
layout(constant_id = 2) const uint TM = 1;           /* rows a lane */
layout(constant_id = 3) const uint KV_TYPE = APUS_F32;
layout(constant_id = 4) const uint PAGE = 64;        /* tokens a page */
layout(constant_id = 5) const uint GROUP = 1;        /* query heads of a key-value head */
layout(constant_id = 6) const uint BIDIRECTIONAL = 0;
layout(constant_id = 7) const uint KEYS = 4;         /* keys a turn of the loop */
layout(constant_id = 8) const uint SPLIT = 1;        /* lanes that share a row: a power of two */
layout(constant_id = 9) const uint KEEP = APUS_ATTENTION_KEPT; /* what a lane does with its rows */
const bool KEPT = KEEP == APUS_ATTENTION_KEPT;
const uint OWN = E4 / SPLIT; /* vec4s of a row that a lane has: every SPLIT-th, from its part on */
layout(constant_id = 10) const uint TYPE = APUS_F32; /* of all but k, v, lse and dot */
layout(constant_id = 11) const uint SOFTCAP = 0;     /* 1: scores are capped */
layout(constant_id = 12) const uint SINKS = 0;       /* 1: a logit of each head in the sum */
layout(constant_id = 13) const uint PARTS = 1;       /* that the keys are divided into */
const float NONE = -3.0e38; /* the score of a key that is not seen */
layout(push_constant) uniform Push { apus_attention_push push; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufArgs { apus_attention_args v; };

#define p BufArgs(push.args).v

/* The row of key j of sequence s in the cache. */
uint key_row(uint s, uint base, uint j)
{
    const uint at = j + base;
    return BufU(p.pages).v[s * p.max_pages + at / PAGE] * PAGE + at % PAGE;
}

/* Index of the lane's first vec4 of a head in rows of `heads`.  Rows differ between lanes; memory
 * is indexed from a base that is the same in all of them, since llvmpipe with 16 lanes cannot have
 * an address of each lane's own.  The builder sees to it that the index fits. */
uint head_index(uint row, uint heads, uint head, uint part)
{
    return (row * heads + head) * E4 + part;
}

/* Address, the same for all lanes, of the head's elements in that row of a cache. */
uvec2 key_at(uvec2 cache, uint row, uint head)
{
    return apus_at(cache, row * p.kv_heads + head, E4 * 4 * apus_bytes(KV_TYPE));
}

/* The lane among the workgroup's; lanes that share a row are neighbours in one subgroup. */
uint lane_of()
{
    return SPLIT == 1 ? gl_LocalInvocationID.x
                      : gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
}

/* The sum over the lanes that share a row, the same bits in each. */
float across(float x)
{
    [[unroll]] for (uint d = 1; d < SPLIT; d *= 2)
        x += subgroupShuffleXor(x, d);
    return x;
}

/* What was read before is not kept in registers for what is read behind this, unless KEEP. */
void read_again()
{
    if (!KEPT)
        subgroupMemoryBarrierBuffer();
}

/* tanh with an error relative to it (2.4 * 2^-24 and what exp has): for a small x the quotient of
 * exponentials, as drivers make it, has none of its digits.  Moshier, Cephes, tanhf. */
float relative_tanh(float x)
{
    const float s = x * x, far = 1.0 - 2.0 / (exp(2.0 * abs(x)) + 1.0);
    const float near = fma(fma(fma(fma(-5.70498872745e-3, s, 2.06390887954e-2), s,
                                   -5.37397155531e-2), s, 1.33314422036e-1), s,
                           -3.33332819422e-1) * s;

    return abs(x) < 0.625 ? fma(near, x, x) : x < 0.0 ? -far : far;
}

/* A score as softmax takes it: cap * tanh(score / cap) where there is a cap. */
float capped(float score)
{
    return SOFTCAP == 1 ? p.softcap * relative_tanh(score / p.softcap) : score;
}

/* The gradient of a score, given that of the capped one. */
float uncapped(float d, float capped_score)
{
    if (SOFTCAP == 0)
        return d;
    const float share = capped_score / p.softcap;
    return d * (1.0 - share * share);
}

bool sees(uint pos, uint key, uint n_keys)
{
    return key < n_keys && (BIDIRECTIONAL == 1 || key <= pos) && (p.window == 0 || pos < key
        + p.window);
}

#endif
