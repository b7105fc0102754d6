#version 450
/* y[t,n] = acc[t,n] + scale * sum_r h[t,r] b[n,r] with the adapter b of row t
 *
 *   h (T, R) f32  acc (T, N)  index (T) u32  ->  y (T, N);  acc, y f32, f16 or bf16
 *
 * One subgroup a workgroup, lanes along N, TM rows; a lane has a pair of columns where y has 16
 * bits. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "lora_table.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TM = 8;
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_lora_push p; };

const uint COLS = TYPE == APUS_F32 ? 1 : 2;

void store(uint m, uint n, float sum[COLS])
{
    const uint at = m * p.n + n;

    if (COLS == 1)
        BufF(p.y).v[at] = BufF(p.acc).v[at] + sum[0];
    else
        apus_store2(TYPE, p.y, at >> 1,
                    vec2(apus_load1(TYPE, p.acc, at) + sum[0],
                         apus_load1(TYPE, p.acc, at + 1) + sum[COLS - 1]));
}

/* Rows m0 .. m0+TM-1, which share an adapter. */
void rows_together(uint m0, uint n, bool inside)
{
    const apus_lora_entry e = lora_entry(p.table, p.index, p.slots, m0);
    float sum[TM * COLS];

    [[unroll]] for (uint i = 0; i < TM * COLS; i++)
        sum[i] = 0.0;
    /* Four of the rank at a time where rows begin at multiples of 16 bytes; addresses as in
     * matmul_nt_cpu.comp. */
    const bool fours = ((e.rank | p.rank | e.b.x >> 2) & 3u) == 0u;
    const uint row0 = m0 * p.rank;
    uint r = 0;
    if (e.rank > 0 && fours)
        do {
            vec4 b[COLS];
            [[unroll]] for (uint c = 0; c < COLS; c++)
                b[c] = BufF4(e.b).v[((n + c) * e.rank + r) >> 2];
            [[unroll]] for (uint i = 0; i < TM; i++) {
                const vec4 h = BufF4(p.h).v[(row0 + r >> 2) + i * (p.rank >> 2)];
                [[unroll]] for (uint c = 0; c < COLS; c++) {
                    const uint s = i * COLS + c;
                    sum[s] = fma(h.x, b[c].x, sum[s]);
                    sum[s] = fma(h.y, b[c].y, sum[s]);
                    sum[s] = fma(h.z, b[c].z, sum[s]);
                    sum[s] = fma(h.w, b[c].w, sum[s]);
                }
            }
            r += 4;
        } while (r < e.rank);
    if (r < e.rank)
        do {
            float b[COLS];
            [[unroll]] for (uint c = 0; c < COLS; c++)
                b[c] = BufF(e.b).v[(n + c) * e.rank + r];
            [[unroll]] for (uint i = 0; i < TM; i++) {
                const float h = BufF(p.h).v[row0 + r + i * p.rank];
                [[unroll]] for (uint c = 0; c < COLS; c++)
                    sum[i * COLS + c] = fma(h, b[c], sum[i * COLS + c]);
            }
        } while (++r < e.rank);
    if (!inside)
        return;
    [[unroll]] for (uint i = 0; i < TM; i++) {
        float scaled[COLS];
        [[unroll]] for (uint c = 0; c < COLS; c++)
            scaled[c] = e.scale * sum[i * COLS + c];
        store(m0 + i, n, scaled);
    }
}

void row_alone(uint m, uint n, bool inside)
{
    const apus_lora_entry e = lora_entry(p.table, p.index, p.slots, m);
    float sum[COLS];

    [[unroll]] for (uint c = 0; c < COLS; c++)
        sum[c] = 0.0;
    uint r = 0;
    if (e.rank > 0)
        do
            [[unroll]] for (uint c = 0; c < COLS; c++)
                sum[c] = fma(BufF(p.h).v[m * p.rank + r],
                             BufF(e.b).v[(n + c) * e.rank + r], sum[c]);
        while (++r < e.rank);
    [[unroll]] for (uint c = 0; c < COLS; c++)
        sum[c] *= e.scale;
    if (inside)
        store(m, n, sum);
}

void main()
{
    const uint lane_n =
        COLS * (gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
    const uint m0 = gl_WorkGroupID.y * TM, n = min(lane_n, p.n - COLS);
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    bool same = m0 + TM <= rows;

    if (m0 >= rows)
        return;
    uint at = 0;
    if (same)
        do
            same = BufU(p.index).v[m0 + at] == BufU(p.index).v[m0];
        while (same && ++at < TM);
    if (same) {
        rows_together(m0, n, lane_n < p.n);
        return;
    }
    uint m = m0;
    do
        row_alone(m, n, lane_n < p.n);
    while (++m < min(m0 + TM, rows));
}
