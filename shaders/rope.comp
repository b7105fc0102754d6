#version 450
/* y[t,h,i]       = x[t,h,i] c - x[t,h,i+E/2] s        (c, s) = table[pos[t], i], s times sign
 * y[t,h,i+E/2]   = x[t,h,i+E/2] c + x[t,h,i] s
 *
 *   x (T, H, E) f32  table (P, E/2, 2) f32: cos, sin  pos (T) u32  ->  y (T, H, E) f32
 *
 * One pair an invocation.  Su et al., RoFormer, 2021 (arXiv:2104.09864), section 3.4.2, with the
 * two elements of a pair half a head apart. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/rope.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_rope_push p; };

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const uint half_dim = p.head_dim >> 1, pair = i % half_dim, row = i / half_dim, t =
        row / p.heads;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint at = row * p.head_dim + pair, pos = min(BufU(p.pos).v[t], p.max_pos - 1);
    const float c = BufF(p.table).v[(pos * half_dim + pair) * 2];
    const float s = BufF(p.table).v[(pos * half_dim + pair) * 2 + 1] * p.sign;
    const float a = BufF(p.x).v[at], b = BufF(p.x).v[at + half_dim];
    BufF(p.y).v[at] = a * c - b * s;
    BufF(p.y).v[at + half_dim] = b * c + a * s;
}
