#version 450
/* Gradient of rms_norm with respect to x.  With s = 1 / sqrt(mean(x^2) + eps) and g = dy * w:
 *
 *   dx[r,c] = acc[r,c] + s * g[r,c] - x[r,c] * s^3 * mean_c(g[r,c] * x[r,c])
 *
 *   x, dy, acc (rows, cols)  w (cols) f32  ->  dx (rows, cols);  all but w f32, f16 or bf16
 *
 * One subgroup a row, sums in f32 in a fixed order.  Differentiate equation 4 of
 * arXiv:1910.07467. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/rms_norm_back.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint VEC = 4; /* 4: cols is a multiple of 4; else 1 (f32 only) */
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_rms_norm_back_push p; };

/* VEC elements of a row; the others are zero. */
vec4 load(uvec2 row, uint i)
{
    return VEC == 4 ? apus_load4(TYPE, row, i) : vec4(BufF(row).v[i], 0.0, 0.0, 0.0);
}

vec4 weight(uint i)
{
    return VEC == 4 ? BufF4(p.w).v[i] : vec4(BufF(p.w).v[i], 0.0, 0.0, 0.0);
}

void main()
{
    const uint row = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    const uint n = p.cols / VEC, bytes = apus_bytes(TYPE) * p.cols;
    float xx = 0.0, gx = 0.0;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uvec2 x = apus_at(p.x, row, bytes), dy = apus_at(p.dy, row, bytes);
    for (uint i = lane; i < n; i += lanes) {
        const vec4 v = load(x, i);
        xx += dot(v, v);
        gx += dot(v, load(dy, i) * weight(i));
    }
    const float s = inversesqrt(subgroupAdd(xx) / float(p.cols) + p.eps);
    const float k = subgroupAdd(gx) / float(p.cols) * s * s * s;
    const uvec2 acc = apus_at(p.acc, row, bytes), dx = apus_at(p.dx, row, bytes);
    for (uint i = lane; i < n; i += lanes) {
        vec4 d = s * load(dy, i) * weight(i) - load(x, i) * k;
        if (!apus_none(p.acc))
            d += load(acc, i);
        if (VEC == 4)
            apus_store4(TYPE, dx, i, d);
        else
            BufF(dx).v[i] = d.x;
    }
}
