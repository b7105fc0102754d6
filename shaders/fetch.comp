#version 450
/* y = x, bytes of any format, from memory that lies behind a bus: each word is read once, 16 bytes
 * an invocation, neighbours side by side, so that the bus carries whole bursts. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/fetch.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_fetch_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;

    if (4 * i + 4 <= p.words)
        BufU4(p.y).v[i] = BufU4(p.x).v[i];
    else
        for (uint k = 4 * i; k < p.words; k++)
            BufU(p.y).v[k] = BufU(p.x).v[k];
}
