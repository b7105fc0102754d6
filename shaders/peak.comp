#version 450
/* What a device reaches at most, for `apus bench`:
 *
 *   loops = 0   y[i] = x[i], four elements of 16 bytes an invocation
 *   loops > 0   y[i] = v after loops x 64 times v = a v + b on 8 independent numbers
 *
 * so that an invocation does 1024 loops operations (a multiply-add is two).  One invocation an
 * element (a group of four in the copy), rows of workgroups folded into y. */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_GOOGLE_include_directive : require
#include "args/peak.h"

layout(local_size_x_id = 0) in;
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer In { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer Out { vec4 v[]; };
layout(push_constant) uniform Push { apus_peak_push p; };

void copy(uint i, uint all)
{
    for (uint k = 0u; k < 4u; k++) {
        const uint at = i + k * all;

        if (at < p.n)
            Out(p.y).v[at] = In(p.x).v[at];
    }
}

/* Written out: a loop's own work must not be measured. */
#define STEP                                                                                       \
    s0 = fma(s0, a, b), s1 = fma(s1, a, b), s2 = fma(s2, a, b), s3 = fma(s3, a, b),                \
    s4 = fma(s4, a, b), s5 = fma(s5, a, b), s6 = fma(s6, a, b), s7 = fma(s7, a, b)

float multiply(float start)
{
    float s0 = start, s1 = start + 1.0, s2 = start + 2.0, s3 = start + 3.0;
    float s4 = start + 4.0, s5 = start + 5.0, s6 = start + 6.0, s7 = start + 7.0;
    const float a = p.a, b = p.b;

    for (uint i = 0u; i < p.loops * 4u; i++) {
        STEP, STEP, STEP, STEP, STEP, STEP, STEP, STEP;
        STEP, STEP, STEP, STEP, STEP, STEP, STEP, STEP;
    }
    return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}

void main()
{
    const uint row = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    const uint i = gl_GlobalInvocationID.y * row + gl_GlobalInvocationID.x;

    if (p.loops == 0u)
        copy(i, row * gl_NumWorkGroups.y);
    else if (i < p.n)
        Out(p.y).v[i] = vec4(multiply(float(i)));
}
