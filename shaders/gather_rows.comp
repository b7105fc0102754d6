#version 450
/* y[i,:] = x[index[i],:]; an index past the rows of x gives zeros.
 *
 *   x (R, D)  index (I) u32  ->  y (I, D);  x, y f32, f16 or bf16
 *
 * VEC elements an invocation, the grid folded into two dimensions. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/gather_rows.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint VEC = 4; /* 4: D is a multiple of 4; else 1 (f32 only) */
layout(constant_id = 2) const uint TYPE = APUS_F32;
layout(push_constant) uniform Push { apus_gather_rows_push p; };

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint n = p.cols / VEC, row = at / n, c = at % n;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint from = BufU(p.index).v[row];
    if (VEC == 1)
        BufF(p.y).v[at] = from < p.x_rows ? BufF(p.x).v[from * n + c] : 0.0;
    else
        apus_store4(TYPE, p.y, at,
                    from < p.x_rows ? apus_load4(TYPE, p.x, from * n + c) : vec4(0.0));
}
