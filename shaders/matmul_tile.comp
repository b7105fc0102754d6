#version 450
/* y[m,n] = alpha * sum_k op(a)[m,k] * op(b)[k,n] + bias[n] + acc[m,n] through shared memory.
 *
 *   NT  a (M, K)  b (N, K) any format;   NN  b (K, N) any format;   TN  a (K, M)  b (K, N)
 *   ->  y (M, N);  a, y and TN's b f32, f16 or bf16;  every shape (y in 16 bits: N a multiple of 4)
 *
 * A workgroup makes a block of BM x BN elements, an invocation RM x RN of them: quads of rows that
 * lie BM / (RM / 4) apart, likewise columns, so that neighbours read neighbouring quads of shared
 * memory.  Chunks of BK along K are decoded to f32 while they are staged, k first; the next
 * chunk is in registers while this one is used.  Sums run in the order of k.
 * PARTS: z is a part of k, whose sums are a matrix of their own (matmul_sum.comp adds them up). */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in; /* BM / RM * BN / RN */
layout(constant_id = 1) const uint KIND = APUS_MATMUL_NT;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint BM = 64;
layout(constant_id = 4) const uint BN = 64;
layout(constant_id = 5) const uint BK = 16;
layout(constant_id = 6) const uint RM = 4;
layout(constant_id = 7) const uint RN = 4;
layout(constant_id = 8) const uint A_TYPE = APUS_F32;
layout(constant_id = 9) const uint Y_TYPE = APUS_F32;
layout(constant_id = 10) const uint DUAL = 0; /* 1: chunks of the second product come behind */
layout(constant_id = 11) const uint BATCH = 0; /* several products: matmul_args.glsl */
layout(constant_id = 12) const uint EDGES = APUS_MATMUL_ANY; /* matmul_load.glsl */
layout(constant_id = 13) const uint PARTS = 0; /* 1: z is a part of the sum, a matrix of its own */
#include "matmul_args.glsl"
#include "matmul_epilogue.glsl"
#include "matmul_load.glsl"

const uint LOCAL = (BM / RM) * (BN / RN);
const uint A_STRIDE = BM / 4 + 1, B_STRIDE = BN / 4 + 1; /* in quads; padded against bank
                                                            conflicts */
const uint A_QUADS = BM * BK / 4, B_QUADS = BN * BK / 4;
const uint A_LOADS = (A_QUADS + LOCAL - 1) / LOCAL, B_LOADS = (B_QUADS + LOCAL - 1) / LOCAL;

shared vec4 block_a[BK * A_STRIDE];
shared vec4 block_b[BK * B_STRIDE];

vec4 next_a[A_LOADS], next_b[B_LOADS];
uint m0, n0, rows, sum_k;
uint first_k; /* k of the chunks of the first product */

const bool WHOLE = EDGES == APUS_MATMUL_WHOLE;

/* Quad i of a chunk: rows of `wide` outer elements when the source runs along k, else rows of k. */
vec4 quad_a(uint i, uint k0)
{
    if (DUAL == 1 && k0 >= first_k)
        return p.beta * matmul_load4(APUS_F32, p.a2, m0 + i / (BK / 4), p.m, p.k2,
                                     (k0 - first_k) / 4 + i % (BK / 4), false, false);
    if (KIND == APUS_MATMUL_TN)
        return matmul_load4(A_TYPE, p.a, k0 + i / (BM / 4), sum_k, p.m, m0 / 4 + i % (BM / 4),
                            true, WHOLE);
    return matmul_load4(A_TYPE, p.a, m0 + i / (BK / 4), p.m, p.k, k0 / 4 + i % (BK / 4), false,
                        WHOLE);
}

vec4 quad_b(uint i, uint k0)
{
    if (DUAL == 1 && k0 >= first_k)
        return KIND == APUS_MATMUL_NT
                   ? matmul_load4(APUS_F32, p.b2, n0 + i / (BK / 4), p.n, p.k2,
                                  (k0 - first_k) / 4 + i % (BK / 4), false, false)
                   : matmul_load4(APUS_F32, p.b2, k0 - first_k + i / (BN / 4), p.k2, p.n,
                                  n0 / 4 + i % (BN / 4), true, false);
    if (KIND == APUS_MATMUL_NT)
        return matmul_load4(B_TYPE, p.b, n0 + i / (BK / 4), p.n, p.k, k0 / 4 + i % (BK / 4), false,
                            WHOLE);
    return matmul_load4(B_TYPE, p.b, k0 + i / (BN / 4), sum_k, p.n, n0 / 4 + i % (BN / 4), true,
                        WHOLE);
}

