#version 450
/* y[m,n] = alpha * sum_k a[m,k] * b[n,k] + bias[n] + acc[m,n] by integer products of bytes.
 *
 *   a (M, K) f32, f16 or bf16   b (N, K) in a quantized format   ->   y (M, N) f32, f16 or bf16
 *
 * Each block of 32 elements of a is rounded on its way into shared memory to bytes and a scale, its
 * largest absolute value over 127, as GGML's q8_0 and q8_1 are: an element is off by at most half
 * that scale.  Quants of b (at most 8 bits) stay as they are:
 *
 *   sum over a block of a b = s (d sum(q p) + m sum(q)),   a = s q,   b = d p + m
 *
 * with d and m for each half block where the format has them so.  Sums of bytes are exact, sums of
 * blocks f32, in the order of k.  A workgroup makes BM x BN elements, an invocation RM x RN of
 * them, a chunk of two blocks of k at a time. */
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_spirv_intrinsics : require
#include "quant.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in; /* BM / RM * BN / RN */
layout(constant_id = 1) const uint B_TYPE = APUS_Q8_0;
layout(constant_id = 2) const uint BM = 64;
layout(constant_id = 3) const uint BN = 64;
layout(constant_id = 4) const uint RM = 4;
layout(constant_id = 5) const uint RN = 4;
layout(constant_id = 6) const uint A_TYPE = APUS_F32;
layout(constant_id = 7) const uint Y_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };
#include "matmul_epilogue.glsl"

/* OpSDot of SPV_KHR_integer_dot_product on four signed bytes a word; by its number, since glslang
 * has had a function for it only since 2025. */
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019],
                  id = 4450)
int apus_dot4(uint a, uint b, spirv_literal uint format); /* 0: PackedVectorFormat4x8Bit */

const uint LOCAL = (BM / RM) * (BN / RN);
const uint BLOCKS = 2, STRIDE = 2 * BLOCKS + 1; /* units of 16 bytes a row, padded against bank
                                                   conflicts */
const uint HALVES = B_TYPE == APUS_Q6_K ? 2 : 1; /* scales of b in a block */
const bool OFFSETS = B_TYPE != APUS_Q8_0;        /* m is not 0 */
const uint SCALES = BLOCKS * HALVES;             /* a row */

shared uvec4 block_a[BM * STRIDE], block_b[BN * STRIDE];
shared vec2 scale_a[BM * SCALES]; /* s, s sum(q) */
shared vec2 scale_b[BN * SCALES]; /* d, m */

/* Where row n of b lies: neighbours, which have quads of rows, read neighbouring ones at a time. */
uint place_b(uint n)
{
    return (n & 3u) * (BN / 4) + (n >> 2);
}

int sum_of(uvec4 q)
{
    return apus_dot4(q.x, 0x01010101u, 0u) + apus_dot4(q.y, 0x01010101u, 0u) +
           apus_dot4(q.z, 0x01010101u, 0u) + apus_dot4(q.w, 0x01010101u, 0u);
}

/* Block `b` of row `row` of a as block `c` of the chunk, in row `to`. */
void stage_a(uint to, uint c, uint row, uint b)
{
    vec4 x[8];
    uint bits = 0; /* of the largest absolute value, which are in the same order */

    [[unroll]] for (uint i = 0; i < 8; i++) {
        x[i] = apus_load4(A_TYPE, p.a, row * (p.k >> 2) + 8 * b + i);
        const uvec4 size = floatBitsToUint(x[i]) & 0x7fffffffu;
        bits = max(bits, max(max(size.x, size.y), max(size.z, size.w)));
    }
    const float most = uintBitsToFloat(bits);
    const float inverse = most > 1e-30 ? 1.0 / most : 0.0; /* below it counts as 0 */
    /* What is not finite is NaN, whatever its bytes are. */
    const float s = bits >= 0x7f800000u ? uintBitsToFloat(0x7fc00000u)
                    : most > 1e-30      ? most / 127.0
                                        : 0.0;
    int sum = 0;
    [[unroll]] for (uint h = 0; h < 2; h++) {
        uvec4 q;
        [[unroll]] for (uint i = 0; i < 4; i++)
            q[i] = packSnorm4x8(x[4 * h + i] * inverse);
        block_a[to * STRIDE + 2 * c + h] = q;
        if (OFFSETS)
            sum = (HALVES == 2 ? 0 : sum) + sum_of(q);
        if (HALVES == 2)
            scale_a[to * SCALES + 2 * c + h] = vec2(s, s * float(sum));
    }
    if (HALVES == 1)
        scale_a[to * SCALES + c] = vec2(s, s * float(sum));
}

