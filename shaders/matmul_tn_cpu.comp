#version 450
/* y[m,n] = alpha * sum_k a[k,m] b[k,n] + acc[m,n] for CPU drivers: register tile.
 *
 *   a (K, M)  b (K, N)  ->  y (M, N);  each f32, f16 or bf16;  M a multiple of 4, N even where y
 *   has 16 bits; K is the live row count
 *
 * The gradient of a weight.  One subgroup a workgroup, lanes along N, TM rows a lane; addresses of
 * `a` are the same for all lanes.  Sums run in the order of k. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 32; /* a multiple of 4 */
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 4) const uint CLAMP = 0;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };
#define MATMUL_LANES
#include "matmul_epilogue.glsl"

float sum[TM];

void add_row(uint k, uint m0, uint n)
{
    const float b = apus_load1(B_TYPE, p.b, k * p.n + n);

    [[unroll]] for (uint i = 0; i < TM; i += 4) {
        const uint m = CLAMP == 1 ? min(m0 + i, p.m - 4) : m0 + i;
        const vec4 a = apus_load4(A_TYPE, p.a, (k * p.m + m) >> 2);
        sum[i] += a.x * b;
        sum[i + 1] += a.y * b;
        sum[i + 2] += a.z * b;
        sum[i + 3] += a.w * b;
    }
}

void main()
{
    const uint lane_n = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n = min(lane_n, p.n - 1);
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint sum_k = min(live, p.k);
    uint k = 0;

    [[unroll]] for (uint i = 0; i < TM; i++)
        sum[i] = 0.0;
    if (sum_k >= 4)
        do {
            add_row(k, m0, n);
            add_row(k + 1, m0, n);
            add_row(k + 2, m0, n);
            add_row(k + 3, m0, n);
            k += 4;
        } while (k + 4 <= sum_k);
    if (k < sum_k)
        do
            add_row(k, m0, n);
        while (++k < sum_k);
    if (lane_n >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        if (m0 + i < p.m)
            matmul_store_lane(m0 + i, n, sum[i]);
}
