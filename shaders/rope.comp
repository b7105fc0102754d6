#version 450
/* y[t,h,i]       = x[t,h,i] c - x[t,h,i+E/2] s        (c, s) = table[pos[t], i], s times sign
 * y[t,h,i+E/2]   = x[t,h,i+E/2] c + x[t,h,i] s
 *
 *   x (T, H, E)  table (P, E/2, 2) f32: cos, sin  pos (T) u32  ->  y (T, H, E)
 *   x, y f32, f16 or bf16; with x2 (T, H2, E) another tensor is turned alike
 *
 * VEC pairs an invocation.  Su et al., RoFormer, 2021 (arXiv:2104.09864), section 3.4.2, with the
 * two elements of a pair half a head apart. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/rope.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint VEC = 2; /* 2: half a head is even; else 1 (f32 only) */
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_rope_push p; };

/* Pairs of the head that is row `row` of x; the address is the same for all lanes. */
void turn(uvec2 x, uvec2 y, uint row, uint pair, uint half_dim, uint pos)
{
    const uint at = 2 * row * half_dim + pair, angle = 2 * (pos * half_dim + pair);

    if (VEC == 1) {
        const float c = BufF(p.table).v[angle], s = BufF(p.table).v[angle + 1] * p.sign;
        const float a = BufF(x).v[at], b = BufF(x).v[at + half_dim];
        BufF(y).v[at] = a * c - b * s;
        BufF(y).v[at + half_dim] = b * c + a * s;
        return;
    }
    const vec4 cs = BufF4(p.table).v[angle >> 1];
    const vec2 c = cs.xz, s = cs.yw * p.sign;
    const vec2 a = apus_load2(TYPE, x, at), b = apus_load2(TYPE, x, at + half_dim);
    apus_store2(TYPE, y, at, a * c - b * s);
    apus_store2(TYPE, y, at + half_dim, b * c + a * s);
}

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const uint half_dim = p.head_dim / 2 / VEC, pair = i % half_dim, both = p.heads + p.heads2;
    const uint t = i / half_dim / both, head = i / half_dim % both;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint pos = min(BufU(p.pos).v[t], p.max_pos - 1);
    if (head < p.heads)
        turn(p.x, p.y, t * p.heads + head, pair, half_dim, pos);
    else
        turn(p.x2, p.y2, t * p.heads2 + head - p.heads, pair, half_dim, pos);
}
