#version 450
/* y[t,c] = acc[t,c] + x[t,c] * (u >= p) / (1 - p), u uniform in [0, 1)
 *
 *   x, acc (T, D)  row_id, pos (T) u32  ->  y (T, D);  x, acc, y f32, f16 or bf16
 *
 * u is Philox keyed by seed and optimizer step, counted by column, position in the row, row of the
 * data set and name: it depends neither on the device nor on how rows are packed.  The gradient is
 * the same kernel.  Srivastava et al., Dropout, JMLR 2014. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "philox.glsl"
#include "args/dropout.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_dropout_push p; };

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint cols4 = p.cols >> 2, t = at / cols4;

    if (t >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uvec2 key = uvec2(BufU(p.step).v[p.seed_var], BufU(p.step).v[p.step_var]);
    const uvec4 bits = apus_philox(key, uvec4(at % cols4, BufU(p.pos).v[t], BufU(p.row_id).v[t],
        p.name));
    const float keep = 1.0 / (1.0 - p.p);
    vec4 y = apus_load4(TYPE, p.x, at);
    y.x *= apus_uniform(bits.x) >= p.p ? keep : 0.0;
    y.y *= apus_uniform(bits.y) >= p.p ? keep : 0.0;
    y.z *= apus_uniform(bits.z) >= p.p ? keep : 0.0;
    y.w *= apus_uniform(bits.w) >= p.p ? keep : 0.0;
    if (!apus_none(p.acc))
        y += apus_load4(TYPE, p.acc, at);
    apus_store4(TYPE, p.y, at, y);
}
