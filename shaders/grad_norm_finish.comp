#version 450
/* norm = u sqrt(sum of partials);  clip = u min(1, max_norm / (norm + 1e-6)), u without a bound,
 * and 0 - the update skips itself - when the norm is not finite.  u is 1 / loss scale: gradients
 * have the loss scale in them, and lose it in the update.
 *
 *   partials (n) f32  ->  state[NORM], state[CLIP], state[SKIPPED]
 *
 * One subgroup; a lane sums its partials in order.  torch.nn.utils.clip_grad_norm_. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "mem.glsl"
#include "args/grad_norm.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_grad_norm_push p; };

void main()
{
    float sum = 0.0;

    for (uint i = gl_LocalInvocationID.x; i < p.n_partials; i += gl_WorkGroupSize.x)
        sum += BufF(p.partials).v[i];
    const float unscale = uintBitsToFloat(BufU(p.step).v[p.unscale_var]);
    const float norm = sqrt(subgroupAdd(sum)) * unscale;
    if (gl_LocalInvocationID.x != 0)
        return;
    const float most = uintBitsToFloat(BufU(p.step).v[p.max_norm_var]);
    const bool finite = (floatBitsToUint(norm) & 0x7f800000u) != 0x7f800000u;
    float clip = unscale;
    if (!finite) { /* before min, which may return anything then */
        clip = 0.0;
        BufF(p.state).v[APUS_STATE_SKIPPED] += 1.0;
    } else if (most > 0.0)
        clip = min(1.0, most / (norm + 1e-6)) * unscale;
    BufF(p.state).v[APUS_STATE_NORM] = norm;
    BufF(p.state).v[APUS_STATE_CLIP] = clip;
}
