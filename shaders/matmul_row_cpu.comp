#version 450
/* y[m,n] = alpha * sum_k op(a)[m,k] b[k,n] + acc[m,n] for CPU drivers with cheap uniform loads:
 * register tile.
 *
 *   NN: a (M, K), b (K, N) any format;  K a multiple of 4 UNROLL
 *   TN: a (K, M), b (K, N);  M a multiple of 4; K is the live row count
 *   ->  y (M, N);  a, y, and b of TN f32, f16 or bf16;  N a multiple of 32
 *
 * One subgroup a workgroup, 32 columns and TM rows; lanes lie along rows of b (lanes.glsl), the
 * addresses of `a` are the same for all.  Workgroups that have the same columns come one after the
 * other, so that these are near when they are read again: 1.3 times as fast where b is larger than
 * the caches.  Sums run in the order of k. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "mem.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 32;    /* TN: a multiple of 4 */
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint UNROLL = 1; /* NN: 4 k in one turn of the loop; 2: 8 k */
layout(constant_id = 4) const uint CLAMP = 0;  /* 1: TM does not divide the largest M */
layout(constant_id = 5) const uint LANES = 8;  /* as constant 0: 4, 8 or 16 */
layout(constant_id = 6) const uint A_TYPE = APUS_F32;
layout(constant_id = 7) const uint Y_TYPE = APUS_F32;
layout(constant_id = 8) const uint DUAL = 0;  /* 1: beta * sum_k a2[m,k] b2[k,n] is added */
layout(constant_id = 9) const uint BATCH = 0; /* several products: matmul_args.glsl */
layout(constant_id = 10) const uint TRANSPOSED = 0; /* 1: TN */
#include "matmul_args.glsl"
#include "lanes.glsl"
#define MATMUL_LANES
#include "matmul_epilogue.glsl"

const uint AT_ONCE = 4; /* TN: k in one turn of the loop */
const uint WIDE = 32 / LANES, PIECES = 32 / CHUNK; /* columns a lane, and what has them */

float w[WIDE]; /* the lane's weights of a row of b */
float sum[TM * WIDE];

/* Row k of b, 32 elements number `block`, of `blocks` a row, to w. */
void load_row(uint k, uint block, uint blocks)
{
    const uint at = k * blocks + block;

    [[unroll]] for (uint j = 0; j < PIECES; j++) {
        if (!QUANT) {
            w[j] = own_element(B_TYPE, p.b, at, j, 0);
            continue;
        }
        const uint column = 32 * block + j * CHUNK;
        const uint byte = own_byte(p.b, at, j);
        const uint high = own_high(p.scales, k, p.scale_words, column);
        const vec2 s = own_scale(p.scales, k, p.scale_words, blocks, column);
        [[unroll]] for (uint h = 0; h < PER; h++)
            w[j * PER + h] = scaled(own_quant(byte, high, j, h * 4), s);
    }
}

/* Add w times what row i of the tile has of a. */
void add_row(uint i, float a)
{
    [[unroll]] for (uint v = 0; v < WIDE; v++)
        sum[i * WIDE + v] = fma(a, w[v], sum[i * WIDE + v]);
}

/* NN: the whole sum. */
void add_all(uint m0, uint block, uint blocks)
{
    const uint turns = (p.k >> 2) / UNROLL;
    const uint row0 = m0 * turns, last = (p.m - 1) * turns; /* see matmul_nt_cpu.comp */
    uint c = 0;

    do {
        vec4 a[TM * UNROLL];
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint row = row0 + c + i * turns, at = CLAMP == 1 ? min(row, last + c) : row;
            if (UNROLL == 2)
                apus_load8(A_TYPE, p.a, at, a[i * UNROLL], a[i * UNROLL + UNROLL - 1]);
            else
                a[i * UNROLL] = apus_load4(A_TYPE, p.a, at);
        }
        [[unroll]] for (uint k = 0; k < 4 * UNROLL; k++) {
            load_row(4 * UNROLL * c + k, block, blocks);
            [[unroll]] for (uint i = 0; i < TM; i++)
                add_row(i, a[i * UNROLL + k / 4][k % 4]);
        }
    } while (++c < turns);
}

/* TN: rows k .. k + n_k - 1 of both. */
void add_rows(uint k, const uint n_k, uint m4, uint block, uint blocks)
{
    [[unroll]] for (uint j = 0; j < n_k; j++) {
        load_row(k + j, block, blocks);
        [[unroll]] for (uint i = 0; i < TM; i += 4) {
            const uint at = CLAMP == 1 ? min(m4 + i / 4, (p.m >> 2) - 1) : m4 + i / 4;
            const vec4 a = apus_load4(A_TYPE, p.a, (k + j) * (p.m >> 2) + at);
            [[unroll]] for (uint e = 0; e < 4; e++)
                add_row(i + e, a[e]);
        }
    }
}

void add_live(uint m0, uint block, uint blocks, uint live)
{
    uint k = 0;

    if (live >= AT_ONCE)
        do {
            add_rows(k, AT_ONCE, m0 / 4, block, blocks);
            k += AT_ONCE;
        } while (k + AT_ONCE <= live);
    if (k < live)
        do
            add_rows(k, 1, m0 / 4, block, blocks);
        while (++k < live);
}

/* The second product, of few k. */
void add_second(uint m0, uint block, uint blocks)
{
    const uint row0 = m0 * p.k2, last = (p.m - 1) * p.k2;
    uint k = 0;

    do {
        const uint at = k * blocks + block;
        [[unroll]] for (uint v = 0; v < WIDE; v++)
            w[v] = p.beta * own_element(APUS_F32, p.b2, at, v / PER, v % PER * 4);
        [[unroll]] for (uint i = 0; i < TM; i++) {
            const uint of_row = row0 + k + i * p.k2;
            add_row(i, BufF(p.a2).v[CLAMP == 1 ? min(of_row, last + k) : of_row]);
        }
    } while (++k < p.k2);
}

void main()
{
    take_product();
    const uint m0 = gl_WorkGroupID.x * TM, block = gl_WorkGroupID.y, blocks = p.n / 32;
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    const uint rows = TRANSPOSED == 1 ? p.m : live;

    if (m0 >= rows || block >= blocks)
        return;
    take_lane();
    [[unroll]] for (uint i = 0; i < TM * WIDE; i++)
        sum[i] = 0.0;
    if (TRANSPOSED == 1)
        add_live(m0, block, blocks, min(live, p.k));
    else
        add_all(m0, block, blocks);
    if (DUAL == 1)
        add_second(m0, block, blocks);
    [[unroll]] for (uint v = 0; v < WIDE; v++) {
        const uint u = LANES * (v / PER) + lane;
        const uint n = 32 * block + (PER == 2 ? u / 4 * 8 + v % 2 * 4 + u % 4 : u);
        [[unroll]] for (uint i = 0; i < TM; i++)
            if (m0 + i < rows)
                matmul_store_lane(m0 + i, n, sum[i * WIDE + v]);
    }
}
