#version 450
/* y = gate / (1 + exp(-gate)) * up, element by element.
 *
 *   gate, up (rows, cols) f32  ->  y (rows, cols) f32
 *
 * One element an invocation.  Shazeer, GLU variants improve transformer, 2020
 * (arXiv:2002.05202). */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/swiglu.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_swiglu_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;

    if (i >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul) * p.cols)
        return;
    const float g = BufF(p.gate).v[i];
    BufF(p.y).v[i] = g / (1.0 + exp(-g)) * BufF(p.up).v[i];
}
