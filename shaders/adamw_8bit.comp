#version 450
/* One step of AdamW as adamw.comp has it, whose moments are stored in 8 bits: codes, and for each
 * block of 256 elements a scale, its largest magnitude.
 *
 *   w, grad (n) f32, in place;  copy (n) 16-bit: w rounded
 *   codes_m, codes_v (256 a coded block) u8;  scales (2, coded blocks) f32: of m, then of v
 *   wide_m, wide_v (256 a further block) f32, of parts that are not coded
 *   runs: parts of w and where their blocks begin; a run's last block may be short
 *
 * A magnitude is scale * 10^(e - TOP) (0.1 + 0.9 (k + 1/2) / 2^e) of the number r = 2^e + k, 0 of
 * r = 0 and scale of r = 2^(TOP + 1): more of them where values are large, seven decades in all.
 *   m (TOP 6): code 127 + r or 127 - r   v (TOP 7): code r - 1, or 0 of r = 0
 * The nearest is taken, but the code of a v above 0 is not 0: divided by its root, m would be
 * anything.  w is changed by the moments before they are rounded.
 *
 * One workgroup a block, four elements a lane and turn: all are read once and written once.  GPUs
 * take one turn and share the largest magnitudes of their subgroups; CPU drivers, which have no
 * shared memory, take one subgroup and several turns.
 * Dettmers et al., 8-bit optimizers via block-wise quantization, 2021 (arXiv:2110.02861), sections
 * 2.1 and 2.2; the numbers of the codes are those of bitsandbytes. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/adamw_8bit.h"

#define QUADS (APUS_ADAMW_BLOCK / 4)
#define TOP_M 6u
#define TOP_V 7u

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TURNS = 1; /* quads of a lane */
layout(constant_id = 2) const uint SUBGROUPS = 1; /* of the workgroup */
layout(constant_id = 3) const uint COPY = APUS_F32; /* format of the copy; f32: there is none */
layout(push_constant) uniform Push { apus_adamw_8bit_push p; };

shared vec2 part[SUBGROUPS];

const float power[7] = float[](1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0);
const float inverse[7] = float[](1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1.0);

/* The magnitudes of r, as shares of the scale. */
vec4 share_of(uvec4 r, uint top)
{
    /* 2 r + 1 = 2^(e + 1) (1 + (k + 1/2) / 2^e): its fraction is what is wanted. */
    const vec4 at = uintBitsToFloat((floatBitsToUint(vec4(2u * r + 1u)) & 0x7fffffu) | 0x3f800000u);
    vec4 unit = vec4(power[0]);

    [[unroll]] for (uint i = 1; i < 7; i++)
        unit = mix(unit, vec4(power[i]), greaterThanEqual(r, uvec4(1u << (top - 6u + i))));
    const vec4 x = unit * (0.1 + 0.9 * (at - 1.0));
    return mix(mix(x, vec4(1.0), equal(r, uvec4(2u << top))), vec4(0.0), equal(r, uvec4(0u)));
}

/* The r, above 0, whose share is nearest to a in [0, 1]. */
uvec4 nearest(vec4 a, uint top)
{
    vec4 by = vec4(inverse[0]), n = vec4(float(1u << (top - 6u)));

    /* The middle between the last share of a decade and the first of the next. */
    [[unroll]] for (uint i = 1; i < 7; i++) {
        const float below = float(1u << (top - 7u + i));
        const bvec4 next = greaterThanEqual(a, vec4(power[i - 1] * (1.0 + 0.9 / below)));
        by = mix(by, vec4(inverse[i]), next);
        n = mix(n, vec4(2.0 * below), next);
    }
    const vec4 k = clamp(floor((a * by - 0.1) * n * (1.0 / 0.9)), vec4(0.0), n - 1.0);
    return mix(uvec4(n + k), uvec4(2u << top),
               greaterThanEqual(a, vec4(1.0 - 0.225 / float(1u << top))));
}

uvec4 unpack(uint w)
{
    return uvec4(w, w >> 8, w >> 16, w >> 24) & 255u;
}

uint pack(uvec4 c)
{
    return c.x | c.y << 8 | c.z << 16 | c.w << 24;
}

vec4 decode_m(uint w)
{
    const ivec4 c = ivec4(unpack(w)) - 127;
    const vec4 x = share_of(uvec4(abs(c)), TOP_M);
    return mix(x, -x, lessThan(c, ivec4(0)));
}

vec4 decode_v(uint w)
{
    const uvec4 c = unpack(w);
    return share_of(mix(c + 1u, uvec4(0u), equal(c, uvec4(0u))), TOP_V);
}

uint encode_m(vec4 x)
{
    const vec4 a = abs(x);
    const ivec4 r = ivec4(mix(nearest(a, TOP_M), uvec4(0u), lessThan(a, vec4(0.275e-6))));
    return pack(uvec4(127 + mix(r, -min(r, 127), lessThan(x, vec4(0.0)))));
}

uint encode_v(vec4 a)
{
    return pack(mix(nearest(a, TOP_V) - 1u, uvec4(0u), equal(a, vec4(0.0))));
}

