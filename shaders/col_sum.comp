#version 450
/* into[c] += sum_r x[r,c]
 *
 *   x (rows, cols) f32, f16 or bf16  ->  into (cols) f32
 *
 * One column an invocation, rows in order: the gradient of a bias. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/col_sum.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_col_sum_push p; };

void main()
{
    const uint c = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    float sum = 0.0;

    if (c >= p.cols)
        return;
    for (uint r0 = 0; r0 < rows; r0 += 4096)
        for (uint r = r0; r < min(r0 + 4096, rows); r++)
            sum += apus_load1(TYPE, p.x, r * p.cols + c);
    BufF(p.into).v[c] += sum;
}
