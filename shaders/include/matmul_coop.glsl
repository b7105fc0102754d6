/* matmul_coop.glsl - y[m,n] = alpha * sum_k op(a)[m,k] * op(b)[k,n] + bias[n] + acc[m,n]
 * on matrix cores; T is the 16-bit type of operands, T4 four of them.
 *
 *   NT  a (M, K)  b (N, K) any format;   NN  b (K, N) any format;   TN  a (K, M)  b (K, N)
 *   ->  y (M, N);  a, y and TN's b f32, f16 or bf16;  every shape (y in 16 bits: N even)
 *
 * Both operands are rounded to 16 bits while they are staged in shared memory (as they lie in
 * memory, padded by 16 bytes a row); products and sums are f32.  A workgroup of SUB_M x SUB_N
 * subgroups makes a block of BM x BN elements in fragments of FM x FN x FK, the shape that the
 * device lists.  The next chunk of BK is in registers while this one is used.  At the end each
 * subgroup writes its fragments one at a time through shared memory, because how a fragment lies
 * in registers is not known. */
#ifndef APUS_MATMUL_COOP_GLSL
#define APUS_MATMUL_COOP_GLSL
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in; /* SUB_M * SUB_N subgroups */
layout(constant_id = 1) const uint KIND = APUS_MATMUL_NT;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint BM = 64;
layout(constant_id = 4) const uint BN = 64;
layout(constant_id = 5) const uint BK = 32;
layout(constant_id = 6) const uint SUB_M = 2;
layout(constant_id = 7) const uint SUB_N = 2;
layout(constant_id = 8) const uint FM = 16;
layout(constant_id = 9) const uint FN = 16;
layout(constant_id = 10) const uint FK = 16;
layout(constant_id = 11) const uint LOCAL = 128; /* constant 0 again: as a size of arrays */
layout(constant_id = 12) const uint A_TYPE = APUS_F32;
layout(constant_id = 13) const uint Y_TYPE = APUS_F32;
layout(constant_id = 14) const uint DUAL = 0; /* 1: chunks of the second product come behind */
layout(push_constant) uniform Push { apus_matmul_push p; };
#include "matmul_epilogue.glsl"
#include "matmul_load.glsl"

const bool A_BY_K = KIND == APUS_MATMUL_TN, B_BY_K = KIND != APUS_MATMUL_NT; /* rows of the block
                                                                                are k */
const uint A_ROWS = A_BY_K ? BK : BM, A_COLS = A_BY_K ? BM : BK;
const uint B_ROWS = B_BY_K ? BK : BN, B_COLS = B_BY_K ? BN : BK;
const uint A_STRIDE = A_COLS / 4 + 2, B_STRIDE = B_COLS / 4 + 2; /* in quads */
const uint A_QUADS = BM * BK / 4, B_QUADS = BN * BK / 4;
const uint A_LOADS = (A_QUADS + LOCAL - 1) / LOCAL, B_LOADS = (B_QUADS + LOCAL - 1) / LOCAL;
const uint SUB_ROWS = BM / SUB_M / FM, SUB_COLS = BN / SUB_N / FN; /* fragments of a subgroup */

shared T4 block_a[A_ROWS * A_STRIDE];
shared T4 block_b[B_ROWS * B_STRIDE];
shared float block_y[SUB_M * SUB_N * FM * FN];

/* What is stored in a format of f16's range, or is rounded to one of f32's, needs nothing. */
T4 narrowed(vec4 x, uint type)
{
#ifdef T_LARGEST
    if (type != APUS_F16) /* beyond it is its largest number, not infinity */
        [[unroll]] for (uint i = 0; i < 4; i++)
            x[i] = abs(x[i]) > T_LARGEST && !isinf(x[i]) ? sign(x[i]) * T_LARGEST : x[i];
#endif
    return T4(x);
}

T4 next_a[A_LOADS], next_b[B_LOADS];
uint m0, n0, rows, sum_k;
uint first_k; /* k of the chunks of the first product */

T4 quad_a(uint row, uint quad, uint k0)
{
    if (DUAL == 1 && k0 >= first_k)
        return narrowed(p.beta * matmul_load4(APUS_F32, p.a2, m0 + row, p.m, p.k2,
                                              (k0 - first_k) / 4 + quad), APUS_F32);
    return narrowed(A_BY_K ? matmul_load4(A_TYPE, p.a, k0 + row, sum_k, p.m, m0 / 4 + quad)
                           : matmul_load4(A_TYPE, p.a, m0 + row, p.m, p.k, k0 / 4 + quad),
                    A_TYPE);
}

