#version 450
/* y[i,:] = x[index[i],:]; an index past the rows of x gives zeros.
 *
 *   x (R, D) f32  index (I) u32  ->  y (I, D) f32
 *
 * One element an invocation, the grid folded into two dimensions. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/gather_rows.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_gather_rows_push p; };

void main()
{
    const uint at = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x
                    + gl_LocalInvocationID.x;
    const uint row = at / p.cols, c = at % p.cols;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    const uint from = BufU(p.index).v[row];
    BufF(p.y).v[at] = from < p.x_rows ? BufF(p.x).v[from * p.cols + c] : 0.0;
}
