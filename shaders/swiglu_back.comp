#version 450
/* Gradient of swiglu.  With s = 1 / (1 + exp(-z)), z of gate (gate.glsl):
 *
 *   d_up = dy * gate * s          d_gate = dy * up * s * (1 + gate * (1 - s) * dz/dgate)
 *
 *   gate, up, dy (rows, cols)  ->  d_gate, d_up (rows, cols);  all f32, f16 or bf16
 *
 * Four elements an invocation. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "gate.glsl"
#include "args/swiglu_back.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(constant_id = 2) const uint GATE = APUS_GATE_SILU;
layout(push_constant) uniform Push { apus_swiglu_back_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const uint n = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul) * p.cols;

    if (4 * i >= n)
        return;
    const vec4 g = apus_load4_of(TYPE, p.gate, i, n), up = apus_load4_of(TYPE, p.up, i, n);
    const vec4 dy = apus_load4_of(TYPE, p.dy, i, n), s = 1.0 / (1.0 + exp(-apus_gate_z(GATE, g)));
    apus_store4_of(TYPE, p.d_up, i, n, dy * g * s);
    const vec4 bend = g * (1.0 - s) * apus_gate_slope(GATE, g);
    apus_store4_of(TYPE, p.d_gate, i, n, dy * up * s * (1.0 + bend));
}
