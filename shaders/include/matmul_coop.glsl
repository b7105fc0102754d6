/* matmul_coop.glsl - y[m,n] = alpha * sum_k op(a)[m,k] * op(b)[k,n] + bias[n] + acc[m,n]
 * on matrix cores; T is the 16-bit type of operands, T_TYPE its number, T_BITS four rounded to it.
 *
 *   NT  a (M, K)  b (N, K) any format;   NN  b (K, N) any format;   TN  a (K, M)  b (K, N)
 *   ->  y (M, N);  a, y and TN's b f32, f16 or bf16;  every shape (y in 16 bits: N even)
 *
 * Both operands are rounded to 16 bits while they are staged in shared memory (as they lie in
 * memory, padded by 16 bytes a row); products and sums are f32.  A workgroup of SUB_M x SUB_N
 * subgroups makes a block of BM x BN elements in fragments of FM x FN x FK, the shape that the
 * device lists.  The next chunk of BK is in registers while this one is used.  At the end each
 * subgroup writes its fragments one at a time through shared memory, because how a fragment lies
 * in registers is not known.
 * PARTS: z is a part of k, whose sums are a matrix of their own (matmul_sum.comp adds them up). */
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
layout(constant_id = 16) const uint EDGES = APUS_MATMUL_ANY; /* matmul_load.glsl */
layout(constant_id = 17) const uint PARTS = 0; /* 1: z is a part of the sum, a matrix of its own */
layout(push_constant) uniform Push { apus_matmul_push p; };
#include "matmul_epilogue.glsl"
#include "matmul_load.glsl"
#include "narrow.glsl"

const bool A_BY_K = KIND == APUS_MATMUL_TN, B_BY_K = KIND != APUS_MATMUL_NT; /* rows of the block
                                                                                are k */
const bool WHOLE = EDGES == APUS_MATMUL_WHOLE;
/* Units of eight elements, 16 bytes: what a lane copies and what shared memory is an array of. */
const uint A_COLS = (A_BY_K ? BM : BK) / 8, B_COLS = (B_BY_K ? BN : BK) / 8;
const uint A_ROWS = A_BY_K ? BK : BM, B_ROWS = B_BY_K ? BK : BN;
const uint A_STRIDE = A_COLS + 1, B_STRIDE = B_COLS + 1;
const uint A_UNITS = BM * BK / 8, B_UNITS = BN * BK / 8;
const uint A_LOADS = (A_UNITS + LOCAL - 1) / LOCAL, B_LOADS = (B_UNITS + LOCAL - 1) / LOCAL;
const uint SUB_ROWS = BM / SUB_M / FM, SUB_COLS = BN / SUB_N / FN; /* fragments of a subgroup */

shared uvec4 block_a[A_ROWS * A_STRIDE];
shared uvec4 block_b[B_ROWS * B_STRIDE];
shared vec4 block_y[SUB_M * SUB_N * FM * FN / 4];

uvec4 next_a[A_LOADS], next_b[B_LOADS];
uint m0, n0, rows, sum_k;
uint first_k; /* k of the chunks of the first product */

/* Elements 8u .. 8u+7 of row `row` of (all, cols), as they are or as two quads. */
uvec4 unit_of(uint type, uvec2 at, uint row, uint all, uint cols, uint u, bool k_rows)
{
    if (WHOLE && type == T_TYPE) {
        const uint r = k_rows ? row : min(row, all - 1), last = (cols >> 3) - 1;
        return BufU4(at).v[r * (cols >> 3) + (k_rows ? min(u, last) : u)];
    }
    return uvec4(narrowed(matmul_load4(type, at, row, all, cols, 2 * u, k_rows, WHOLE), type),
                 narrowed(matmul_load4(type, at, row, all, cols, 2 * u + 1, k_rows, WHOLE), type));
}

/* The same of the second product, which is f32. */
uvec4 second_unit(uvec2 at, uint row, uint all, uint cols, uint u, bool k_rows, float factor)
{
    return uvec4(
        narrowed(factor * matmul_load4(APUS_F32, at, row, all, cols, 2 * u, k_rows, false),
                 APUS_F32),
        narrowed(factor * matmul_load4(APUS_F32, at, row, all, cols, 2 * u + 1, k_rows, false),
                 APUS_F32));
}

uvec4 unit_a(uint row, uint u, uint k0)
{
    if (DUAL == 1 && k0 >= first_k)
        return second_unit(p.a2, m0 + row, p.m, p.k2, (k0 - first_k) / 8 + u, false, p.beta);
    return A_BY_K ? unit_of(A_TYPE, p.a, k0 + row, sum_k, p.m, m0 / 8 + u, true)
                  : unit_of(A_TYPE, p.a, m0 + row, p.m, p.k, k0 / 8 + u, false);
}