/* What scales divide: nothing where all is 0, or so small that the quotient may not be finite. */
float inverse_of(float scale)
{
    return scale >= 1.2e-38 ? 1.0 / scale : 0.0;
}

struct step_numbers {
    float clip, rate, root, decay; /* rate = lr / bias1; root = bias2; decay = lr * decay */
};

/* w and the moments of quad i of the slab, whose moments were m and v; the gradient becomes 0. */
void update(step_numbers s, uint i, inout vec4 m, inout vec4 v)
{
    const vec4 g = BufF4(p.grad).v[i] * s.clip;
    vec4 w = BufF4(p.w).v[i];

    if (4 * i < p.n_decay)
        w *= 1.0 - s.decay;
    m = p.beta1 * m + (1.0 - p.beta1) * g;
    v = p.beta2 * v + (1.0 - p.beta2) * g * g;
    w -= s.rate * (m / (sqrt(v) / s.root + p.eps));
    BufF4(p.w).v[i] = w;
    BufF4(p.grad).v[i] = vec4(0.0);
    if (COPY != APUS_F32)
        apus_store4(COPY, p.copy, i, w);
}

/* The largest of all lanes' numbers. */
vec2 largest(vec2 x)
{
    x = vec2(subgroupMax(x.x), subgroupMax(x.y));
    if (SUBGROUPS > 1) {
        if (subgroupElect())
            part[gl_SubgroupID] = x;
        barrier();
        uint i = 0;
        do
            x = max(x, part[i]);
        while (++i < SUBGROUPS);
    }
    return x;
}

void coded_block(step_numbers s, uint block, uint first, uint n)
{
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    const float scale_m = BufF(p.scales).v[block], scale_v = BufF(p.scales).v[p.n_coded + block];
    vec4 m[TURNS], v[TURNS], most_m = vec4(0.0), most_v = vec4(0.0);

    for (uint t = 0; t < TURNS; t++) {
        const uint q = lane + t * lanes;
        m[t] = v[t] = vec4(0.0);
        if (q < n) {
            m[t] = scale_m * decode_m(BufU(p.codes_m).v[block * QUADS + q]);
            v[t] = scale_v * decode_v(BufU(p.codes_v).v[block * QUADS + q]);
            update(s, first + q, m[t], v[t]);
        }
        most_m = max(most_m, abs(m[t]));
        most_v = max(most_v, v[t]);
    }
    const vec4 pair = max(vec4(most_m.xy, most_v.xy), vec4(most_m.zw, most_v.zw));
    const vec2 scale = largest(max(pair.xz, pair.yw));
    const float by_m = inverse_of(scale.x), by_v = inverse_of(scale.y);
    for (uint t = 0; t < TURNS; t++) {
        const uint q = lane + t * lanes;
        if (q < QUADS) { /* past the end of a short block too: its codes are those of 0 */
            BufU(p.codes_m).v[block * QUADS + q] = encode_m(m[t] * by_m);
            BufU(p.codes_v).v[block * QUADS + q] = encode_v(v[t] * by_v);
        }
    }
    if (lane == 0) {
        BufF(p.scales).v[block] = scale.x;
        BufF(p.scales).v[p.n_coded + block] = scale.y;
    }
}

void wide_block(step_numbers s, uint block, uint first, uint n)
{
    const uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;

    for (uint t = 0; t < TURNS; t++) {
        const uint q = lane + t * lanes;
        if (q < n) {
            vec4 m = BufF4(p.wide_m).v[block * QUADS + q], v = BufF4(p.wide_v).v[block * QUADS + q];
            update(s, first + q, m, v);
            BufF4(p.wide_m).v[block * QUADS + q] = m;
            BufF4(p.wide_v).v[block * QUADS + q] = v;
        }
    }
}

void main()
{
    const uint block = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    uint run = 0, end = p.n_runs;

    if (block >= p.n_blocks)
        return;
    do { /* the last run that does not begin behind this block */
        const uint middle = (run + end) / 2;
        if (BufU4(p.runs).v[middle].x <= block)
            run = middle;
        else
            end = middle;
    } while (end - run > 1);
    const uvec4 r = BufU4(p.runs).v[run];
    const uint before = (block - r.x) * QUADS, first = r.y + before, n = min(QUADS, r.z - before);
    const float clip = BufF(p.state).v[APUS_STATE_CLIP];

    if (clip == 0.0) { /* skipped */
        for (uint q = gl_LocalInvocationID.x; q < n; q += gl_WorkGroupSize.x)
            BufF4(p.grad).v[first + q] = vec4(0.0);
        return;
    }
    const float lr = uintBitsToFloat(BufU(p.step).v[p.lr_var]);
    const step_numbers s = { clip, lr / uintBitsToFloat(BufU(p.step).v[p.lr_var + 1]),
                             uintBitsToFloat(BufU(p.step).v[p.lr_var + 2]), lr * p.decay };
    if (block < p.n_coded)
        coded_block(s, block, first, n);
    else
        wide_block(s, block - p.n_coded, first, n);
}