T4 quad_b(uint row, uint quad, uint k0)
{
    if (DUAL == 1 && k0 >= first_k) {
        const uint k = k0 - first_k;
        return narrowed(B_BY_K
                            ? matmul_load4(APUS_F32, p.b2, k + row, p.k2, p.n, n0 / 4 + quad)
                            : matmul_load4(APUS_F32, p.b2, n0 + row, p.n, p.k2, k / 4 + quad),
                        APUS_F32);
    }
    return narrowed(B_BY_K ? matmul_load4(B_TYPE, p.b, k0 + row, sum_k, p.n, n0 / 4 + quad)
                           : matmul_load4(B_TYPE, p.b, n0 + row, p.n, p.k, k0 / 4 + quad),
                    B_TYPE);
}

void fetch(uint k0)
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_QUADS % LOCAL != 0 && i >= A_QUADS)
            break;
        next_a[s] = quad_a(i / (A_COLS / 4), i % (A_COLS / 4), k0);
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_QUADS % LOCAL != 0 && i >= B_QUADS)
            break;
        next_b[s] = quad_b(i / (B_COLS / 4), i % (B_COLS / 4), k0);
    }
}

void stage()
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_QUADS % LOCAL != 0 && i >= A_QUADS)
            break;
        block_a[i / (A_COLS / 4) * A_STRIDE + i % (A_COLS / 4)] = next_a[s];
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_QUADS % LOCAL != 0 && i >= B_QUADS)
            break;
        block_b[i / (B_COLS / 4) * B_STRIDE + i % (B_COLS / 4)] = next_b[s];
    }
}

/* A fragment of the subgroup, now in block_y from `from` on: its pairs by lanes. */
void store_fragment(uint from, uint m_at, uint n_at)
{
    for (uint i = gl_SubgroupInvocationID; i < FM * FN / 2; i += LOCAL / (SUB_M * SUB_N)) {
        const uint m = m_at + 2 * i / FN, n = n_at + 2 * i % FN;
        if (m < rows && n < p.n)
            matmul_store2(m, n, vec2(block_y[from + 2 * i], block_y[from + 2 * i + 1]));
    }
}

void main()
{
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint sub_m = gl_SubgroupID / SUB_N * (BM / SUB_M), sub_n =
        gl_SubgroupID % SUB_N * (BN / SUB_N);
    coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator> sum[SUB_ROWS * SUB_COLS];

    m0 = gl_WorkGroupID.x * BM;
    n0 = gl_WorkGroupID.y * BN;
    rows = KIND == APUS_MATMUL_TN ? p.m : min(live, p.m);
    sum_k = KIND == APUS_MATMUL_TN ? min(live, p.k) : p.k;
    first_k = (sum_k + BK - 1) / BK * BK;
    const uint end = DUAL == 1 ? first_k + p.k2 : sum_k;
    if (m0 >= rows)
        return;
    [[unroll]] for (uint i = 0; i < SUB_ROWS * SUB_COLS; i++)
        sum[i] = coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator>(0.0);
    fetch(0);
    for (uint k0 = 0; k0 < end; k0 += BK) {
        barrier();
        stage();
        barrier();
        if (k0 + BK < end)
            fetch(k0 + BK);
        [[unroll]] for (uint k = 0; k < BK; k += FK) {
            coopmat<T, gl_ScopeSubgroup, FM, FK, gl_MatrixUseA> a[SUB_ROWS];
            [[unroll]] for (uint i = 0; i < SUB_ROWS; i++) {
                const uint m = sub_m + i * FM;
                if (A_BY_K)
                    coopMatLoad(a[i], block_a, k * A_STRIDE + m / 4, A_STRIDE,
                                gl_CooperativeMatrixLayoutColumnMajor);
                else
                    coopMatLoad(a[i], block_a, m * A_STRIDE + k / 4, A_STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint j = 0; j < SUB_COLS; j++) {
                const uint n = sub_n + j * FN;
                coopmat<T, gl_ScopeSubgroup, FK, FN, gl_MatrixUseB> b;
                if (B_BY_K)
                    coopMatLoad(b, block_b, k * B_STRIDE + n / 4, B_STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
                else
                    coopMatLoad(b, block_b, n * B_STRIDE + k / 4, B_STRIDE,
                                gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < SUB_ROWS; i++)
                    sum[i * SUB_COLS + j] = coopMatMulAdd(a[i], b, sum[i * SUB_COLS + j]);
            }
        }
    }
    const uint from = gl_SubgroupID * FM * FN;
    [[unroll]] for (uint i = 0; i < SUB_ROWS; i++)
        [[unroll]] for (uint j = 0; j < SUB_COLS; j++) {
            barrier();
            coopMatStore(sum[i * SUB_COLS + j], block_y, from, FN,
                gl_CooperativeMatrixLayoutRowMajor);
            barrier();
            store_fragment(from, m0 + sub_m + i * FM, n0 + sub_n + j * FN);
        }
}

#endif
