#version 450
/* state[LOSS] += sum_r rows_out[r,0];  state[CORRECT] += sum_r rows_out[r,1];  state[TOKENS] += R
 *
 *   rows_out (R, 2) f32  ->  state (APUS_STATE_WORDS) f32
 *
 * One invocation, rows in order: the sum has one order on every device. */
#extension GL_GOOGLE_include_directive : require
#include "mem.glsl"
#include "args/cross_entropy.h"

layout(local_size_x_id = 0) in;
layout(push_constant) uniform Push { apus_cross_entropy_push p; };

void main()
{
    const uint rows = apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    float loss = 0.0, correct = 0.0;

    if (gl_LocalInvocationID.x != 0)
        return;
    uint r = 0;
    if (rows > 0)
        do {
            loss += BufF(p.rows_out).v[2 * r];
            correct += BufF(p.rows_out).v[2 * r + 1];
        } while (++r < rows);
    BufF(p.state).v[APUS_STATE_LOSS] += loss;
    BufF(p.state).v[APUS_STATE_CORRECT] += correct;
    BufF(p.state).v[APUS_STATE_TOKENS] += float(rows);
}
