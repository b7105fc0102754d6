#version 450
/* y[r,c] = x[r,c] * w[c] / sqrt(mean_c(x[r,c]^2) + eps)
 *
 *   x (rows, cols)  w (cols) f32  ->  y (rows, cols);  x, y f32, f16 or bf16
 *
 * One subgroup a row, sums in f32: each lane sums its columns in order, then the subgroup adds.
 * Zhang and Sennrich, Root Mean Square Layer Normalization, 2019 (arXiv:1910.07467), equation 4. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/rms_norm.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint VEC = 4; /* 4: cols is a multiple of 4; else 1 (f32 only) */
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_rms_norm_push p; };

void main()
{
    const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    float sum = 0.0;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    if (VEC == 4) {
        const uint n = p.cols / 4;
        for (uint i = lane; i < n; i += lanes) {
            const vec4 x = apus_load4(TYPE, p.x, row * n + i);
            sum += dot(x, x);
        }
        const float s = inversesqrt(subgroupAdd(sum) / float(p.cols) + p.eps);
        for (uint i = lane; i < n; i += lanes)
            apus_store4(TYPE, p.y, row * n + i,
                        apus_load4(TYPE, p.x, row * n + i) * s * BufF4(p.w).v[i]);
    } else {
        for (uint i = lane; i < p.cols; i += lanes) {
            const float x = BufF(p.x).v[row * p.cols + i];
            sum += x * x;
        }
        const float s = inversesqrt(subgroupAdd(sum) / float(p.cols) + p.eps);
        for (uint i = lane; i < p.cols; i += lanes)
            BufF(p.y).v[row * p.cols + i] = BufF(p.x).v[row * p.cols + i] * s * BufF(p.w).v[i];
    }
}
