#version 450
/* y[m,n] = alpha * sum_k a[m,k] b[n,k] + bias[n] + acc[m,n] for few rows of a (decode) on GPUs,
 * one b or several (matmul_few.glsl).
 *
 *   a (M, K)  b (N, K) any format  ->  y (M, N);  a, y f32, f16 or bf16;  M <= 8, K a multiple of 8
 *   (quantized: whole blocks)
 *
 * One subgroup a workgroup, lanes along K so that neighbours read neighbouring words of b, ROWS
 * rows of b at once so that a is read once for them.  Each lane sums its own k in order, then the
 * lanes are added. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "quant.glsl"

layout(local_size_x_id = 0) in; /* the subgroup */
layout(constant_id = 1) const uint M = 1;
layout(constant_id = 2) const uint B_TYPE = APUS_F32;
layout(constant_id = 3) const uint ROWS = 4; /* even */
layout(constant_id = 4) const uint WIDE = 1; /* pieces of 8 k that a lane takes in a turn: q8_0
                                                1, 2; q6_K 1, 2; the others
                                                1, 2, 4 */
layout(constant_id = 5) const uint A_TYPE = APUS_F32;
layout(constant_id = 6) const uint Y_TYPE = APUS_F32;
layout(constant_id = 7) const uint MEMBERS = 1;
layout(constant_id = 8) const uint PAIR = 0; /* the second half of ROWS is the other matrix's */
layout(constant_id = 9) const uint ADAPTED = 0;
layout(constant_id = 10) const uint NORM = 0;
#include "matmul_few.glsl"

