#version 450
/* Draw one token from each row of logits.  With z the logits after repetition penalty (Keskar et al.
 * 2019, arXiv:1909.05858: z / r where z > 0, else z * r, for ids seen) and temperature:
 *
 *   keep z >= the k-th largest (ties stay);  keep z whose ascending cumulative probability among those
 *   is above 1 - top_p;  keep exp(z - max) >= min_p;  then the first id, in order, at which the
 *   cumulative probability of what is kept is above u, u = Philox(seed; counter).
 *   temperature 0: the most likely id, the lowest of equals.  NaN counts as -infinity.
 *
 *   logits (S, V) f32  settings (S, APUS_SAMPLE_WORDS)  seen (slots, V/32) u32  ->  out (S) u32
 *
 * One subgroup a row.  Thresholds are found by bisection over the ordered image of floats, with exact
 * counts and sums of fixed order, so that no sort is needed. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "philox.glsl"
#include "args/sample.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_sample_push p; };

const float NONE = -3.4e38;
uint row;
uint seen_at; /* first word of the row of seen, or 0xffffffff */
float penalty, inv_temperature;

uint setting(uint i)
{
    return BufU(p.settings).v[row * APUS_SAMPLE_WORDS + i];
}

float z(uint v)
{
    float x = BufF(p.logits).v[row * p.vocab + v];

    if (isnan(x))
        return NONE;
    if (seen_at != 0xffffffffu && (BufU(p.seen).v[seen_at + v / 32] >> (v % 32) & 1u) != 0)
        x = x > 0.0 ? x / penalty : x * penalty;
    return max(x * inv_temperature, NONE);
}

/* Floats to unsigned numbers in the same order. */
uint image(float x)
{
    const uint u = floatBitsToUint(x);
    return (u & 0x80000000u) != 0 ? ~u : u | 0x80000000u;
}

/* How many ids have an image of at least `least`. */
uint count_from(uint least)
{
    uint n = 0;
    for (uint v = gl_LocalInvocationID.x; v < p.vocab; v += gl_WorkGroupSize.x)
        n += image(z(v)) >= least ? 1 : 0;
    return subgroupAdd(n);
}

/* Sum of exp(z - top) over images in [from, to]. */
float mass(uint from, uint to, float top)
{
    float sum = 0.0;
    for (uint v = gl_LocalInvocationID.x; v < p.vocab; v += gl_WorkGroupSize.x) {
        const float x = z(v);
        const uint u = image(x);
        sum += u >= from && u <= to ? exp(x - top) : 0.0;
    }
    return subgroupAdd(sum);
}

/* The image of the k-th largest value. */
uint kth(uint k)
{
    uint lo = 0, hi = 0xffffffffu; /* count_from(lo) >= k */
    for (int i = 0; i < 32 && lo < hi; i++) {
        const uint mid = lo + (hi - lo) / 2 + 1;
        if (count_from(mid) >= k)
            lo = mid;
        else
            hi = mid - 1;
    }
    return lo;
}

/* The least image whose ascending cumulative mass, itself included, is above (1 - top_p) of all. */
uint nucleus(uint from, float top_p, float top)
{
    const float limit = (1.0 - top_p) * mass(from, 0xffffffffu, top);
    uint lo = from, hi = image(top);
    for (int i = 0; i < 32 && lo < hi; i++) {
        const uint mid = lo + (hi - lo) / 2;
        if (mass(from, mid, top) > limit)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

uint draw(uint from, float top)
{
    /* Each lane owns a stretch of ids, so that cumulative sums run in the order of ids. */
    const uint stretch = (p.vocab + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
    const uint first = gl_LocalInvocationID.x * stretch, end = min(first + stretch, p.vocab);
    float own = 0.0;
    for (uint v = first; v < end; v++) {
        const float x = z(v);
        own += image(x) >= from ? exp(x - top) : 0.0;
    }
    float before = subgroupExclusiveAdd(own);
    const uvec4 bits = apus_philox(uvec2(setting(APUS_SAMPLE_SEED), 0x53616d70u),
                                   uvec4(setting(APUS_SAMPLE_COUNTER), 0, 0, 0));
    const float u = apus_uniform(bits.x) * subgroupAdd(own);
    uint found = 0xffffffffu, last = 0;
    for (uint v = first; v < end; v++) {
        const float x = z(v);
        if (image(x) < from)
            continue;
        before += exp(x - top);
        last = v + 1;
        if (before > u && found == 0xffffffffu)
            found = v;
    }
    const uint id = subgroupMin(found);
    return id != 0xffffffffu ? id : max(subgroupMax(last), 1u) - 1; /* rounding left u at the very end */
}

void main()
{
    row = gl_WorkGroupID.x;
    if (row >= apus_live_rows(p.step, p.rows_var, 0, p.rows_max, 1))
        return;
    const float temperature = uintBitsToFloat(setting(APUS_SAMPLE_TEMPERATURE));
    const uint top_k = setting(APUS_SAMPLE_TOP_K), slot = setting(APUS_SAMPLE_SLOT);
    const float top_p = uintBitsToFloat(setting(APUS_SAMPLE_TOP_P)), min_p = uintBitsToFloat(setting(APUS_SAMPLE_MIN_P));
    float most = NONE;
    uint best = 0xffffffffu, id;

    penalty = uintBitsToFloat(setting(APUS_SAMPLE_PENALTY));
    inv_temperature = temperature > 0.0 ? 1.0 / temperature : 1.0;
    const bool seen = !apus_none(p.seen) && slot < p.seen_rows;
    seen_at = seen && penalty != 1.0 ? slot * p.seen_words : 0xffffffffu;
    for (uint v = gl_LocalInvocationID.x; v < p.vocab; v += gl_WorkGroupSize.x) {
        const float x = z(v);
        if (x > most) {
            most = x;
            best = v;
        }
    }
    const float top = subgroupMax(most);
    id = subgroupMin(most == top ? best : 0xffffffffu);
    if (temperature > 0.0 && id != 0xffffffffu) {
        uint from = 0;
        if (top_k > 0 && top_k < p.vocab)
            from = kth(top_k);
        if (top_p < 1.0)
            from = nucleus(from, top_p, top);
        if (min_p > 0.0)
            from = max(from, image(top + log(min_p)));
        id = draw(from, top);
    }
    id = id < p.vocab ? id : 0;
    if (gl_LocalInvocationID.x == 0) {
        BufU(p.drawn).v[row] = id;
        if (seen)
            atomicOr(BufU(p.seen).v[slot * p.seen_words + id / 32], 1u << (id % 32));
    }
}
