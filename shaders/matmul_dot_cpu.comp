#version 450
/* y[n] = alpha * sum_k a[k] b[n,k] + bias[n] + acc[n] for CPU drivers: mat-vec by dot products.
 *
 *   a (1, K)  b (N, K) any format  ->  y (1, N);  a, y f32, f16 or bf16;  K a multiple of 32, N
 *   even where y has 16 bits
 *
 * One subgroup a workgroup and as many rows of b as it has lanes; the lanes lie along K.  Every
 * address is the same for all lanes, so that the driver makes one load and a broadcast, in the
 * order of memory; an address a lane is a gather, and as many streams as there are rows.  Of each
 * word a lane takes its bits.  In the end the lanes exchange their sums: lane r has row r's.  The
 * rows of a workgroup lie far apart, and the next workgroup has the next of each: long streams, in
 * pages of their own, which the processor fetches ahead (1.6 times as fast as rows side by side).
 * Words of 16-bit results take rows side by side. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "mem.glsl"
#include "args/matmul.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint B_TYPE = APUS_F32;
layout(constant_id = 2) const uint LANES = 4; /* as constant 0: 4, 8, 16 or 32 */
layout(constant_id = 3) const uint A_TYPE = APUS_F32;
layout(constant_id = 4) const uint Y_TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_matmul_push p; };
#define MATMUL_LANES
#include "matmul_epilogue.glsl"

/* A block is 32 k: WORDS words of 2^SHIFT weights; PIECES pieces with a k for each lane. */
const uint SHIFT = B_TYPE == APUS_F32 ? 0 : B_TYPE <= APUS_BF16 ? 1 : B_TYPE == APUS_Q8_0 ? 2 : 3;
const uint WORDS = 32 >> SHIFT, PIECES = 32 / LANES;

uint lane;
uvec4 words[8]; /* of a block: WORDS / 4 of them */
float x[PIECES];
float sum[LANES];

/* The lane's elements of block c of a. */
void load_x(uint c)
{
    [[unroll]] for (uint j = 0; j < PIECES; j++)
        [[unroll]] for (uint i = 0; i < LANES / 4; i++) {
            const vec4 v = apus_load4(A_TYPE, p.a, (32 * c + j * LANES) / 4 + i);
            [[unroll]] for (uint e = 0; e < 4; e++)
                x[j] = i + e == 0 || lane == 4 * i + e ? v[e] : x[j];
        }
}

/* The lane's weight of piece j; without the block's scale for q8_0 and q4_0. */
float weight(uint j, vec2 s)
{
    const uint first = j * LANES >> SHIFT, n_words = LANES >> SHIFT, k = j * LANES + lane;
    uint word = words[first >> 2][first & 3];

    [[unroll]] for (uint i = 1; i < n_words; i++)
        word = (lane >> SHIFT) == i ? words[(first + i) >> 2][(first + i) & 3] : word;
    if (B_TYPE == APUS_F32)
        return uintBitsToFloat(word);
    if (B_TYPE == APUS_F16)
        return unpackHalf2x16(word >> (16 * (k & 1))).x;
    if (B_TYPE == APUS_BF16)
        return uintBitsToFloat((word >> (16 * (k & 1))) << 16);
    if (B_TYPE == APUS_Q8_0)
        return float(int(word << (24 - 8 * (k & 3))) >> 24);
    const int q = int(word >> (8 * (k & 3) + (k & 4))) & 15;
    return B_TYPE == APUS_Q4_0 ? float(q - 8) : float(q) * s.x + s.y;
}

/* The lane's part of block c of row n. */
float block(uint n, uint c)
{
    const uint at = n * (p.k >> 5) + c;
    vec2 s = vec2(1.0, 0.0);
    float part = 0.0;

    if (B_TYPE >= APUS_Q8_0)
        s = apus_block_scale(B_TYPE, p.scales, n, p.scale_words, c);
    [[unroll]] for (uint i = 0; i < WORDS / 4; i++)
        words[i] = BufU4(p.b).v[at * (WORDS / 4) + i];
    [[unroll]] for (uint j = 0; j < PIECES; j++)
        part += weight(j, s) * x[j];
    return B_TYPE == APUS_Q8_0 || B_TYPE == APUS_Q4_0 ? s.x * part : part;
}

/* Halve the rows that a lane has the sums of, and double the lanes that are in them. */
void exchange()
{
    [[unroll]] for (uint d = LANES / 2; d > 0; d /= 2) {
        const bool high = (lane & d) != 0;
        [[unroll]] for (uint r = 0; r < d; r++) {
            const float keep = high ? sum[r + d] : sum[r], give = high ? sum[r] : sum[r + d];
            sum[r] = keep + subgroupShuffleXor(give, d);
        }
    }
}

void main()
{
    lane = gl_SubgroupInvocationID;
    const uint n0 = Y_TYPE == APUS_F32 ? gl_WorkGroupID.x : gl_WorkGroupID.x * LANES;
    const uint apart = Y_TYPE == APUS_F32 ? gl_NumWorkGroups.x : 1;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);

    [[unroll]] for (uint r = 0; r < LANES; r++)
        sum[r] = 0.0;
    uint c = 0;
    do {
        load_x(c);
        [[unroll]] for (uint r = 0; r < LANES; r++)
            sum[r] += block(min(n0 + r * apart, p.n - 1), c);
    } while (++c < p.k >> 5);
    exchange();
    const uint n = n0 + lane * apart;
    if (n < p.n && rows > 0)
        matmul_store_lane(0, n, sum[0]);
}
