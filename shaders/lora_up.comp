#version 450
/* y[t,n] = acc[t,n] + scale * sum_r h[t,r] b[n,r] with the adapter b of row t
 *
 *   h (T, R) f32  acc (T, N) f32  index (T) u32  ->  y (T, N) f32
 *
 * One subgroup a workgroup, lanes along N, TM rows. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/lora.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 8;
layout(push_constant) uniform Push { apus_lora_push p; };
#include "lora_table.glsl"

void main()
{
    const uint lane_n = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n = min(lane_n, p.n - 1);
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
        const apus_lora_entry e = lora_entry(m0);
        float sum[TM];
        [[unroll]] for (uint i = 0; i < TM; i++)
            sum[i] = 0.0;
        uint r = 0;
        if (e.rank > 0)
            do {
                const float b = BufF(e.b).v[n * e.rank + r];
                [[unroll]] for (uint i = 0; i < TM; i++)
                    sum[i] += BufF(p.h).v[(m0 + i) * p.rank + r] * b;
            } while (++r < e.rank);
        if (lane_n < p.n)
            [[unroll]] for (uint i = 0; i < TM; i++)
                BufF(p.y).v[(m0 + i) * p.n + n] = BufF(p.acc).v[(m0 + i) * p.n + n]
                    + e.scale * sum[i];
        return;
    }
    uint m = m0;
    do {
        const apus_lora_entry e = lora_entry(m);
        float sum = 0.0;
        uint r = 0;
        if (e.rank > 0)
            do
                sum += BufF(p.h).v[m * p.rank + r] * BufF(e.b).v[n * e.rank + r];
            while (++r < e.rank);
        if (lane_n < p.n)
            BufF(p.y).v[m * p.n + n] = BufF(p.acc).v[m * p.n + n] + e.scale * sum;
    } while (++m < min(m0 + TM, rows));
}
