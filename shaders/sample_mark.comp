#version 450
/* seen[token_slot[t], tokens[t] / 32] |= 1 << tokens[t] % 32
 *
 *   tokens, token_slot (T) u32  ->  seen (slots, words) u32
 *
 * Integer atomics: the result does not depend on the order. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/sample.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_sample_push p; };

void main()
{
    const uint t = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;

    if (t >= apus_live_rows(p.step, p.tokens_var, 0, p.tokens_max, 1))
        return;
    const uint id = BufU(p.tokens).v[t], slot = BufU(p.token_slot).v[t];
    if (id < p.vocab && slot < p.seen_rows)
        atomicOr(BufU(p.seen).v[slot * p.seen_words + id / 32], 1u << (id % 32));
}
