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

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 32; /* a multiple of 4 */
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 4) const uint CLAMP = 0;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 8) const uint BATCH = 0; /* several products: matmul_args.glsl */
#include "matmul_args.glsl"
#define MATMUL_LANES
#include "matmul_epilogue.glsl"

const uint AT_ONCE = 8; /* k in one turn of the loop */

float sum[TM];

/* Rows k .. k + n_k - 1 of both; a sum is in a register for all of them. */
void add_rows(uint k, const uint n_k, uint m4, uint n)
{
    float b[AT_ONCE];

    [[unroll]] for (uint j = 0; j < n_k; j++)
        b[j] = apus_load1(B_TYPE, p.b, (k + j) * p.n + n);
    [[unroll]] for (uint i = 0; i < TM; i += 4) {
        const uint at = CLAMP == 1 ? min(m4 + i / 4, (p.m >> 2) - 1) : m4 + i / 4;
        [[unroll]] for (uint j = 0; j < n_k; j++) {
            const vec4 a = apus_load4(A_TYPE, p.a, (k + j) * (p.m >> 2) + at);
            sum[i] = fma(a.x, b[j], sum[i]);
            sum[i + 1] = fma(a.y, b[j], sum[i + 1]);
            sum[i + 2] = fma(a.z, b[j], sum[i + 2]);
            sum[i + 3] = fma(a.w, b[j], sum[i + 3]);
        }
    }
}

void main()
{
    take_product();
    const uint first = column_group() * gl_WorkGroupSize.x;
    const uint lane_n = first + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n = min(lane_n, p.n - 1);
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint sum_k = min(live, p.k);
    uint k = 0;

    if (m0 >= p.m || first >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        sum[i] = 0.0;
    if (sum_k >= AT_ONCE)
        do {
            add_rows(k, AT_ONCE, m0 / 4, n);
            k += AT_ONCE;
        } while (k + AT_ONCE <= sum_k);
    if (k < sum_k)
        do
            add_rows(k, 1, m0 / 4, n);
        while (++k < sum_k);
    if (lane_n >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        if (m0 + i < p.m)
            matmul_store_lane(m0 + i, n, sum[i]);
}
