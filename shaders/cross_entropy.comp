#version 450
/* Softmax cross-entropy of a chunk of rows, with its gradient in place of the logits:
 *
 *   nll[r] = log sum_v exp(z[r,v]) - z[r,label[r]]
 *   z[r,v] <- (softmax(z[r])[v] - (v == label[r])) * weight[r] * scale     where GRADIENT is 1
 *
 *   z (R, V) f32, in place  labels (R) u32  weights (R) f32
 *   ->  rows_out (R, 2) f32: weight * nll, and whether the first most likely id is the label
 *
 * One subgroup a row; lanes keep a running maximum and sum, combined in a fixed order. */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_basic : require
#include "mem.glsl"
#include "args/cross_entropy.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint GRADIENT = 1;
layout(push_constant) uniform Push { apus_cross_entropy_push p; };

void main()
{
    const uint row = gl_WorkGroupID.x, lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x;
    const uvec2 z = apus_at(p.logits, row, 4 * p.vocab);
    float most = -3.4e38, sum = 0.0;
    uint best = 0xffffffffu;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    for (uint v0 = 0; v0 < p.vocab; v0 += 65536) /* no loop runs past 65,535 turns (Mesa 22.3) */
        for (uint v = v0 + lane; v < min(v0 + 65536, p.vocab); v += lanes) {
            const float x = BufF(z).v[v];
            if (x > most) {
                most = x;
                best = v;
            }
        }
    const float top = subgroupMax(most);
    const uint argmax = subgroupMin(most == top ? best : 0xffffffffu);
    for (uint v0 = 0; v0 < p.vocab; v0 += 65536)
        for (uint v = v0 + lane; v < min(v0 + 65536, p.vocab); v += lanes)
            sum += exp(BufF(z).v[v] - top);
    const float total = subgroupAdd(sum);
    const uint label = BufU(p.labels).v[row];
    const float weight = BufF(p.weights).v[row];
    if (lane == 0) {
        const float nll = label < p.vocab ? log(total) - (BufF(z).v[label] - top) : 0.0;
        BufF(p.rows_out).v[2 * row] = weight * nll;
        BufF(p.rows_out).v[2 * row + 1] = argmax == label ? 1.0 : 0.0;
    }
    if (GRADIENT == 0)
        return;
    subgroupMemoryBarrierBuffer(); /* the label's logit is read above, before it is overwritten */
    const float scale = label < p.vocab
        ? weight * uintBitsToFloat(BufU(p.step).v[p.scale_var]) : 0.0;
    const float share = scale / total;
    for (uint v0 = 0; v0 < p.vocab; v0 += 65536)
        for (uint v = v0 + lane; v < min(v0 + 65536, p.vocab); v += lanes)
            BufF(z).v[v] = exp(BufF(z).v[v] - top) * share - (v == label ? scale : 0.0);
}
