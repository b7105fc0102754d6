#version 450
/* y[t,:] = w[ids[t],:]; an id past the table gives zeros.
 *
 *   ids (T) u32  w (V, D) any format  ->  y (T, D) f32, f16 or bf16
 *
 * Four elements an invocation, the grid folded into two dimensions. */
#extension GL_GOOGLE_include_directive : require
#include "quant.glsl"
#include "args/embed.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint W_TYPE = APUS_F32;
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_embed_push p; };

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint cols4 = p.cols >> 2, t = at / cols4, i = at % cols4;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint id = BufU(p.ids).v[t];
    vec4 y = vec4(0.0);
    if (id < p.vocab)
        y = apus_weight4(W_TYPE, p.w, p.scales, p.scale_words, id, cols4, i);
    apus_store4(TYPE, p.y, at, y);
}
