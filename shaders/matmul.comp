#version 450
/* y[m,n] = alpha * sum_k op(a)[m,k] * op(b)[k,n] + bias[n] + acc[m,n]
 *
 *   NT  a (M, K) f32  b (N, K) any format;   NN  b (K, N) any format;   TN  a (K, M) f32  b (K, N)
 *   ->  y (M, N) f32
 *
 * The plain algorithm, right for every shape: one element an invocation, one f32 sum in the
 * order of k. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint KIND = APUS_MATMUL_NT;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };

/* Element i of row `row` of a weight with `cols` columns. */
float weight1(uint row, uint cols, uint i)
{
    if (B_TYPE <= APUS_BF16)
        return apus_load1(B_TYPE, p.b, row * cols + i);
    const vec2 scale = apus_block_scale(B_TYPE, p.scales, row, p.scale_words, i >> 5);
    return apus_weight4(B_TYPE, p.b, row, cols >> 2, i >> 2, scale)[i & 3u];
}

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint m = at / p.n, n = at % p.n;
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint rows = KIND == APUS_MATMUL_TN ? p.m : min(live, p.m);
    const uint sum_k = KIND == APUS_MATMUL_TN ? min(live, p.k) : p.k;
    float sum = 0.0;

    if (m >= rows)
        return;
    for (uint k0 = 0; k0 < sum_k; k0 += 4096) { /* no loop runs past 65,535 (Mesa 22.3 ends it) */
        const uint end = min(k0 + 4096, sum_k);
        for (uint k = k0; k < end; k++) {
            const float a = BufF(p.a).v[KIND == APUS_MATMUL_TN ? k * p.m + m : m * p.k + k];
            sum += a * (KIND == APUS_MATMUL_NT ? weight1(n, p.k, k) : weight1(k, p.n, n));
        }
    }
    float y = p.alpha * sum;
    if (!apus_none(p.bias))
        y += BufF(p.bias).v[n];
    if (!apus_none(p.acc))
        y += BufF(p.acc).v[at];
    BufF(p.y).v[at] = y;
}
