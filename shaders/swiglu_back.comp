#version 450
/* Gradient of swiglu.  With s = 1 / (1 + exp(-gate)):
 *
 *   d_up = dy * gate * s          d_gate = dy * up * s * (1 + gate * (1 - s))
 *
 *   gate, up, dy (rows, cols) f32  ->  d_gate, d_up (rows, cols) f32
 *
 * One element an invocation. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/swiglu_back.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_swiglu_back_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;

    if (i >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul) * p.cols)
        return;
    const float g = BufF(p.gate).v[i], dy = BufF(p.dy).v[i], s = 1.0 / (1.0 + exp(-g));
    BufF(p.d_up).v[i] = dy * g * s;
    BufF(p.d_gate).v[i] = dy * BufF(p.up).v[i] * s * (1.0 + g * (1.0 - s));
}
