#version 450
/* y[m,n] = alpha * sum_k op(a)[m,k] * op(b)[k,n] + bias[n] + acc[m,n], DUAL: with a second product
 * in the sum (engine/op/matmul.h)
 *
 *   NT  a (M, K)  b (N, K) any format;   NN  b (K, N) any format;   TN  a (K, M)  b (K, N)
 *   ->  y (M, N);  a, y and TN's b f32, f16 or bf16
 *
 * The plain algorithm, right for every shape: one element an invocation (two of y in 16 bits), f32
 * sums in the order of k. */
#extension GL_GOOGLE_include_directive : require
#include "quant.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint KIND = APUS_MATMUL_NT;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint A_TYPE = APUS_F32;
layout(constant_id = 4) const uint Y_TYPE = APUS_F32;
layout(constant_id = 5) const uint DUAL = 0;
layout(constant_id = 6) const uint BATCH = 0; /* several products: matmul_args.glsl */
#include "matmul_args.glsl"
#include "matmul_epilogue.glsl"

const uint PER = Y_TYPE == APUS_F32 ? 1 : 2; /* columns an invocation */

/* Element i of row `row` of a weight with `cols` columns. */
float weight1(uint row, uint cols, uint i)
{
    if (B_TYPE <= APUS_BF16)
        return apus_load1(B_TYPE, p.b, row * cols + i);
    return apus_weight4(B_TYPE, p.b, p.scales, p.scale_words, row, cols >> 2, i >> 2)[i & 3u];
}

void main()
{
    take_product();
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint n_per = p.n / PER, m = at / n_per, n = at % n_per * PER;
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint rows = KIND == APUS_MATMUL_TN ? p.m : min(live, p.m);
    const uint sum_k = KIND == APUS_MATMUL_TN ? min(live, p.k) : p.k;
    float sum[PER];

    if (m >= rows)
        return;
    [[unroll]] for (uint i = 0; i < PER; i++)
        sum[i] = 0.0;
    for (uint k0 = 0; k0 < sum_k; k0 += 4096) { /* no loop runs past 65,535 (Mesa 22.3 ends it) */
        const uint end = min(k0 + 4096, sum_k);
        for (uint k = k0; k < end; k++) {
            const float a =
                apus_load1(A_TYPE, p.a, KIND == APUS_MATMUL_TN ? k * p.m + m : m * p.k + k);
            [[unroll]] for (uint i = 0; i < PER; i++)
                sum[i] += a * (KIND == APUS_MATMUL_NT ? weight1(n + i, p.k, k)
                                                      : weight1(k, p.n, n + i));
        }
    }
    for (uint k = 0; k < (DUAL == 1 ? p.k2 : 0); k++)
        [[unroll]] for (uint i = 0; i < PER; i++)
            sum[i] += p.beta * BufF(p.a2).v[m * p.k2 + k]
                      * BufF(p.b2).v[KIND == APUS_MATMUL_NT ? (n + i) * p.k2 + k : k * p.n + n + i];
    if (PER == 1)
        matmul_store1(m, n, sum[0]);
    else
        matmul_store2(m, n, vec2(sum[0], sum[PER - 1]));
}
