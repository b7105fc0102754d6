#version 450
/* h[t, i R + r] = sum_k x[t,k] a_i[r,k] for few rows t (decode) and up to three modules i that read
 * the same x, with the adapters a_i of row t (0 where there is none, and past its rank)
 *
 *   x (T, K) f32, f16 or bf16  norm (K) f32 or none  index (T) u32: slot of the table
 *   ->  h (T, modules * R) f32;  K a multiple of 4
 *
 * As lora.comp; with `norm`, x is normalized on the way, as in matmul_few.glsl.  One subgroup a
 * workgroup, lanes along K, RANKS rows of a at once. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "lora_table.glsl"

layout(local_size_x_id = 0) in; /* the subgroup */
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(constant_id = 2) const uint MODULES = 1;
layout(constant_id = 3) const uint NORM = 0;
layout(push_constant) uniform Push { apus_lora_vec_push p; };

const uint RANKS = 8;

void main()
{
    const uint lane = gl_LocalInvocationID.x, t = gl_WorkGroupID.y, k4 = p.k >> 2;
    const uint module = gl_WorkGroupID.x % MODULES, r0 = gl_WorkGroupID.x / MODULES * RANKS;
    float sum[RANKS], squares = 0.0;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const apus_lora_entry e = lora_entry(p.entry[module], p.index, p.slots, t);
    const uint last = max(e.rank, 1) - 1;
    [[unroll]] for (uint r = 0; r < RANKS; r++)
        sum[r] = 0.0;
    if (!apus_none(e.a))
        for (uint c = lane; c < k4; c += gl_WorkGroupSize.x) {
            vec4 x = apus_load4(TYPE, p.x, t * k4 + c);
            if (NORM == 1) {
                squares += dot(x, x);
                x *= BufF4(p.norm).v[c];
            }
            [[unroll]] for (uint r = 0; r < RANKS; r++)
                sum[r] += dot(x, BufF4(e.a).v[min(r0 + r, last) * k4 + c]);
        }
    const float scale =
        NORM == 1 ? inversesqrt(subgroupAdd(squares) / float(p.k) + p.eps) : 1.0;
    /* A lane stores one sum; where lanes are fewer than RANKS, one after the other. */
    [[unroll]] for (uint r = 0; r < RANKS; r++) {
        const float all = scale * subgroupAdd(sum[r]);
        if (lane == r % gl_WorkGroupSize.x && r0 + r < p.rank)
            BufF(p.h).v[(t * MODULES + module) * p.rank + r0 + r] =
                r0 + r < e.rank ? all : 0.0;
    }
}