void fetch(uint k0)
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_QUADS % LOCAL != 0 && i >= A_QUADS)
            break;
        next_a[s] = quad_a(i, k0);
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_QUADS % LOCAL != 0 && i >= B_QUADS)
            break;
        next_b[s] = quad_b(i, k0);
    }
}

void stage()
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_QUADS % LOCAL != 0 && i >= A_QUADS)
            break;
        if (KIND == APUS_MATMUL_TN) {
            block_a[i / (BM / 4) * A_STRIDE + i % (BM / 4)] = next_a[s];
        } else {
            const uint m = i / (BK / 4), k = i % (BK / 4) * 4;
            [[unroll]] for (uint j = 0; j < 4; j++)
                block_a[(k + j) * A_STRIDE + m / 4][m & 3u] = next_a[s][j];
        }
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_QUADS % LOCAL != 0 && i >= B_QUADS)
            break;
        if (KIND != APUS_MATMUL_NT) {
            block_b[i / (BN / 4) * B_STRIDE + i % (BN / 4)] = next_b[s];
        } else {
            const uint n = i / (BK / 4), k = i % (BK / 4) * 4;
            [[unroll]] for (uint j = 0; j < 4; j++)
                block_b[(k + j) * B_STRIDE + n / 4][n & 3u] = next_b[s][j];
        }
    }
}

void main()
{
    take_product();
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint tm = gl_LocalInvocationID.x / (BN / RN), tn = gl_LocalInvocationID.x % (BN / RN);
    vec4 sum[RM * (RN / 4)];

    m0 = gl_WorkGroupID.x * BM;
    n0 = gl_WorkGroupID.y * BN;
    rows = KIND == APUS_MATMUL_TN ? p.m : min(live, p.m);
    sum_k = KIND == APUS_MATMUL_TN ? min(live, p.k) : p.k;
    first_k = (sum_k + BK - 1) / BK * BK;
    const uint all = DUAL == 1 ? first_k + p.k2 : sum_k;
    const uint begin = PARTS == 1 ? gl_WorkGroupID.z * p.part : 0;
    const uint end = PARTS == 1 ? min(begin + p.part, all) : all;
    const uint above = PARTS == 1 ? gl_WorkGroupID.z * p.m : 0; /* rows of the parts before */
    if (m0 >= rows || n0 >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < RM * (RN / 4); i++)
        sum[i] = vec4(0.0);
    fetch(begin);
    for (uint k0 = begin; k0 < end; k0 += BK) {
        barrier();
        stage();
        barrier();
        if (WHOLE && DUAL == 0) /* the last chunk once more, rather than a branch */
            fetch(min(k0 + BK, end - BK));
        else if (k0 + BK < end)
            fetch(k0 + BK);
        for (uint k4 = 0; k4 < BK; k4 += 4) {
            [[unroll]] for (uint kk = 0; kk < 4; kk++) {
                const uint k = k4 + kk;
                vec4 b[RN / 4];
                [[unroll]] for (uint j = 0; j < RN / 4; j++)
                    b[j] = block_b[k * B_STRIDE + j * (BN / RN) + tn];
                [[unroll]] for (uint i = 0; i < RM / 4; i++) {
                    const vec4 a = block_a[k * A_STRIDE + i * (BM / RM) + tm];
                    [[unroll]] for (uint r = 0; r < 4; r++)
                        [[unroll]] for (uint j = 0; j < RN / 4; j++)
                            sum[(4 * i + r) * (RN / 4) + j] += a[r] * b[j];
                }
            }
        }
    }
    [[unroll]] for (uint i = 0; i < RM; i++) {
        const uint m = m0 + (i / 4 * (BM / RM) + tm) * 4 + i % 4;
        [[unroll]] for (uint j = 0; j < RN / 4; j++) {
            const uint n = n0 + (j * (BN / RN) + tn) * 4;
            const vec4 s = sum[i * (RN / 4) + j];
            if (m < rows && n < p.n)
                matmul_store_quad(above + m, n, s);
        }
    }
}
