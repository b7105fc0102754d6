#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[n,k] + bias[n] + acc[m,n] for CPU drivers and few rows m: mat-vec
 * by dot products, of one b or several (matmul_few.glsl).
 *
 *   a (M, K), M <= 8  b (N, K) any format  ->  y (M, N);  a, y f32, f16 or bf16;  K a multiple of
 *   TURN, N even where y has 16 bits
 *
 * One subgroup a workgroup and as many rows of b as it has lanes; the lanes lie along K.  Lane l
 * takes word l of as many words of a row as there are lanes.  Every address is the same for all
 * lanes and the words lie side by side, so that the driver's compiler makes one vector load of
 * them; an address a lane would be a gather.  The elements of a that belong to a lane's word are
 * brought to it once for all rows.  In the end the lanes exchange their sums: lane r has row r's.
 * The rows of a workgroup lie far apart, and the next workgroup has the next of each: long streams,
 * in pages of their own, which the processor fetches ahead (1.6 times as fast as rows side by
 * side).  Words of 16-bit results take rows side by side.
 *
 * Mesa unrolls loops from the inside: a loop whose length hangs on the loop around it stays, and
 * the arrays that it indexes go to memory (5 times as slow), so that each has its own length. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "quant.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint B_TYPE = APUS_F32;
layout(constant_id = 2) const uint LANES = 4; /* as constant 0: 4, 8, 16 or 32 */
layout(constant_id = 3) const uint TURN = 64; /* k in one turn of the loop: a multiple of 64 (f32,
                                                 f16, bf16, q8_0: of 32) and of LANES words */
layout(constant_id = 4) const uint TM = 1;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 7) const uint MEMBERS = 1;
layout(constant_id = 8) const uint PAIR = 0;
layout(constant_id = 9) const uint ADAPTED = 0;
layout(constant_id = 10) const uint NORM = 0;
#define MATMUL_LANES
#include "matmul_few.glsl"

/* A word has PER weights; a piece is a word for each lane, CHUNK weights; a turn has PIECES.  A
 * scale is of GRAIN weights. */
const uint SHIFT = B_TYPE == APUS_F32 ? 0 : B_TYPE <= APUS_BF16 ? 1 : B_TYPE == APUS_Q8_0 ? 2 : 3;
const uint PER = 1 << SHIFT, CHUNK = LANES << SHIFT, PIECES = TURN / CHUNK;
const uint GRAIN = B_TYPE == APUS_Q6_K ? 16 : 32;
const uint ROWS = PAIR != 0 ? 2 * LANES : LANES; /* of b in a workgroup; PAIR: of both matrices */
const bool QUANT = B_TYPE > APUS_BF16, OFFSET = QUANT && B_TYPE != APUS_Q8_0;

uint lane;
float x[TM * PIECES * PER]; /* the lane's elements of each row of a: PER of each piece */
float x_sum[TM * PIECES];   /* where quants have an offset: their sums */
float squares[TM];          /* NORM: of the lane's elements of a */
float sum[TM * ROWS];

/* Element LANES i + lane of those of a that begin at eight `at`. */
float own_element(uint type, uvec2 a, uint at, uint i)
{
    float own = 0.0;

    [[unroll]] for (uint e = 0; e < LANES; e += 8) {
        vec4 v[2];
        apus_load8(type, a, at + (LANES * i + e) / 8, v[0], v[1]);
        const uint first = LANES * i % 8; /* 4 lanes: half of the eight */
        [[unroll]] for (uint j = 0; j < min(LANES, 8); j++)
            own = lane == e + j ? v[(first + j) / 4][(first + j) % 4] : own;
    }
    return own;
}

float own_x(uint m, uint at, uint i)
{
    const float x = own_element(A_TYPE, p.a, m * (p.k / 8) + at, i);

    if (NORM == 0)
        return x;
    squares[m] = fma(x, x, squares[m]);
    return x * own_element(APUS_F32, few.norm, at, i);
}

/* Elements PER lane + e of a piece to x[first + e], from x[first + i], which have LANES i + lane.
 * Where a lane's words have no more weights than there are lanes, by halves (a transpose): bit b of
 * an element's vector and bit b of its lane change places, then the lanes lie in another order. */
