#version 450
/* seen[slot[t]] |= 1 << id[t]: the ids of this step, for the repetition penalty.
 *
 *   tokens, token_slot (T) u32  ->  seen (slots, words) u32, bit v of a row: id v
 *
 * Bits are only set, so the order of the atomics does not matter. */
#extension GL_GOOGLE_include_directive : require
#include "sample.glsl"

layout(local_size_x_id = 0) in;

void main()
{
    const uint t = gl_GlobalInvocationID.x;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint id = BufU(p.tokens).v[t], slot = BufU(p.token_slot).v[t];
    if (id < p.vocab && slot < p.slots)
        atomicOr(BufU(p.seen).v[slot * p.seen_words + (id >> 5)], 1u << (id & 31u));
}
