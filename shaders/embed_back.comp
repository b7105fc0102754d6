#version 450
/* into[ids[u],:] += sum over the rows t = order[starts[u]] .. order[starts[u+1]-1] of dy[t,:]
 *
 *   dy (T, D) f32, f16 or bf16  ids (U) u32, distinct  starts (U+1) u32  order (T) u32
 *   ->  into (V, D) f32
 *
 * The gradient of embed without atomics: the host sorts the rows by id.  One workgroup an id and a
 * stretch of columns. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/embed_back.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_embed_back_push p; };

void main()
{
    const uint u = gl_WorkGroupID.y, c = gl_WorkGroupID.x * gl_WorkGroupSize.x
        + gl_LocalInvocationID.x;

    if (u >= BufU(p.step).v[p.unique_var] || c >= p.cols)
        return;
    const uint id = BufU(p.ids).v[u], end = BufU(p.starts).v[u + 1];
    uint i = BufU(p.starts).v[u];
    float sum = 0.0;
    if (i < end)
        do
            sum += apus_load1(TYPE, p.dy, BufU(p.order).v[i] * p.cols + c);
        while (++i < end);
    if (id < p.vocab)
        BufF(apus_at(p.into, id, 4 * p.cols)).v[c] += sum;
}
