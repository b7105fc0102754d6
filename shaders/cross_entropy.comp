#version 450
/* Softmax cross-entropy of a chunk of rows, with its gradient in place of the logits:
 *
 *   nll[r] = log sum_v exp(z[r,v]) - z[r,label[r]]
 *   z[r,v] <- (softmax(z[r])[v] - (v == label[r])) * weight[r] * scale     where GRADIENT is 1
 *
 *   z (R, V) f32, in place  labels (R) u32  weights (R) f32
 *   ->  rows_out (R, 2) f32: weight * nll, and whether the first most likely id is the label
 *
 * One subgroup a row; lane l has the fours l, l + lanes, ... of the row, and no lane reads what
 * another one writes.  Sums: four running ones a lane, then the lanes, in a fixed order. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/cross_entropy.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint GRADIENT = 1;
layout(constant_id = 2) const uint ALIGNED = 1; /* V is a multiple of 4 */
layout(push_constant) uniform Push { apus_cross_entropy_push p; };

const float LOWEST = -3.402823466e38;

/* Elements 4i .. 4i+3 of a row; past its end, what adds nothing. */
vec4 load(uvec2 z, uint i)
{
    vec4 x = vec4(LOWEST);

    if (ALIGNED == 1)
        return BufF4(z).v[i];
    [[unroll]] for (uint k = 0; k < 4; k++)
        if (4 * i + k < p.vocab)
            x[k] = BufF(z).v[4 * i + k];
    return x;
}

void store(uvec2 z, uint i, vec4 x)
{
    if (ALIGNED == 1)
        BufF4(z).v[i] = x;
    else
        [[unroll]] for (uint k = 0; k < 4; k++)
            if (4 * i + k < p.vocab)
                BufF(z).v[4 * i + k] = x[k];
}

void main()
{
    const uint row = gl_WorkGroupID.x, lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    const uint fours = (p.vocab + 3) >> 2;
    const uvec2 z = apus_at(p.logits, row, 4 * p.vocab);
    vec4 most = vec4(LOWEST), sum = vec4(0.0);
    uint first = 0xffffffffu; /* of the most likely ids that this lane has */

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    for (uint i = lane; i < fours; i += lanes) {
        const vec4 x = load(z, i);
        [[unroll]] for (uint e = 0; e < 4; e++)
            most[e] = apus_larger(most[e], x[e]);
    }
    const float top = subgroupMax(max(max(most.x, most.y), max(most.z, most.w)));
    for (uint i = lane; i < fours; i += lanes) {
        const vec4 x = load(z, i);
        sum += exp(x - top);
        const uint at = x.x == top ? 0u : x.y == top ? 1u : x.z == top ? 2u : x.w == top ? 3u : 4u;
        first = min(first, at == 4u ? 0xffffffffu : 4 * i + at);
    }
    const float total = subgroupAdd((sum.x + sum.y) + (sum.z + sum.w));
    const uint best = subgroupMin(first);
    const uint label = BufU(p.labels).v[row];
    const float weight = BufF(p.weights).v[row];
    if (lane == (label >> 2) % lanes) { /* the lane that will overwrite the label's logit */
        const float nll = label < p.vocab ? log(total) - (BufF(z).v[label] - top) : 0.0;
        BufF(p.rows_out).v[2 * row] = weight * nll;
        BufF(p.rows_out).v[2 * row + 1] = best == label ? 1.0 : 0.0;
    }
    if (GRADIENT == 0)
        return;
    const float wanted = uintBitsToFloat(BufU(p.step).v[p.scale_var]);
    const float scale = label < p.vocab ? weight * wanted : 0.0, share = scale / total;
    for (uint i = lane; i < fours; i += lanes) {
        const vec4 of_label = vec4(equal(uvec4(4 * i) + uvec4(0, 1, 2, 3), uvec4(label)));
        store(z, i, exp(load(z, i) - top) * share - of_label * scale);
    }
}
