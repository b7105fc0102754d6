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
#include "quant.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 16;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint UNROLL = 1; /* 4 k in one turn of the loop; 2: 8 k */
layout(constant_id = 4) const uint CLAMP = 0;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 7) const uint DUAL = 0; /* 1: beta * sum_k a2[m,k] b2[k,n] is added */
layout(constant_id = 8) const uint BATCH = 0; /* several products: matmul_args.glsl */
#include "matmul_args.glsl"
#include "matmul_epilogue.glsl"

vec4 load_row(uint k, uint n4)
{
    return apus_weight4(B_TYPE, p.b, p.scales, p.scale_words, k, p.n >> 2, n4);
}

vec4 sum[TM];

/* The second product, of few k. */
void add_second(uint m0, uint n4)
{
    const uint row0 = m0 * p.k2, last = (p.m - 1) * p.k2;
    uint k = 0;

    do {
        const vec4 b = p.beta * BufF4(p.b2).v[k * (p.n >> 2) + n4];
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint at = row0 + k + i * p.k2;
            sum[i] = fma(vec4(BufF(p.a2).v[CLAMP == 1 ? min(at, last + k) : at]), b, sum[i]);
        }
    } while (++k < p.k2);
}

void main()
{
    take_product();
    const uint first = column_group() * gl_WorkGroupSize.x;
    const uint lane_n4 = first + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n4 = min(lane_n4, (p.n >> 2) - 1);
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);

    if (m0 >= rows || first >= p.n >> 2)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        sum[i] = vec4(0.0);
    const uint turns = (p.k >> 2) / UNROLL;
    const uint row0 = m0 * turns, last = (p.m - 1) * turns; /* see matmul_nt_cpu.comp */
    uint c = 0;
    do {
        vec4 b[4 * UNROLL];
        [[unroll]] for (uint j = 0; j < 4 * UNROLL; j++)
            b[j] = load_row(4 * UNROLL * c + j, n4);
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint row = row0 + c + i * turns, at = CLAMP == 1 ? min(row, last + c) : row;
            vec4 a[2];
            if (UNROLL == 2)
                apus_load8(A_TYPE, p.a, at, a[0], a[1]);
            else
                a[0] = apus_load4(A_TYPE, p.a, at);
            [[unroll]] for (uint u = 0; u < UNROLL; u++) {
                sum[i] = fma(vec4(a[u].x), b[4 * u], sum[i]);
                sum[i] = fma(vec4(a[u].y), b[4 * u + 1], sum[i]);
                sum[i] = fma(vec4(a[u].z), b[4 * u + 2], sum[i]);
                sum[i] = fma(vec4(a[u].w), b[4 * u + 3], sum[i]);
            }
        }
    } while (++c < turns);
    if (DUAL == 1)
        add_second(m0, n4);
    if (lane_n4 >= p.n >> 2)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        if (m0 + i < rows)
            matmul_store4(m0 + i, n4, sum[i]);
}