/* The same of b. */
void stage_b(uint to, uint c, uint row, uint b)
{
    const uint blocks = p.k >> 5, at = row * blocks + b;
    uvec4 q[2];

    if (B_TYPE == APUS_Q8_0) {
        const apus_u8 w = BufU8(p.b).v[at];
        q[0] = w.lo;
        q[1] = w.hi;
    } else {
        const uvec4 w = BufU4(p.b).v[at];
        const uvec2 high = apus_highs(B_TYPE, p.scales, row, p.scale_words, b);
        [[unroll]] for (uint i = 0; i < 8; i++)
            q[i / 4][i % 4] = apus_quants(B_TYPE, w[i / 2], high[i / 4], i);
    }
    block_b[to * STRIDE + 2 * c] = q[0];
    block_b[to * STRIDE + 2 * c + 1] = q[1];
    [[unroll]] for (uint h = 0; h < HALVES; h++)
        scale_b[to * SCALES + HALVES * c + h] =
            apus_scale(B_TYPE, p.scales, row, p.scale_words, blocks, 2 * b + h);
}

/* Two blocks of k of all rows, from block b0 on.  Rows beyond the end are the last one, whose
 * results are not stored; a block beyond the end is the last one, and is not used. */
void stage(uint m0, uint n0, uint b0)
{
    const uint blocks = p.k >> 5;

    [[unroll]] for (uint s = 0; s < (BM + BN) * BLOCKS; s += LOCAL) {
        const uint i = s + gl_LocalInvocationID.x, c = i % BLOCKS, b = min(b0 + c, blocks - 1);
        if (i < BM * BLOCKS)
            stage_a(i / BLOCKS, c, min(m0 + i / BLOCKS, p.m - 1), b);
        else if (i < (BM + BN) * BLOCKS)
            stage_b(place_b(i / BLOCKS - BM), c, min(n0 + i / BLOCKS - BM, p.n - 1), b);
    }
}

float sum[RM * RN];

/* What the staged block `c` adds to the sums. */
void multiply(uint tm, uint tn, uint c)
{
    [[unroll]] for (uint h = 0; h < HALVES; h++) {
        int part[RM * RN];
        [[unroll]] for (uint i = 0; i < RM * RN; i++)
            part[i] = 0;
        [[unroll]] for (uint u = 0; u < 2 / HALVES; u++) {
            const uint at = 2 * c + (HALVES == 2 ? h : u);
            uvec4 b[RN];
            [[unroll]] for (uint j = 0; j < RN; j++)
                b[j] = block_b[(j % 4 * (BN / 4) + j / 4 * (BN / RN) + tn) * STRIDE + at];
            [[unroll]] for (uint i = 0; i < RM; i++) {
                const uvec4 a = block_a[(i * (BM / RM) + tm) * STRIDE + at];
                [[unroll]] for (uint j = 0; j < RN; j++)
                    [[unroll]] for (uint w = 0; w < 4; w++)
                        part[i * RN + j] += apus_dot4(a[w], b[j][w], 0u);
            }
        }
        [[unroll]] for (uint j = 0; j < RN; j++) {
            const vec2 by = scale_b[(j % 4 * (BN / 4) + j / 4 * (BN / RN) + tn) * SCALES +
                                    HALVES * c + h];
            [[unroll]] for (uint i = 0; i < RM; i++) {
                const vec2 ax = scale_a[(i * (BM / RM) + tm) * SCALES + HALVES * c + h];
                sum[i * RN + j] += ax.x * by.x * float(part[i * RN + j]);
                if (OFFSETS)
                    sum[i * RN + j] += ax.y * by.y;
            }
        }
    }
}

void main()
{
    const uint rows = min(
        apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul), p.m);
    const uint tm = gl_LocalInvocationID.x / (BN / RN), tn = gl_LocalInvocationID.x % (BN / RN);
    const uint m0 = gl_WorkGroupID.x * BM, n0 = gl_WorkGroupID.y * BN, blocks = p.k >> 5;

    if (m0 >= rows || n0 >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < RM * RN; i++)
        sum[i] = 0.0;
    for (uint b0 = 0; b0 < blocks; b0 += BLOCKS) {
        barrier();
        stage(m0, n0, b0);
        barrier();
        [[unroll]] for (uint c = 0; c < BLOCKS; c++)
            if (b0 + c < blocks)
                multiply(tm, tn, c);
    }
    [[unroll]] for (uint i = 0; i < RM; i++) {
        const uint m = m0 + i * (BM / RM) + tm;
        [[unroll]] for (uint j = 0; j < RN / 4; j++) {
            const uint n = n0 + (j * (BN / RN) + tn) * 4;
            const vec4 s = vec4(sum[i * RN + 4 * j], sum[i * RN + 4 * j + 1],
                                sum[i * RN + 4 * j + 2], sum[i * RN + 4 * j + 3]);
            if (m < rows && n < p.n)
                matmul_store_quad(m, n, s);
        }
    }
}
