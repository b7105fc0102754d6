#version 450
/* Gradient of rms_norm with respect to x.  With s = 1 / sqrt(mean(x^2) + eps) and g = dy * w:
 *
 *   dx[r,c] = acc[r,c] + s * g[r,c] - x[r,c] * s^3 * mean_c(g[r,c] * x[r,c])
 *
 *   x, dy, acc (rows, cols) f32  w (cols) f32  ->  dx (rows, cols) f32
 *
 * One subgroup a row, sums in f32 in a fixed order.  Differentiate equation 4 of
 * arXiv:1910.07467. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/rms_norm_back.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_rms_norm_back_push p; };

void main()
{
    const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    float xx = 0.0, gx = 0.0;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uvec2 x = apus_at(p.x, row, 4 * p.cols), dy = apus_at(p.dy, row, 4 * p.cols);
    for (uint i = lane; i < p.cols; i += lanes) {
        const float v = BufF(x).v[i];
        xx += v * v;
        gx += v * BufF(dy).v[i] * BufF(p.w).v[i];
    }
    const float s = inversesqrt(subgroupAdd(xx) / float(p.cols) + p.eps);
    const float k = subgroupAdd(gx) / float(p.cols) * s * s * s;
    const uvec2 acc = apus_at(p.acc, row, 4 * p.cols), dx = apus_at(p.dx, row, 4 * p.cols);
    for (uint i = lane; i < p.cols; i += lanes) {
        float d = s * BufF(dy).v[i] * BufF(p.w).v[i] - BufF(x).v[i] * k;
        if (!apus_none(p.acc))
            d += BufF(acc).v[i];
        BufF(dx).v[i] = d;
    }
}
