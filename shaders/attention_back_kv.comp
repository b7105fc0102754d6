#version 450
/* Gradient of attention with respect to keys and values (names as in attention_back.comp):
 *
 *   d_v[j] = acc + sum_t P[t,j] do[t]          d_k[j] = acc + scale * sum_t dS[t,j] q[t]
 *
 * summed over the query rows t that see j and the heads of its group.
 *
 *   q, do (T, H*E), lse, dot (T, H)  k, v (T, K*E) f32  ->  d_k, d_v (T, K*E) f32
 *
 * A lane (SPLIT of them, on GPUs) owns the key of one row; query rows are read at addresses that
 * are the same for all, in order; no atomics.  The rows of a sequence stand together, so a
 * workgroup's rows are seen from its first row to the end of its last row's sequence. */
#extension GL_GOOGLE_include_directive : require
#include "attention.glsl"

void main()
{
    const uint lane = lane_of() / SPLIT, part = lane_of() % SPLIT, kv = gl_WorkGroupID.y;
    const uint lanes = gl_WorkGroupSize.x / SPLIT, first = gl_WorkGroupID.x * lanes;
    const uint rows = apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    if (first >= rows)
        return;
    const uint last = min(first + lanes, rows) - 1, row = min(first + lane, last);
    const uint s_last = BufU(p.seq).v[last], s_first = BufU(p.seq).v[first];
    const uint from = BIDIRECTIONAL == 1 ? BufU(p.base).v[s_first] : first;
    const uint end = BufU(p.base).v[s_last] + BufU(p.n_keys).v[s_last];
    const uint s = BufU(p.seq).v[row], key = BufU(p.pos).v[row], n_keys = BufU(p.n_keys).v[s];
    const uint to = p.window != 0 && BIDIRECTIONAL == 0 ? min(end, last + p.window) : end;
    const uint own = head_index(row, p.kv_heads, kv, part);
    vec4 k[OWN], v[OWN], d_k[OWN], d_v[OWN];

    [[unroll]] for (uint e = 0; e < OWN; e++) {
        k[e] = BufF4(p.k).v[own + e * SPLIT] * p.scale;
        v[e] = BufF4(p.v).v[own + e * SPLIT];
        d_k[e] = d_v[e] = vec4(0.0);
    }
    uint t = from;
    do {
        const bool seen = BufU(p.seq).v[t] == s && sees(BufU(p.pos).v[t], key, n_keys);
        [[unroll]] for (uint g = 0; g < GROUP; g++) {
            const uint at = t * p.heads + kv * GROUP + g;
            const uvec2 q_at = apus_at(p.q, at, 16 * E4), o_at = apus_at(p.d_o, at, 16 * E4);
            float x = 0.0, y = 0.0;
            [[unroll]] for (uint e = 0; e < OWN; e++) {
                const uint i = e * SPLIT + part;
                const vec4 q = BufF4(q_at).v[i], d_o = BufF4(o_at).v[i];
                x += k[e].x * q.x;
                x += k[e].y * q.y;
                x += k[e].z * q.z;
                x += k[e].w * q.w;
                y += v[e].x * d_o.x;
                y += v[e].y * d_o.y;
                y += v[e].z * d_o.z;
                y += v[e].w * d_o.w;
            }
            x = across(x);
            y = across(y);
            const float prob = seen ? exp(x - BufF(p.lse).v[at]) : 0.0;
            const float ds = seen ? prob * (y - BufF(p.dot).v[at]) * p.scale : 0.0;
            [[unroll]] for (uint e = 0; e < OWN; e++) {
                d_v[e] += prob * BufF4(o_at).v[e * SPLIT + part];
                d_k[e] += ds * BufF4(q_at).v[e * SPLIT + part];
            }
        }
    } while (++t < to);
    if (first + lane > last)
        return;
    [[unroll]] for (uint e = 0; e < OWN; e++) {
        if (!apus_none(p.acc_k))
            d_k[e] += BufF4(p.acc_k).v[own + e * SPLIT];
        if (!apus_none(p.acc_v))
            d_v[e] += BufF4(p.acc_v).v[own + e * SPLIT];
        BufF4(p.d_k).v[own + e * SPLIT] = d_k[e];
        BufF4(p.d_v).v[own + e * SPLIT] = d_v[e];
    }
}
