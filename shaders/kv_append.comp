#version 450
/* Between the projections and attention over a cache: queries and keys normalized by head and
 * turned by their position; keys and values into their pages.
 *
 *   q (T, H*E)  k, v (T, K*E) f32, f16 or bf16  table (P, E/2, 2) f32: cos, sin  norms (E) f32
 *   ->  q_out like q;  k_cache, v_cache rows of (K*E), CACHE_TYPE;  E a multiple of 4
 *
 * Row t of keys and values goes to pages[seq, (pos+base) / PAGE] * PAGE + (pos+base) % PAGE.  The
 * normalization is that of rms_norm.comp, the rotation that of rope.comp, without rounding in
 * between.  One subgroup has a head of a token: a query's, a key's or a value's. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/kv_append.h"

layout(local_size_x_id = 0) in; /* the subgroup */
layout(constant_id = 1) const uint CACHE_TYPE = APUS_F32;
layout(constant_id = 2) const uint PAGE = 64;
layout(constant_id = 3) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_kv_append_push push; };
layout(buffer_reference, std430, buffer_reference_align = 8) readonly
    buffer BufArgs { apus_kv_append_args v; };

#define p BufArgs(push.args).v

/* The head of src that begins at pair `from`, scaled by w (0: not) and turned, to pair `to` of dst.
 * A lane takes two pairs that are turned, which are two words of each half where a word has two
 * elements. */
void turn_head(uvec2 src, uint from, uvec2 w, uint pos, uint type, uvec2 dst, uint to)
{
    const uint half_pairs = p.head_dim >> 2, lane = gl_LocalInvocationID.x;
    float scale = 1.0;

    if (!apus_none(w)) {
        float sum = 0.0;
        for (uint i = lane; i < 2 * half_pairs; i += gl_WorkGroupSize.x) {
            const vec2 x = apus_load2(TYPE, src, from + i);
            sum += dot(x, x);
        }
        scale = inversesqrt(subgroupAdd(sum) / float(p.head_dim) + p.eps);
    }
    for (uint i = lane; i < half_pairs; i += gl_WorkGroupSize.x) {
        vec2 x = apus_load2(TYPE, src, from + i), y = apus_load2(TYPE, src, from + half_pairs + i);
        if (!apus_none(w)) {
            x *= scale * apus_load2(APUS_F32, w, i);
            y *= scale * apus_load2(APUS_F32, w, half_pairs + i);
        }
        if (!apus_none(p.table)) {
            const vec4 turn = BufF4(p.table).v[pos * half_pairs + i]; /* cos, sin of two angles */
            const vec2 cs = turn.xz, sn = turn.yw, x0 = x;
            x = x0 * cs - y * sn;
            y = y * cs + x0 * sn;
        }
        apus_store2(type, dst, to + i, x);
        apus_store2(type, dst, to + half_pairs + i, y);
    }
}

void main()
{
    const uint head = gl_WorkGroupID.x, t = gl_WorkGroupID.y, pairs = p.head_dim >> 1;

    if (t >= apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint s = BufU(p.seq).v[t], pos = BufU(p.pos).v[t], at = pos + BufU(p.base).v[s];
    const uint row = BufU(p.pages).v[s * p.max_pages + at / PAGE] * PAGE + at % PAGE;
    const uint angle = min(pos, p.max_pos - 1);

    if (head < p.heads) {
        const uint own = (t * p.heads + head) * pairs;
        turn_head(p.q, own, p.q_norm, angle, TYPE, p.q_out, own);
        return;
    }
    const uint kv = head - p.heads, kv_head = kv % p.kv_heads;
    const uint from = (t * p.kv_heads + kv_head) * pairs, to = (row * p.kv_heads + kv_head) * pairs;
    if (kv < p.kv_heads) {
        turn_head(p.k, from, p.k_norm, angle, CACHE_TYPE, p.k_cache, to);
        return;
    }
    for (uint i = gl_LocalInvocationID.x; i < pairs; i += gl_WorkGroupSize.x)
        apus_store2(CACHE_TYPE, p.v_cache, to + i, apus_load2(TYPE, p.v, from + i));
}