void transpose(uint first)
{
    const uint SPAN = max(LANES / PER, 1);

    [[unroll]] for (uint d = 1; d < PER; d *= 2) {
        const bool high = (lane & d) != 0;
        [[unroll]] for (uint i = 0; i < PER; i++) {
            if ((i & d) != 0)
                continue;
            const float low = x[first + i], up = x[first + (i | d)];
            const float there = subgroupShuffleXor(high ? low : up, d);
            x[first + i] = high ? there : low;
            x[first + (i | d)] = high ? up : there;
        }
    }
    if (PER > 1 && SPAN > 1)
        [[unroll]] for (uint e = 0; e < PER; e++)
            x[first + e] = subgroupShuffle(x[first + e], lane % SPAN * PER + lane / SPAN);
}

/* Where they have more: each by shuffles of its own. */
void pick(uint first)
{
    float from[PER];

    [[unroll]] for (uint i = 0; i < PER; i++)
        from[i] = x[first + i];
    [[unroll]] for (uint e = 0; e < PER; e++) {
        const uint k = PER * lane + e;
        [[unroll]] for (uint i = 0; i < PER; i++) {
            const float there = subgroupShuffle(from[i], k % LANES);
            x[first + e] = k / LANES == i ? there : x[first + e];
        }
    }
}

/* The elements of a turn of row m of a, from eight `at` on, to the lanes that have their words. */
void load_x(uint m, uint at)
{
    [[unroll]] for (uint j = 0; j < PIECES; j++) {
        const uint piece = m * PIECES + j;
        [[unroll]] for (uint i = 0; i < PER; i++)
            x[piece * PER + i] = own_x(m, at, j * PER + i);
        if (PER <= LANES)
            transpose(piece * PER);
        else
            pick(piece * PER);
        x_sum[piece] = 0.0;
        [[unroll]] for (uint e = 0; e < PER; e++)
            x_sum[piece] += x[piece * PER + e];
    }
}

/* The lane's word of piece j of those that begin at eight `at`. */
uint own_word(uvec2 b, uint at, uint j)
{
    uint w = 0;

    [[unroll]] for (uint i = 0; i < LANES; i += 8) {
        const apus_u8 eight = BufU8(b).v[at + (j * LANES + i) / 8];
        const uint first = j * LANES % 8; /* 4 lanes: half of the eight */
        [[unroll]] for (uint e = 0; e < min(LANES, 8); e++) {
            const uint k = first + e;
            w = lane == i + e ? (k < 4 ? eight.lo[k & 3] : eight.hi[k & 3]) : w;
        }
    }
    return w;
}

/* The products of a word and the lane's elements of a from number `at` on, added to a sum; of
 * quants, with their upper bits, without the scale. */
float add_products(uint w, uint high, uint at, float sum)
{
    if (B_TYPE == APUS_F32)
        return fma(uintBitsToFloat(w), x[at], sum);
    if (B_TYPE <= APUS_BF16) {
        const vec2 b = B_TYPE == APUS_F16
                           ? unpackHalf2x16(w)
                           : vec2(uintBitsToFloat(w << 16), uintBitsToFloat(w & 0xffff0000u));
        return fma(b.y, x[at + 1], fma(b.x, x[at], sum));
    }
    [[unroll]] for (uint i = 0; i < PER / 4; i++) {
        const vec4 b = apus_quad(B_TYPE, w, high, lane * PER / 4 + i, vec2(1.0, 0.0));
        [[unroll]] for (uint e = 0; e < 4; e++)
            sum = fma(b[e], x[at + 4 * i + e], sum);
    }
    return sum;
}

/* The upper bits, scale and offset of the lane's word of a piece that begins at element k. */
uint own_high(uvec2 scales, uint n, uint k)
{
    uint high = apus_high(B_TYPE, scales, n, p.scale_words, k / 16);

    if (apus_has_high(B_TYPE))
        [[unroll]] for (uint i = GRAIN; i < CHUNK; i += GRAIN) {
            const uint there = apus_high(B_TYPE, scales, n, p.scale_words, (k + i) / 16);
            high = lane * PER / GRAIN == i / GRAIN ? there : high;
        }
    return high;
}

