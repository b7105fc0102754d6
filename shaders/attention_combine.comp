#version 450
/* o[t,h] = sum_i w_i o_i / sum_i w_i s_i, w_i = exp(m_i - max m), over the PARTS that
 * attention.comp divided the keys into; of a part s_i is the sum, m_i the maximum and o_i the
 * result before the division.
 *
 *   partial (T, H, PARTS, E + 4) f32: o_i, m_i, s_i, two that are not used; of a part without keys
 *   s_i is 0 and o_i was not written  ->  o (T, H*E) f32, f16 or bf16, lse (T, H) f32
 *
 * With SINKS the head's logit is one more part, whose sum is 1 and whose result 0.
 * A lane makes four elements of o; parts in order.  Dao et al., Flash-Decoding, 2023
 * (https://pytorch.org/blog/flash-decoding/). */
#extension GL_GOOGLE_include_directive : require
#include "attention.glsl"

void main()
{
    const uint i = gl_GlobalInvocationID.x, row_head = i / E4, e = i % E4;
    const uint rows = apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    if (row_head >= rows * p.heads)
        return;
    vec4 o = vec4(0.0);
    float top = NONE, sum = 0.0;
    if (SINKS == 1) {
        top = BufF(p.sinks).v[row_head % p.heads];
        sum = 1.0;
    }
    uint part = 0;
    do {
        const uint at = (row_head * PARTS + part) * (E4 + 1);
        const vec4 of = BufF4(p.partial).v[at + E4], mine = BufF4(p.partial).v[at + e];
        const float most = max(top, of.x), fade = exp(top - most);
        const bool some = of.y != 0.0;
        const float weight = some ? exp(of.x - most) : 0.0;
        o = o * fade + (some ? mine * weight : vec4(0.0));
        sum = sum * fade + of.y * weight;
        top = most;
    } while (++part < PARTS);
    apus_store4(TYPE, p.o, i, o * (sum > 0.0 ? 1.0 / sum : 0.0));
    if (e == 0 && !apus_none(p.lse))
        BufF(p.lse).v[row_head] = sum > 0.0 ? top + log(sum) : NONE;
}
