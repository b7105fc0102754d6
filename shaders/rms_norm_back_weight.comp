#version 450
/* Gradient of rms_norm with respect to w, added to what dw holds:
 *
 *   dw[c] += sum_r dy[r,c] * x[r,c] / sqrt(mean_c(x[r,c]^2) + eps)
 *
 *   x, dy (rows, cols) f32, f16 or bf16  ->  dw (cols) f32
 *
 * Two steps in one workgroup of one subgroup: lanes share a row's sum of squares, then each lane
 * adds to its own columns; rows in order, so that the sum has one order. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/rms_norm_back.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_rms_norm_back_push p; };

void main()
{
    const uint c = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint bytes = apus_bytes(TYPE) * p.cols;
    float sum = 0.0;

    for (uint row = 0; row < rows; row++) {
        const uvec2 x = apus_at(p.x, row, bytes), dy = apus_at(p.dy, row, bytes);
        float xx = 0.0;
        for (uint i = gl_LocalInvocationID.x; i < p.cols; i += gl_WorkGroupSize.x) {
            const float v = apus_load1(TYPE, x, i);
            xx += v * v;
        }
        const float s = inversesqrt(subgroupAdd(xx) / float(p.cols) + p.eps);
        if (c < p.cols)
            sum += apus_load1(TYPE, dy, c) * apus_load1(TYPE, x, c) * s;
    }
    if (c < p.cols)
        BufF(p.dx).v[c] += sum;
}