vec2 own_scale(uvec2 scales, uint n, uint k)
{
    const uint blocks = p.k / 32;
    vec2 s = apus_scale(B_TYPE, scales, n, p.scale_words, blocks, k / 16);

    [[unroll]] for (uint i = GRAIN; i < CHUNK; i += GRAIN) {
        const vec2 there =
            apus_scale(B_TYPE, scales, n, p.scale_words, blocks, (k + i) / 16);
        s = lane * PER / GRAIN == i / GRAIN ? there : s;
    }
    return s;
}

/* Add turn c of row n of b, whose words begin at eight `row`, to the sums of its row r with each of
 * a. */
void add_turn(uvec2 b, uvec2 scales, uint r, uint n, uint row, uint c)
{
    const uint at = row + c * (TURN >> SHIFT) / 8;

    [[unroll]] for (uint j = 0; j < PIECES; j++) {
        const uint w = own_word(b, at, j), k = c * TURN + j * CHUNK;
        const uint high = QUANT ? own_high(scales, n, k) : 0;
        const vec2 s = QUANT ? own_scale(scales, n, k) : vec2(1.0, 0.0);
        [[unroll]] for (uint m = 0; m < TM; m++) {
            const uint i = m * ROWS + r;
            const float add = add_products(w, high, (m * PIECES + j) * PER, QUANT ? 0.0 : sum[i]);
            sum[i] = QUANT ? fma(s.x, add, sum[i]) : add;
            if (OFFSET)
                sum[i] = fma(s.y, x_sum[m * PIECES + j], sum[i]);
        }
    }
}

/* Halve the rows that a lane has the sums of, and double the lanes that are in them, until lane r
 * has row r's of the set that begins there. */
float exchanged(uint first)
{
    [[unroll]] for (uint d = LANES / 2; d > 0; d /= 2) {
        const bool high = (lane & d) != 0;
        [[unroll]] for (uint r = 0; r < LANES / 2; r++) {
            if (r >= d)
                continue;
            const float low_sum = sum[first + r], high_sum = sum[first + r + d];
            sum[first + r] = (high ? high_sum : low_sum)
                                  + subgroupShuffleXor(high ? low_sum : high_sum, d);
        }
    }
    return sum[first];
}

/* The sum over all lanes, the same bits in each. */
float over_lanes(float x)
{
    [[unroll]] for (uint d = 1; d < LANES; d *= 2)
        x += subgroupShuffleXor(x, d);
    return x;
}

void main()
{
    const uint group = take_member(few_group());
    const uint apart = Y_TYPE == APUS_F32 ? (p.n + LANES - 1) / LANES : 1;
    const uint n0 = Y_TYPE == APUS_F32 ? group : group * LANES;
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    uint row_n[LANES], row_at[LANES]; /* here, since llvmpipe does not move them out of the loop */

    lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint m = 0; m < TM; m++)
        squares[m] = 0.0;
    [[unroll]] for (uint r = 0; r < LANES; r++) {
        row_n[r] = min(n0 + r * apart, p.n - 1);
        row_at[r] = row_n[r] * (p.k >> (SHIFT + 3));
    }
    [[unroll]] for (uint i = 0; i < TM * ROWS; i++)
        sum[i] = 0.0;
    uint c = 0;
    do {
        [[unroll]] for (uint m = 0; m < TM; m++)
            load_x(m, TURN / 8 * c);
        [[unroll]] for (uint r = 0; r < LANES; r++)
            add_turn(p.b, p.scales, r, row_n[r], row_at[r], c);
        if (PAIR != 0)
            [[unroll]] for (uint r = 0; r < LANES; r++)
                add_turn(up.b, up.scales, ROWS - LANES + r, row_n[r], row_at[r], c);
    } while (++c < p.k / TURN);
    const uint n = n0 + lane * apart;
    [[unroll]] for (uint m = 0; m < TM; m++) {
        const float scale = NORM == 1 ? norm_scale(over_lanes(squares[m])) : 1.0;
        const float first = scale * exchanged(m * ROWS);
        const float second = PAIR != 0 ? scale * exchanged(m * ROWS + ROWS - LANES) : 0.0;
        if (n < p.n && m < rows && (Y_TYPE != APUS_F32 || n0 < apart))
            matmul_put_lane(m, n, PAIR != 0 ? gated1(m, n, first, second) : few_end1(m, n, first));
    }
}