uvec4 unit_b(uint row, uint u, uint k0)
{
    if (DUAL == 1 && k0 >= first_k) {
        const uint k = k0 - first_k;
        return B_BY_K ? second_unit(p.b2, k + row, p.k2, p.n, n0 / 8 + u, true, 1.0)
                      : second_unit(p.b2, n0 + row, p.n, p.k2, k / 8 + u, false, 1.0);
    }
    return B_BY_K ? unit_of(B_TYPE, p.b, k0 + row, sum_k, p.n, n0 / 8 + u, true)
                  : unit_of(B_TYPE, p.b, n0 + row, p.n, p.k, k0 / 8 + u, false);
}

void fetch(uint k0)
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_UNITS % LOCAL != 0 && i >= A_UNITS)
            break;
        next_a[s] = unit_a(i / A_COLS, i % A_COLS, k0);
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_UNITS % LOCAL != 0 && i >= B_UNITS)
            break;
        next_b[s] = unit_b(i / B_COLS, i % B_COLS, k0);
    }
}

void stage()
{
    [[unroll]] for (uint s = 0; s < A_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (A_UNITS % LOCAL != 0 && i >= A_UNITS)
            break;
        block_a[i / A_COLS * A_STRIDE + i % A_COLS] = next_a[s];
    }
    [[unroll]] for (uint s = 0; s < B_LOADS; s++) {
        const uint i = gl_LocalInvocationID.x + s * LOCAL;
        if (B_UNITS % LOCAL != 0 && i >= B_UNITS)
            break;
        block_b[i / B_COLS * B_STRIDE + i % B_COLS] = next_b[s];
    }
}

/* A fragment of the subgroup, now in block_y from `from` on, by lanes. */
void store_fragment(uint from, uint m_at, uint n_at)
{
    const uint lanes = LOCAL / (SUB_M * SUB_N);
    const uint above = PARTS == 1 ? gl_WorkGroupID.z * p.m : 0; /* rows of the parts before */

    for (uint i = gl_SubgroupInvocationID; i < FM * FN / 4; i += lanes) {
        const uint m = m_at + 4 * i / FN, n = n_at + 4 * i % FN;
        const vec4 y = block_y[from + i];
        if (m >= rows)
            continue;
        if (EDGES != APUS_MATMUL_ANY) {
            if (n < p.n)
                matmul_store4(above + m, n / 4, y);
            continue;
        }
        if (n < p.n)
            matmul_store2(above + m, n, y.xy);
        if (n + 2 < p.n)
            matmul_store2(above + m, n + 2, y.zw);
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
    const uint all = DUAL == 1 ? first_k + p.k2 : sum_k;
    const uint begin = PARTS == 1 ? gl_WorkGroupID.z * p.part : 0;
    const uint end = PARTS == 1 ? min(begin + p.part, all) : all;
    if (m0 >= rows)
        return;
    [[unroll]] for (uint i = 0; i < SUB_ROWS * SUB_COLS; i++)
        sum[i] = coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator>(0.0);
    fetch(begin);
    for (uint k0 = begin; k0 < end; k0 += BK) {
        barrier();
        stage();
        barrier();
        if (WHOLE && DUAL == 0) /* the last chunk once more, rather than a branch */
            fetch(min(k0 + BK, end - BK));
        else if (k0 + BK < end)
            fetch(k0 + BK);
        [[unroll]] for (uint k = 0; k < BK; k += FK) {
            coopmat<T, gl_ScopeSubgroup, FM, FK, gl_MatrixUseA> a[SUB_ROWS];
            [[unroll]] for (uint i = 0; i < SUB_ROWS; i++) {
                const uint m = sub_m + i * FM;
                if (A_BY_K)
                    coopMatLoad(a[i], block_a, k * A_STRIDE + m / 8, A_STRIDE,
                                gl_CooperativeMatrixLayoutColumnMajor);
                else
                    coopMatLoad(a[i], block_a, m * A_STRIDE + k / 8, A_STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
            }
            [[unroll]] for (uint j = 0; j < SUB_COLS; j++) {
                const uint n = sub_n + j * FN;
                coopmat<T, gl_ScopeSubgroup, FK, FN, gl_MatrixUseB> b;
                if (B_BY_K)
                    coopMatLoad(b, block_b, k * B_STRIDE + n / 8, B_STRIDE,
                                gl_CooperativeMatrixLayoutRowMajor);
                else
                    coopMatLoad(b, block_b, n * B_STRIDE + k / 8, B_STRIDE,
                                gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < SUB_ROWS; i++)
                    sum[i * SUB_COLS + j] = coopMatMulAdd(a[i], b, sum[i * SUB_COLS + j]);
            }
        }
    }
    const uint from = gl_SubgroupID * FM * FN / 4;
    [[unroll]] for (uint i = 0; i < SUB_ROWS; i++)
        [[unroll]] for (uint j = 0; j < SUB_COLS; j++) {
            barrier();
            coopMatStore(sum[i * SUB_COLS + j], block_y, from, FN / 4,
                gl_CooperativeMatrixLayoutRowMajor);
            barrier();
            store_fragment(from, m0 + sub_m + i * FM, n0 + sub_n + j * FN);
        }
}

#endif
