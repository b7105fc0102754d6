#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[n,k] + bias[n] + acc[m,n] for CPU drivers and few rows m:
 * mat-vec, of one b or several (matmul_few.glsl).
 *
 *   a (M, K), M <= 8  b (N, K) any format  ->  y (M, N);  a, y f32, f16 or bf16;  K a multiple of
 *   32, N even where y has 16 bits
 *
 * One subgroup a workgroup, lanes along N, ROWS weight rows a lane.  A turn of the loop takes 32 k:
 * a lane's loads are 16 bytes each and one scale; every address of `a` is the same for all lanes.
 * Sums run in the order of k. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "quant.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 1;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint ROWS = 1; /* PAIR: 2, the second of the other matrix */
layout(constant_id = 4) const uint A_TYPE = APUS_F32;
layout(constant_id = 5) const uint Y_TYPE = APUS_F32;
layout(constant_id = 6) const uint MEMBERS = 1;
layout(constant_id = 7) const uint PAIR = 0;
layout(constant_id = 8) const uint ADAPTED = 0;
const uint NORM = 0; /* here it would take as many instructions as the products */
#define MATMUL_LANES
#include "matmul_few.glsl"

float sum[TM * ROWS];

/* Add the products of weights 4 i .. 4 i + 3 of a block whose first k is 4 * k4. */
void add4(uint r, uint k4, uint i, vec4 b)
{
    [[unroll]] for (uint m = 0; m < TM; m++) {
        const vec4 a = apus_load4(A_TYPE, p.a, m * (p.k >> 2) + k4 + i);
        const uint s = m * ROWS + r;
        sum[s] = fma(a.x, b.x, sum[s]);
        sum[s] = fma(a.y, b.y, sum[s]);
        sum[s] = fma(a.z, b.z, sum[s]);
        sum[s] = fma(a.w, b.w, sum[s]);
    }
}

/* Block `c` (32 k) of weight row n. */
void add_block(uint r, uint n, uint c)
{
    const uvec2 b = PAIR != 0 && r == 1 ? up.b : p.b;
    const uvec2 plane = PAIR != 0 && r == 1 ? up.scales : p.scales;
    const uint blocks = p.k >> 5, at = n * blocks + c, k4 = 8 * c;
    if (B_TYPE == APUS_F32) {
        [[unroll]] for (uint i = 0; i < 8; i++)
            add4(r, k4, i, BufF4(b).v[8 * at + i]);
        return;
    }
    if (B_TYPE <= APUS_BF16) {
        [[unroll]] for (uint i = 0; i < 4; i++) {
            const uvec4 w = BufU4(b).v[4 * at + i];
            add4(r, k4, 2 * i, B_TYPE == APUS_F16 ? apus_half4(w.xy) : apus_bhalf4(w.xy));
            add4(r, k4, 2 * i + 1, B_TYPE == APUS_F16 ? apus_half4(w.zw) : apus_bhalf4(w.zw));
        }
        return;
    }
    const uint PER = B_TYPE == APUS_Q8_0 ? 4 : 8; /* fours in a load */
    const uvec4 scales = apus_scale_words(B_TYPE, plane, n, p.scale_words, blocks, c);
    const uvec2 high = apus_highs(B_TYPE, plane, n, p.scale_words, c);
    uvec4 w;
    [[unroll]] for (uint i = 0; i < 8; i++) {
        if (i % PER == 0)
            w = BufU4(b).v[(8 * at + i) / PER];
        add4(r, k4, i, apus_quad(B_TYPE, w[i % PER * 4 / PER], high[i / 4], i,
                                 apus_scale_of(B_TYPE, scales, 2 * c + i / 4)));
    }
}

void main()
{
    const uint lanes = gl_WorkGroupSize.x, apart = PAIR != 0 ? 0 : lanes;
    const uint n0 = take_member(few_group()) * (PAIR != 0 ? lanes : lanes * ROWS)
        + gl_LocalInvocationID.x;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);

    [[unroll]] for (uint i = 0; i < TM * ROWS; i++)
        sum[i] = 0.0;
    uint c = 0;
    do {
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            add_block(r, min(n0 + r * apart, p.n - 1), c);
    } while (++c < p.k >> 5);
    if (PAIR != 0) {
        [[unroll]] for (uint m = 0; m < TM; m++)
            if (n0 < p.n && m < rows)
                matmul_put_lane(m, n0, gated1(m, n0, sum[2 * m], sum[2 * m + 1]));
        return;
    }
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        [[unroll]] for (uint m = 0; m < TM; m++)
            if (n0 + r * lanes < p.n && m < rows)
                matmul_put_lane(m, n0 + r * lanes,
                                few_end1(m, n0 + r * lanes, sum[m * ROWS + r]));
}
