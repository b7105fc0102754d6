#version 450
/* y[m,n] = alpha * sum_i parts[i][m,n] + bias[n] + acc[m,n]: the end of a product whose sum over k
 * was divided among workgroups (matmul_tile.comp, matmul_coop.glsl).
 *
 *   parts (I, M, N) f32, at `a`; I is `k`  ->  y (M, N) f32, f16 or bf16;  N a multiple of 4
 *
 * Parts in order; four elements an invocation. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint Y_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };
#include "matmul_epilogue.glsl"

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint quads = p.n >> 2, m = at / quads;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    vec4 sum = vec4(0.0);
    uint i = 0;

    if (m >= min(rows, p.m))
        return;
    do
        sum += BufF4(p.a).v[i * p.m * quads + at];
    while (++i < p.k);
    matmul_store4(m, at % quads, sum);
}
