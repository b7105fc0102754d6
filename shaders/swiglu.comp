#version 450
/* y = silu(gate) * up or gelu(gate) * up, element by element (gate.glsl).
 *
 *   gate, up (rows, cols)  ->  y (rows, cols);  all f32, f16 or bf16
 *
 * Four elements an invocation. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "gate.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(constant_id = 2) const uint GATE = APUS_GATE_SILU;
layout(push_constant) uniform Push { apus_swiglu_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const uint n = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul) * p.cols;

    if (4 * i >= n)
        return;
    const vec4 g = apus_load4_of(TYPE, p.gate, i, n), up = apus_load4_of(TYPE, p.up, i, n);
    apus_store4_of(TYPE, p.y, i, n, apus_gate(GATE, g) * up);
}
