#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[n,k] + bias[n] + acc[m,n] for CPU drivers and few rows m: mat-vec
 * by dot products, of one b or several (matmul_few.glsl).
 *
 *   a (M, K), M <= 8  b (N, K) any format  ->  y (M, N);  a, y f32, f16 or bf16;  K a multiple of
 *   TURN, N even where y has 16 bits
 *
 * One subgroup a workgroup and as many rows of b as it has lanes; the lanes lie along K, numbers of
 * a row side by side (lanes.glsl).  In the end they exchange their sums: lane r has row r's.  The
 * rows of a workgroup lie far apart, and the next workgroup has the next of each: long streams, in
 * pages of their own, which the processor fetches ahead (1.6 times as fast as rows side by side).
 * Words of 16-bit results take rows side by side.
 *
 * Mesa unrolls loops from the inside: a loop whose length hangs on the loop around it stays, and
 * the arrays that it indexes go to memory (5 times as slow), so that each has its own length. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "mem.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint B_TYPE = APUS_F32;
layout(constant_id = 2) const uint LANES = 4; /* as constant 0: 4, 8 or 16 */
layout(constant_id = 3) const uint TURN = 64; /* k in one turn of the loop: a multiple of 32 and of
                                                 what all lanes read at once */
layout(constant_id = 4) const uint TM = 1;
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 7) const uint MEMBERS = 1;
layout(constant_id = 8) const uint PAIR = 0;
layout(constant_id = 9) const uint ADAPTED = 0;
layout(constant_id = 10) const uint NORM = 0;
#define MATMUL_LANES
#include "matmul_few.glsl"
#include "lanes.glsl"

/* A turn has PIECES.  The weights of a scale lie in GROUP of them; it is put on their sums or,
 * where there are more of those, on the weights. */
const uint PIECES = TURN / CHUNK;
const uint GROUP = QUANT && CHUNK < GRAIN ? GRAIN / CHUNK : 1, GROUPS = PIECES / GROUP;
const bool ON_SUMS = QUANT && TM <= GROUP;
/* The offset is a multiple of the scale. */
const bool CENTRED = B_TYPE == APUS_Q4_0 || B_TYPE == APUS_Q5_0 || B_TYPE == APUS_Q6_K;
const uint ROWS = PAIR != 0 ? 2 * LANES : LANES; /* of b in a workgroup; PAIR: of both matrices */

float x[TM * PIECES * PER]; /* the lane's elements of each row of a: PER of each piece */
float x_sum[TM * GROUPS];   /* where quants have an offset: their sums */
float w[GROUP * PER];       /* weights of a row of b: of the pieces of a group */
float squares[TM];          /* NORM: of the lane's elements of a */
float sum[TM * ROWS];

float own_x(uint m, uint at, uint i, uint upper)
{
    const float x = own_element(A_TYPE, p.a, m * (p.k / 32) + at, i, upper);

    if (NORM == 0)
        return x;
    squares[m] = fma(x, x, squares[m]);
    return x * own_element(APUS_F32, few.norm, at, i, upper);
}

/* The lane's elements of a turn of row m of a that begins with the 32 number `at` of the row. */
void load_x(uint m, uint at)
{
    [[unroll]] for (uint g = 0; g < GROUPS; g++) {
        x_sum[m * GROUPS + g] = 0.0;
        [[unroll]] for (uint i = 0; i < GROUP * PER; i++) {
            const uint j = g * GROUP * PER + i;
            x[m * PIECES * PER + j] = own_x(m, at, j / PER, j % PER * 4);
            x_sum[m * GROUPS + g] += x[m * PIECES * PER + j];
        }
        if (CENTRED)
            x_sum[m * GROUPS + g] *= -apus_zero(B_TYPE);
    }
}

/* The lane's weights of group g of a turn of row n to w; the turn begins at element k of the row,
 * with the 32 elements number `at`. */
void load_weights(uvec2 b, uvec2 scales, uint n, uint at, uint k, uint g, vec2 s)
{
    [[unroll]] for (uint i = 0; i < GROUP; i++) {
        const uint j = g * GROUP + i;
        if (!QUANT) {
            w[i] = own_element(B_TYPE, b, at, j, 0);
            continue;
        }
        const uint byte = own_byte(b, at, j);
        const uint high = own_high(scales, n, p.scale_words, k + j * CHUNK);
        [[unroll]] for (uint h = 0; h < PER; h++) {
            const float quant = own_quant(byte, high, j, h * 4);
            w[i * PER + h] = TM <= GROUP ? quant : scaled(quant, s);
        }
    }
}

/* Add turn c of row n of b, whose elements begin with the 32 number `row`, to the sums of its row r
 * with each of a. */
void add_turn(uvec2 b, uvec2 scales, uint r, uint n, uint row, uint c)
{
    const uint at = row + c * (TURN / 32), k = c * TURN;

    [[unroll]] for (uint g = 0; g < GROUPS; g++) {
        vec2 s = vec2(1.0, 0.0);
        if (QUANT)
            s = own_scale(scales, n, p.scale_words, p.k / 32, k + g * GROUP * CHUNK);
        load_weights(b, scales, n, at, k, g, s);
        [[unroll]] for (uint m = 0; m < TM; m++) {
            const uint to = m * ROWS + r, group = m * GROUPS + g;
            float add = ON_SUMS ? CENTRED ? x_sum[group] : 0.0 : sum[to];
            [[unroll]] for (uint i = 0; i < GROUP * PER; i++)
                add = fma(w[i], x[group * GROUP * PER + i], add);
            sum[to] = ON_SUMS ? fma(s.x, add, sum[to]) : add;
            if (ON_SUMS && OFFSET && !CENTRED)
                sum[to] = fma(s.y, x_sum[group], sum[to]);
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

    take_lane();
    [[unroll]] for (uint m = 0; m < TM; m++)
        squares[m] = 0.0;
    [[unroll]] for (uint r = 0; r < LANES; r++) {
        row_n[r] = min(n0 + r * apart, p.n - 1);
        row_at[r] = row_n[r] * (p.k / 32);
    }
    [[unroll]] for (uint i = 0; i < TM * ROWS; i++)
        sum[i] = 0.0;
    uint c = 0;
    do {
        [[unroll]] for (uint m = 0; m < TM; m++)
            load_x(m, c * (TURN / 32));
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
