#version 450
/* h[t,r] = sum_k x[t,k] a[r,k] with the adapter a of row t (0 where there is none, and past its
 * rank)
 *
 *   x (T, K) f32, f16 or bf16  index (T) u32: slot of the table
 *   ->  h (T, R) f32;  K a multiple of 4
 *
 * The low-rank half of LoRA: Hu et al. 2021 (arXiv:2106.09685), section 4.1.  One subgroup a
 * workgroup, lanes along the rank, TM rows; rows are taken together while they share an adapter. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "lora_table.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 8;
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_lora_push p; };

void main()
{
    const uint r = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, k4 = p.k >> 2;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    bool same = m0 + TM <= rows;

    if (m0 >= rows)
        return;
    uint at = 0;
    if (same)
        do
            same = BufU(p.index).v[m0 + at] == BufU(p.index).v[m0];
        while (same && ++at < TM);
    if (same) {
        const apus_lora_entry e = lora_entry(p.table, p.index, p.slots, m0);
        const uint row = min(r, max(e.rank, 1) - 1);
        float sum[TM];
        [[unroll]] for (uint i = 0; i < TM; i++)
            sum[i] = 0.0;
        const uint row0 = m0 * k4; /* see matmul_nt_cpu.comp */
        uint c = 0;
        if (!apus_none(e.a))
            do {
                const vec4 a = BufF4(e.a).v[row * k4 + c];
                [[unroll]] for (uint i = 0; i < TM; i++) {
                    const vec4 x = apus_load4(TYPE, p.x, row0 + c + i * k4);
                    sum[i] = fma(x.x, a.x, sum[i]);
                    sum[i] = fma(x.y, a.y, sum[i]);
                    sum[i] = fma(x.z, a.z, sum[i]);
                    sum[i] = fma(x.w, a.w, sum[i]);
                }
            } while (++c < k4);
        if (r < p.rank)
            [[unroll]] for (uint i = 0; i < TM; i++)
                BufF(p.h).v[(m0 + i) * p.rank + r] = r < e.rank ? sum[i] : 0.0;
        return;
    }
    uint m = m0;
    do {
        const apus_lora_entry e = lora_entry(p.table, p.index, p.slots, m);
        const uint row = min(r, max(e.rank, 1) - 1);
        float sum = 0.0;
        uint c = 0;
        if (!apus_none(e.a))
            do {
                const vec4 a = BufF4(e.a).v[row * k4 + c], x = apus_load4(TYPE, p.x, m * k4 + c);
                sum = fma(x.x, a.x, sum);
                sum = fma(x.y, a.y, sum);
                sum = fma(x.z, a.z, sum);
                sum = fma(x.w, a.w, sum);
            } while (++c < k4);
        if (r < p.rank)
            BufF(p.h).v[m * p.rank + r] = r < e.rank ? sum : 0.0;
    } while (++m < min(m0 + TM, rows));
}
