#version 450
/* Gradient of attention with respect to keys and values (names as in attention_back.comp):
 *
 *   d_v[j] = acc + sum_t P[t,j] do[t]          d_k[j] = acc + scale * sum_t dS[t,j] q[t]
 *
 * summed over the query rows t that see j and the heads of its group.
 *
 *   q, do (T, H*E), lse, dot (T, H) f32  k, v (T, K*E)  ->  d_k, d_v (T, K*E);  the others f32, f16
 *   or bf16
 *
 * A lane (SPLIT of them, on GPUs) owns the key of one row and takes TM heads at a time; query rows
 * are read at addresses that are the same for all, in order; no atomics.  The rows of a sequence
 * stand together, so a workgroup's rows are seen from its first row to the end of its last row's
 * sequence. */
#extension GL_GOOGLE_include_directive : require
#include "attention.glsl"

vec4 k[OWN], v[OWN], d_k[OWN], d_v[OWN];

/* x + k . q and y + v . d_o for TM heads, of the e-th vec4 that the lane has of each; `own`: index
 * of its first. */
void dots(uint e, uint own, uint part, uvec2 q_at, uvec2 o_at, inout float x[TM],
          inout float y[TM])
{
    const vec4 own_k = KEPT ? k[e] : apus_load4(KV_TYPE, p.k, own + e * SPLIT) * p.scale;
    const vec4 own_v = KEPT ? v[e] : apus_load4(KV_TYPE, p.v, own + e * SPLIT);

    [[unroll]] for (uint h = 0; h < TM; h++) {
        const vec4 q = apus_load4(TYPE, q_at, h * E4 + e * SPLIT + part);
        const vec4 d_o = apus_load4(TYPE, o_at, h * E4 + e * SPLIT + part);
        x[h] = fma(own_k.x, q.x, x[h]);
        x[h] = fma(own_k.y, q.y, x[h]);
        x[h] = fma(own_k.z, q.z, x[h]);
        x[h] = fma(own_k.w, q.w, x[h]);
        y[h] = fma(own_v.x, d_o.x, y[h]);
        y[h] = fma(own_v.y, d_o.y, y[h]);
        y[h] = fma(own_v.z, d_o.z, y[h]);
        y[h] = fma(own_v.w, d_o.w, y[h]);
    }
}

/* Add what TM heads from `at` on (row and head of the query) give to the gradient of the lane's
 * key. */
void add_heads(uint at, bool seen, uint own, uint part)
{
    const uint bytes = E4 * 4 * apus_bytes(TYPE);
    const uvec2 q_at = apus_at(p.q, at, bytes), o_at = apus_at(p.d_o, at, bytes);
    float x[TM], y[TM];
    uint i = 0;

    [[unroll]] for (uint h = 0; h < TM; h++)
        x[h] = y[h] = 0.0;
    if (KEEP == APUS_ATTENTION_ONE_BY_ONE)
        [[dont_unroll]] do
            dots(i, own, part, q_at, o_at, x, y);
        while (++i < OWN);
    else
        [[unroll]] for (uint e = 0; e < OWN; e++)
            dots(e, own, part, q_at, o_at, x, y);
    read_again();
    [[unroll]] for (uint h = 0; h < TM; h++) {
        const float score = capped(across(x[h])), d_prob = across(y[h]);
        x[h] = seen ? exp(score - BufF(p.lse).v[at + h]) : 0.0;
        const float d = x[h] * (d_prob - BufF(p.dot).v[at + h]);
        y[h] = seen ? uncapped(d, score) * p.scale : 0.0;
    }
    [[unroll]] for (uint e = 0; e < OWN; e++)
        [[unroll]] for (uint h = 0; h < TM; h++) {
            const uint there = h * E4 + e * SPLIT + part;
            d_v[e] = fma(vec4(x[h]), apus_load4(TYPE, o_at, there), d_v[e]);
            d_k[e] = fma(vec4(y[h]), apus_load4(TYPE, q_at, there), d_k[e]);
        }
}

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

    [[unroll]] for (uint e = 0; e < OWN; e++) {
        k[e] = apus_load4(KV_TYPE, p.k, own + e * SPLIT) * p.scale;
        v[e] = apus_load4(KV_TYPE, p.v, own + e * SPLIT);
        d_k[e] = d_v[e] = vec4(0.0);
    }
    uint t = from;
    do {
        const bool seen = BufU(p.seq).v[t] == s && sees(BufU(p.pos).v[t], key, n_keys);
        if (KEPT) {
            [[unroll]] for (uint g = 0; g < GROUP; g += TM)
                add_heads(t * p.heads + kv * GROUP + g, seen, own, part);
        } else {
            uint g = 0;
            [[dont_unroll]] do {
                add_heads(t * p.heads + kv * GROUP + g, seen, own, part);
                g += TM;
            } while (g < GROUP);
        }
    } while (++t < to);
    if (first + lane > last)
        return;
    [[unroll]] for (uint e = 0; e < OWN; e++) {
        if (!apus_none(p.acc_k))
            d_k[e] += apus_load4(KV_TYPE, p.acc_k, own + e * SPLIT);
        if (!apus_none(p.acc_v))
            d_v[e] += apus_load4(KV_TYPE, p.acc_v, own + e * SPLIT);
        apus_store4(KV_TYPE, p.d_k, own + e * SPLIT, d_k[e]);
        apus_store4(KV_TYPE, p.d_v, own + e * SPLIT, d_v[e]);
    }
}
