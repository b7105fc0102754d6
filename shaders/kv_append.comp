#version 450
/* Rows of keys (turned by their position) and values of this step into their pages of the cache.
 *
 *   k, v (T, K*E) f32, f16 or bf16  table (P, E/2, 2) f32: cos, sin
 *   ->  k_cache, v_cache rows of (K*E), CACHE_TYPE
 *
 * Row t goes to pages[seq, (pos+base) / PAGE] * PAGE + (pos+base) % PAGE.  Four elements of keys
 * and of values an invocation; the rotation is that of rope.comp. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/kv_append.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint CACHE_TYPE = APUS_F32;
layout(constant_id = 2) const uint PAGE = 64;
layout(constant_id = 3) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_kv_append_push p; };

/* Element c of row t of the keys, turned. */
float turned(uint t, uint pos, uint c)
{
    const uint half_dim = p.head_dim >> 1, e = c % p.head_dim, pair = e % half_dim;
    const float x = apus_load1(TYPE, p.k, t * p.width + c);
    if (apus_none(p.table))
        return x;
    const float cs = BufF(p.table).v[(pos * half_dim + pair) * 2];
    const float sn = BufF(p.table).v[(pos * half_dim + pair) * 2 + 1];
    if (e < half_dim)
        return x * cs - apus_load1(TYPE, p.k, t * p.width + c + half_dim) * sn;
    return x * cs + apus_load1(TYPE, p.k, t * p.width + c - half_dim) * sn;
}

void main()
{
    const uint i = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                   + gl_LocalInvocationID.x;
    const uint w4 = p.width >> 2, t = i / w4, c = i % w4;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint s = BufU(p.seq).v[t], pos = BufU(p.pos).v[t], at = pos + BufU(p.base).v[s];
    const uint row = BufU(p.pages).v[s * p.max_pages + at / PAGE] * PAGE + at % PAGE;
    const uint angle = min(pos, p.max_pos - 1);
    const vec4 k = vec4(turned(t, angle, 4 * c), turned(t, angle, 4 * c + 1), turned(t, angle,
        4 * c + 2),
                        turned(t, angle, 4 * c + 3));
    apus_store4(CACHE_TYPE, p.k_cache, row * w4 + c, k);
    apus_store4(CACHE_TYPE, p.v_cache, row * w4 + c, apus_load4(TYPE, p.v, t * w4 + c));
}
