#version 450
/* partials[i] = sum of g^2 over the i-th chunk.
 *
 *   grad (n) f32  ->  partials (ceil(n / chunk)) f32
 *
 * One subgroup a chunk; a lane sums its elements in order, then the subgroup adds. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/grad_norm.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_grad_norm_push p; };

void main()
{
    const uint i = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint start = i * (p.chunk >> 2), end = min(start + (p.chunk >> 2), p.n >> 2);
    float sum = 0.0;

    if (i >= p.n_partials)
        return;
    for (uint k = start + gl_LocalInvocationID.x; k < end; k += gl_WorkGroupSize.x) {
        const vec4 g = BufF4(p.grad).v[k];
        sum += dot(g, g);
    }
    sum = subgroupAdd(sum);
    if (gl_LocalInvocationID.x == 0)
        BufF(p.partials).v[i] = sum;
}