const uint OWN = PAIR != 0 ? ROWS / 2 : ROWS; /* rows of one matrix: even */
const uint PAIRS = OWN / 2 * M;
const uint TURNS = (PAIRS + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;

float sum[ROWS * M];
float squares[M]; /* NORM: of the lane's elements of a */
uvec4 words[ROWS];  /* WIDE pieces of each row as they lie in memory; f32: the first quad of one */
uvec4 words2[ROWS]; /* f32: the second quad */
uint high[ROWS];
vec2 scale[ROWS];

/* WIDE pieces of row n, from its piece c on. */
void load(uint r, uint n, uint c)
{
    const uvec2 b = r < OWN ? p.b : up.b, plane = r < OWN ? p.scales : up.scales;
    const uint at = n * (p.k >> 3) + c;
    if (B_TYPE == APUS_F32) {
        words[r] = BufU4(b).v[2 * at];
        words2[r] = BufU4(b).v[2 * at + 1];
        return;
    }
    if (B_TYPE <= APUS_BF16) {
        words[r] = BufU4(b).v[at];
        return;
    }
    high[r] = apus_high(B_TYPE, plane, n, p.scale_words, c >> 1);
    scale[r] = apus_scale(B_TYPE, plane, n, p.scale_words, p.k >> 5, c >> 1);
    if (B_TYPE == APUS_Q8_0)
        words[r] = WIDE == 1 ? BufU2(b).v[at].xyxy : BufU4(b).v[at >> 1];
    else if (WIDE == 1)
        words[r].x = BufU(b).v[at];
    else if (WIDE == 2)
        words[r].xy = BufU2(b).v[at >> 1];
    else
        words[r] = BufU4(b).v[at >> 2];
}

/* Piece i of row r, which is piece c of it. */
void decode(uint r, uint i, uint c, out vec4 b0, out vec4 b1)
{
    const uvec4 w = words[r];

    if (B_TYPE == APUS_F32) {
        b0 = uintBitsToFloat(w);
        b1 = uintBitsToFloat(words2[r]);
    } else if (B_TYPE <= APUS_BF16) {
        b0 = B_TYPE == APUS_F16 ? apus_half4(w.xy) : apus_bhalf4(w.xy);
        b1 = B_TYPE == APUS_F16 ? apus_half4(w.zw) : apus_bhalf4(w.zw);
    } else {
        const uint first = B_TYPE == APUS_Q8_0 ? 2 * i : i, second = B_TYPE == APUS_Q8_0 ? first + 1
                                                                                         : i;
        b0 = apus_quad(B_TYPE, w[first], high[r], 2 * c, scale[r]);
        b1 = apus_quad(B_TYPE, w[second], high[r], 2 * c + 1, scale[r]);
    }
}

/* Piece i of what is loaded, which is piece k8 of the rows. */
void add8(uint i, uint k8)
{
    vec4 b0[ROWS], b1[ROWS], w0, w1;

    if (NORM == 1)
        apus_load8(APUS_F32, few.norm, k8, w0, w1);
    [[unroll]] for (uint r = 0; r < ROWS; r++)
        decode(r, i, k8, b0[r], b1[r]);
    [[unroll]] for (uint m = 0; m < M; m++) {
        vec4 a0, a1;
        apus_load8(A_TYPE, p.a, m * (p.k >> 3) + k8, a0, a1);
        if (NORM == 1) {
            squares[m] += dot(a0, a0) + dot(a1, a1);
            a0 *= w0;
            a1 *= w1;
        }
        [[unroll]] for (uint r = 0; r < ROWS; r++) {
            float s = sum[r * M + m];
            s += a0.x * b0[r].x;
            s += a0.y * b0[r].y;
            s += a0.z * b0[r].z;
            s += a0.w * b0[r].w;
            s += a1.x * b1[r].x;
            s += a1.y * b1[r].y;
            s += a1.z * b1[r].z;
            s += a1.w * b1[r].w;
            sum[r * M + m] = s;
        }
    }
}

/* The sums of all lanes of rows 2i and 2i+1 of b and row m of a. */
vec2 pair_of(uint i, uint m)
{
    return vec2(subgroupAdd(sum[2 * i * M + m]), subgroupAdd(sum[(2 * i + 1) * M + m]));
}

void main()
{
    const uint n0 = take_member(few_group()) * OWN;
    const uint lane = gl_LocalInvocationID.x, k8 = p.k >> 3;
    const uint live = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    vec2 mine[TURNS], mine_up[TURNS];

    if (n0 >= p.n)
        return;
    [[unroll]] for (uint i = 0; i < ROWS * M; i++)
        sum[i] = 0.0;
    [[unroll]] for (uint i = 0; i < M; i++)
        squares[i] = 0.0;
    [[unroll]] for (uint i = 0; i < TURNS; i++)
        mine[i] = mine_up[i] = vec2(0.0);
    for (uint c = lane * WIDE; c < k8; c += gl_WorkGroupSize.x * WIDE) {
        [[unroll]] for (uint r = 0; r < ROWS; r++)
            load(r, min(n0 + r % OWN, p.n - 1), c);
        [[unroll]] for (uint i = 0; i < WIDE; i++)
            add8(i, c + i);
    }
    if (NORM == 1)
        [[unroll]] for (uint m = 0; m < M; m++)
            squares[m] = norm_scale(subgroupAdd(squares[m]));
    /* Pair i, of two rows of b, is stored by lane i; a subgroup's width of pairs in a turn.  All
     * are added up before any is stored: drivers do not unroll a loop around another (an
     * adapter's), and an index into `sum` that is no constant would put it into memory. */
    [[unroll]] for (uint i = 0; i < PAIRS; i++) {
        const uint turn = i / gl_WorkGroupSize.x;
        const bool is_mine = lane == i % gl_WorkGroupSize.x;
        const float scale = NORM == 1 ? squares[i % M] : 1.0;
        const vec2 s = scale * pair_of(i / M, i % M);
        mine[turn] = is_mine ? s : mine[turn];
        if (PAIR != 0) {
            const vec2 s_up = scale * pair_of(OWN / 2 + i / M, i % M);
            mine_up[turn] = is_mine ? s_up : mine_up[turn];
        }
    }
    for (uint turn = 0; turn < TURNS; turn++) {
        const uint at = turn * gl_WorkGroupSize.x + lane, n = n0 + at / M * 2;
        vec2 s = mine[0], s_up = mine_up[0];

        [[unroll]] for (uint i = 1; i < TURNS; i++) {
            s = i == turn ? mine[i] : s;
            s_up = i == turn ? mine_up[i] : s_up;
        }
        /* An adapter's address has to be the same for all lanes: row by row. */
        for (uint m = 0; m < M; m++)
            if (at < PAIRS && at % M == m && m < live && n < p.n)
                matmul_put2(m, n, PAIR != 0 ? gated2(m, n, s, s_up) : few_end2(m, n, s));
    }
}
