#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[n,k] + bias[n] + acc[m,n] for CPU drivers: register tile.
 *
 *   a (M, K)  b (N, K) any format  ->  y (M, N);  a, y f32, f16 or bf16;  K a multiple of 8
 *   (quantized: whole blocks), N even where y has 16 bits
 *
 * One subgroup a workgroup, lanes along N, TM rows a lane.  Every address of `a` is the same for
 * all lanes (rows come from gl_WorkGroupID), which the driver turns into scalar loads; the only
 * load a lane makes itself is the weight (of f32 not even that where UNIFORM).  No shared memory.
 * Sums run in the order of k. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "quant.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 32;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint UNROLL = 1; /* chunks of 8 k in one turn of the loop */
layout(constant_id = 4) const uint CLAMP = 0;  /* 1: TM does not divide the largest M */
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 7) const uint DUAL = 0; /* 1: beta * sum_k a2[m,k] b2[n,k] is added */
layout(constant_id = 8) const uint BATCH = 0; /* several products: matmul_args.glsl */
layout(constant_id = 9) const uint UNIFORM = 0; /* 1: uniform loads are cheap */
#include "matmul_args.glsl"
#define MATMUL_LANES
#include "matmul_epilogue.glsl"

/* Weights 8c .. 8c+7 of the rows from `first` on, of f32, by uniform loads, of which each lane
 * keeps its row's: less work than gathers. */
void load_uniform(uint first, uint k8, uint c, out vec4 b0, out vec4 b1)
{
    b0 = b1 = vec4(0.0);
    [[unroll]] for (uint e = 0; e < gl_WorkGroupSize.x; e++) {
        vec4 lo, hi;
        apus_load8(APUS_F32, p.b, min(first + e, p.n - 1) * k8 + c, lo, hi);
        b0 = gl_LocalInvocationID.x == e ? lo : b0;
        b1 = gl_LocalInvocationID.x == e ? hi : b1;
    }
}

/* Weights 8c .. 8c+7 of row n; the workgroup's rows begin with `first`. */
void load_weights(uint first, uint n, uint k8, uint c, out vec4 b0, out vec4 b1)
{
    const uint at = n * k8 + c;
    if (B_TYPE == APUS_F32 && UNIFORM == 1) {
        load_uniform(first, k8, c, b0, b1);
    } else if (B_TYPE <= APUS_BF16) {
        apus_load8(B_TYPE, p.b, at, b0, b1);
    } else {
        const uvec2 w = B_TYPE == APUS_Q8_0 ? BufU2(p.b).v[at] : BufU(p.b).v[at].xx;
        const uint high = apus_high(B_TYPE, p.scales, n, p.scale_words, c >> 1);
        const vec2 s = apus_scale(B_TYPE, p.scales, n, p.scale_words, k8 >> 2, c >> 1);
        b0 = apus_quad(B_TYPE, w.x, high, 2 * c, s);
        b1 = apus_quad(B_TYPE, w.y, high, 2 * c + 1, s);
    }
}

float sum[TM];

/* The second product, of few k. */
void add_second(uint m0, uint n)
{
    const uint row0 = m0 * p.k2, last = (p.m - 1) * p.k2;
    uint k = 0;

    do {
        const float b = p.beta * BufF(p.b2).v[n * p.k2 + k];
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint at = row0 + k + i * p.k2;
            sum[i] = fma(BufF(p.a2).v[CLAMP == 1 ? min(at, last + k) : at], b, sum[i]);
        }
    } while (++k < p.k2);
}

void main()
{
    take_product();
    const uint first = column_group() * gl_WorkGroupSize.x;
    const uint lane_n = first + gl_LocalInvocationID.x;
    const uint m0 = gl_WorkGroupID.y * TM, n = min(lane_n, p.n - 1), k8 = p.k >> 3;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);

    if (m0 >= rows || first >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        sum[i] = 0.0;
    /* Rows are reached from row0 + c, never by m0 + i: that is needed behind the loop, and llvmpipe
     * would carry it through each turn in a vector. */
    const uint row0 = m0 * k8, last = (p.m - 1) * k8;
    uint c0 = 0;
    do {
        [[unroll]] for (uint u = 0; u < UNROLL; u++) {
            const uint c = c0 + u;
            vec4 b0, b1;
            load_weights(first, n, k8, c, b0, b1);
            [[unroll]] for (uint i = 0; i < TM; i++) {
                const uint at = row0 + c + i * k8;
                vec4 a0, a1;
                apus_load8(A_TYPE, p.a, CLAMP == 1 ? min(at, last + c) : at, a0, a1);
                sum[i] = fma(a0.x, b0.x, sum[i]);
                sum[i] = fma(a0.y, b0.y, sum[i]);
                sum[i] = fma(a0.z, b0.z, sum[i]);
                sum[i] = fma(a0.w, b0.w, sum[i]);
                sum[i] = fma(a1.x, b1.x, sum[i]);
                sum[i] = fma(a1.y, b1.y, sum[i]);
                sum[i] = fma(a1.z, b1.z, sum[i]);
                sum[i] = fma(a1.w, b1.w, sum[i]);
            }
        }
        c0 += UNROLL;
    } while (c0 < k8);
    if (DUAL == 1)
        add_second(m0, n);
    if (lane_n >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++)
        if (m0 + i < rows)
            matmul_store_lane(m0 + i, n, sum[i]);
}
