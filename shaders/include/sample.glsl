/* sample.glsl - logits as sampling sees them: finite, with the repetition penalty. */
#ifndef APUS_SAMPLE_GLSL
#define APUS_SAMPLE_GLSL
#include "mem.glsl"
#include "args/sample.h"

#define LARGEST 3.4028234e38 /* the largest finite f32 */
#define DEAD (-LARGEST)      /* -inf, NaN: never drawn */

layout(push_constant) uniform Push { apus_sample_push p; };

/* What is no number counts as 0: min and clamp of it are undefined. */
float setting_f(uint row, uint word)
{
    const float x = BufF(p.settings).v[row * APUS_SAMPLE_WORDS + word];
    return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u ? 0.0 : x;
}

uint setting_u(uint row, uint word)
{
    return BufU(p.settings).v[row * APUS_SAMPLE_WORDS + word];
}

/* Memory is indexed from bases that are the same in all lanes: no row has an address of its own. */
#define NONE 0xffffffffu

/* The first word of the row of `seen`, or NONE where there is no penalty. */
uint seen_row(uint row)
{
    const uint slot = setting_u(row, APUS_SAMPLE_SLOT);
    const float penalty = setting_f(row, APUS_SAMPLE_PENALTY);

    if (apus_none(p.seen) || slot >= p.slots || !(penalty > 0.0) || penalty == 1.0)
        return NONE;
    return slot * p.seen_words;
}

/* By bits: a compiler may take comparisons with NaN for granted. */
vec4 alive(vec4 z)
{
    const bvec4 nan = greaterThan(floatBitsToUint(z) & 0x7fffffffu, uvec4(0x7f800000u));
    return mix(clamp(z, vec4(DEAD), vec4(LARGEST)), vec4(DEAD), nan);
}

/* Keskar et al. 2019, arXiv:1909.05858, section 4.1, as the reference does it: once an id. */
vec4 penalized(vec4 z, float penalty)
{
    return alive(mix(z / penalty, z * penalty, lessThan(z, vec4(0.0))));
}

#endif
