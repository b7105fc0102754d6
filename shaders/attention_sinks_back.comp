#version 450
/* Gradient of attention with respect to the sinks, added to what `into` holds (names as in
 * attention_back.comp):
 *
 *   into[h] -= sum_t exp(sinks[h] - lse[t,h]) dot[t,h]
 *
 *   sinks (H), lse, dot (T, H)  ->  into (H), all f32
 *
 * A sink is a key with the value 0: its probability times (0 - dot).  A workgroup of one subgroup a
 * head; a lane takes every n-th row, in order, and the sums of the lanes are added in one step.
 * gpt-oss model card, arXiv:2508.10925. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/attention_sinks_back.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_attention_sinks_back_push p; };

void main()
{
    const uint head = gl_WorkGroupID.x;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const float sink = BufF(p.sinks).v[head];
    float sum = 0.0;

    for (uint row = gl_LocalInvocationID.x; row < rows; row += gl_WorkGroupSize.x) {
        const uint at = row * p.heads + head;
        sum = fma(exp(sink - BufF(p.lse).v[at]), BufF(p.dot).v[at], sum);
    }
    sum = subgroupAdd(sum);
    if (gl_LocalInvocationID.x == 0)
        BufF(p.into).v[head] -= sum;
}
