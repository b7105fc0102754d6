#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[k,n] + acc[m,n] for CPU drivers: register tile.
 *
 *   a (M, K)  b (K, N) any format  ->  y (M, N);  a, y f32, f16 or bf16;  K and N multiples of 4
 *   (quantized N: 32)
 *
 * One subgroup a workgroup, four columns a lane, TM rows a lane; addresses of `a` are the same for
 * all lanes.  The gradient of a projection's input reads the weight's blocks in place.  Sums run in
 * the order of k. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 16;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 4) const uint CLAMP = 0;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };
#include "matmul_epilogue.glsl"

vec4 load_row(uint k, uint n4)
{
    vec2 s = vec2(0.0);
    if (B_TYPE > APUS_BF16)
        s = apus_block_scale(B_TYPE, p.scales, k, p.scale_words, n4 >> 3);
    return apus_weight4(B_TYPE, p.b, k, p.n >> 2, n4, s);
}

void main()
{
    const uint lane_n4 = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n4 = min(lane_n4, (p.n >> 2) - 1), k4 = p.k >> 2;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    vec4 sum[TM];

    if (m0 >= rows)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        sum[i] = vec4(0.0);
    uint c = 0;
    do {
        const vec4 b0 = load_row(4 * c, n4), b1 = load_row(4 * c + 1, n4);
        const vec4 b2 = load_row(4 * c + 2, n4), b3 = load_row(4 * c + 3, n4);
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint m = CLAMP == 1 ? min(m0 + i, p.m - 1) : m0 + i;
            const vec4 a = apus_load4(A_TYPE, p.a, m * k4 + c);
            sum[i] += a.x * b0;
            sum[i] += a.y * b1;
            sum[i] += a.z * b2;
            sum[i] += a.w * b3;
        }
    } while (++c < k4);
    if (lane_n4 >= p.n >> 2)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        if (m0 + i < rows)
            matmul_store4(m0 + i, n4, sum[i]);
}
