#version 450
/* For each block of 64 ids of a row of logits, after the repetition penalty:
 *
 *   blocks[r,0,b] = max of z        blocks[r,1,b] = sum of exp((z - max) / temperature)
 *
 *   logits (S, V) f32  settings (S, 8)  ->  blocks (S, 2, n_blocks) f32
 *
 * The sums are made only where the draw needs the mass of the whole row (a temperature and no
 * top-k).
 * A lane has whole blocks, so that nothing is reduced across lanes: its order of ids is that of
 * memory whatever the size of a subgroup, and a cache line is used up by one lane. */
#extension GL_GOOGLE_include_directive : require
#include "sample.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint VEC = 4; /* 4: rows begin at multiples of 16 bytes; else 1 */

const uint QUADS = APUS_SAMPLE_BLOCK / 4;

/* Ids v .. v+3 of the row that begins at element `first`; outside: DEAD. */
vec4 load4(uint first, uint v)
{
    vec4 x = vec4(DEAD);

    if (VEC == 4) {
        if (v < p.vocab)
            x = BufF4(p.logits).v[(first + v) >> 2];
    } else {
        [[unroll]] for (uint i = 0; i < 4; i++)
            if (v + i < p.vocab)
                x[i] = BufF(p.logits).v[first + v + i];
    }
    return x;
}

void main()
{
    const uint row = gl_WorkGroupID.y;
    const uint b = gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    const uint made = 2 * row * p.n_blocks + b;
    vec4 z[QUADS], m = vec4(DEAD);

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul)
        || b >= p.n_blocks)
        return;
    const uint seen = seen_row(row);
    const float temperature = setting_f(row, APUS_SAMPLE_TEMPERATURE);
    [[unroll]] for (uint q = 0; q < QUADS; q++)
        z[q] = alive(load4(row * p.vocab, b * APUS_SAMPLE_BLOCK + 4 * q));
    if (seen != NONE) {
        const float penalty = setting_f(row, APUS_SAMPLE_PENALTY);
        const uint at = 2 * b;
        const uint next = at + 1 < p.seen_words ? BufU(p.seen).v[seen + at + 1] : 0u;
        const uint bits[2] = uint[2](BufU(p.seen).v[seen + at], next);
        [[unroll]] for (uint q = 0; q < QUADS; q++) {
            const uint four = bits[q / 8] >> 4 * (q % 8) & 15u;
            if (four != 0u)
                z[q] = mix(z[q], penalized(z[q], penalty),
                           notEqual(uvec4(four) & uvec4(1, 2, 4, 8), uvec4(0)));
        }
    }
    [[unroll]] for (uint q = 0; q < QUADS; q++)
        m = max(m, z[q]);
    const float most = max(max(m.x, m.y), max(m.z, m.w));
    BufF(p.blocks).v[made] = most;
    if (!(temperature > 0.0) || setting_u(row, APUS_SAMPLE_TOP_K) != 0u)
        return;
    const float by = 1.0 / clamp(temperature, 1e-20, 1e30);
    vec4 sum = vec4(0.0);
    [[unroll]] for (uint q = 0; q < QUADS; q++)
        sum += exp(max((z[q] - most) * by, -200.0));
    BufF(p.blocks).v[made + p.n_blocks] = most > DEAD ? (sum.x + sum.y) + (sum.z + sum.w) : 0.0;
}
