#version 450
/* The self-test of a device: y[i] = a x[i] + i, or, with loops > 0, y[i] = the number of iterations
 * that a loop of `loops` ran.
 *
 *   x (n) f32  ->  y (n) f32,  n <= 2^24 so that i is exact
 *
 * One invocation an element, rows of workgroups folded into y. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_GOOGLE_include_directive : require
#include "probe.h"

layout(local_size_x_id = 0) in;
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer In { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer Out { float v[]; };
layout(push_constant) uniform Push { apus_probe_push p; };

uint count(uint loops)
{
    uint done = 0u, state = 1u;

    for (uint i = 0u; i < loops; i++) {
        state = state * 1664525u + 1013904223u; /* cannot be folded away */
        done += 1u;
    }
    return state == 0u ? 0u : done;
}

void main()
{
    const uint i = gl_GlobalInvocationID.y * gl_NumWorkGroups.x * gl_WorkGroupSize.x
                   + gl_GlobalInvocationID.x;

    if (i >= p.n)
        return;
    if (p.loops > 0u)
        Out(p.y).v[i] = float(count(p.loops));
    else
        Out(p.y).v[i] = p.a * In(p.x).v[i] + float(i);
}
