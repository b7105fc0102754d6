#version 450
/* Gradient of attention with respect to the queries.  With P = exp(scale q.k - lse), dP = do . v,
 * dot = do . o and dS = P (dP - dot), times 1 - (s / cap)^2 where a score s was capped (SOFTCAP);
 * with sinks lse has them, and nothing else changes:
 *
 *   d_q[t,h] = acc[t,h] + scale * sum_j dS[t,j] k[j]
 *
 *   q, o, do (T, H*E)  k, v (T, K*E), lse (T, H) f32  ->  d_q (T, H*E), dot (T, H) f32;  the others
 *   f32, f16 or bf16
 *
 * The probabilities are made again, never stored (arXiv:2307.08691, algorithm 2).  The same
 * division of
 * work as attention.comp: a lane owns query rows, keys are read at uniform addresses. */
#extension GL_GOOGLE_include_directive : require
#include "attention.glsl"

vec4 q[TM * OWN], d_o[TM * OWN];
uint own[TM]; /* index of the lane's first vec4 of a query */
float x[TM * KEYS], y[TM * KEYS];

/* x + q . k and y + d_o . v, of the e-th vec4 that the lane has of each. */
void dots(uint e, uint part, uvec2 k_at[KEYS], uvec2 v_at[KEYS])
{
    vec4 k[KEYS], v[KEYS];

    [[unroll]] for (uint j = 0; j < KEYS; j++) {
        k[j] = apus_load4(KV_TYPE, k_at[j], e * SPLIT + part);
        v[j] = apus_load4(KV_TYPE, v_at[j], e * SPLIT + part);
    }
    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint at = own[t] + e * SPLIT;
        const vec4 own_q = KEPT ? q[t * OWN + e] : apus_load4(TYPE, p.q, at) * p.scale;
        const vec4 own_d = KEPT ? d_o[t * OWN + e] : apus_load4(TYPE, p.d_o, at);
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            const uint i = t * KEYS + j;
            x[i] = fma(own_q.x, k[j].x, x[i]);
            x[i] = fma(own_q.y, k[j].y, x[i]);
            x[i] = fma(own_q.z, k[j].z, x[i]);
            x[i] = fma(own_q.w, k[j].w, x[i]);
            y[i] = fma(own_d.x, v[j].x, y[i]);
            y[i] = fma(own_d.y, v[j].y, y[i]);
            y[i] = fma(own_d.z, v[j].z, y[i]);
            y[i] = fma(own_d.w, v[j].w, y[i]);
        }
    }
}

void main()
{
    const uint lane = lane_of() / SPLIT, part = lane_of() % SPLIT, kv = gl_WorkGroupID.y;
    const uint lanes = gl_WorkGroupSize.x / SPLIT;
    const uint blocks = apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    if (gl_WorkGroupID.x >= blocks)
        return;
    const uint first = BufU(p.blocks).v[2 * gl_WorkGroupID.x], n =
        BufU(p.blocks).v[2 * gl_WorkGroupID.x + 1];
    const uint s = BufU(p.seq).v[first], base = BufU(p.base).v[s], n_keys = BufU(p.n_keys).v[s];
    vec4 d_q[TM * OWN];
    float lse[TM], dot_o[TM];
    uint pos[TM];

    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint r = min(t * lanes + lane, n * GROUP - 1), row = first + r / GROUP;
        const uint head = kv * GROUP + r % GROUP, at = head_index(row, p.heads, head, part);
        float sum = 0.0;
        own[t] = at;
        pos[t] = BufU(p.pos).v[row];
        lse[t] = BufF(p.lse).v[row * p.heads + head];
        [[unroll]] for (uint e = 0; e < OWN; e++) {
            q[t * OWN + e] = apus_load4(TYPE, p.q, at + e * SPLIT) * p.scale;
            d_o[t * OWN + e] = apus_load4(TYPE, p.d_o, at + e * SPLIT);
            d_q[t * OWN + e] = vec4(0.0);
            sum += dot(d_o[t * OWN + e], apus_load4(TYPE, p.o, at + e * SPLIT));
        }
        dot_o[t] = across(sum);
        if (part == 0 && t * lanes + lane < n * GROUP)
            BufF(p.dot).v[row * p.heads + head] = dot_o[t];
    }
    const uint pos0 = BufU(p.pos).v[first], pos1 = BufU(p.pos).v[first + n - 1];
    const uint from = p.window != 0 && pos0 + 1 > p.window ? pos0 + 1 - p.window : 0;
    const uint to = BIDIRECTIONAL == 1 ? n_keys : min(n_keys, pos1 + 1);
    uint j0 = from;
    do {
        uvec2 k_at[KEYS], v_at[KEYS];
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            const uint row = key_row(s, base, min(j0 + j, n_keys - 1));
            k_at[j] = key_at(p.k, row, kv);
            v_at[j] = key_at(p.v, row, kv);
        }
        [[unroll]] for (uint i = 0; i < TM * KEYS; i++)
            x[i] = y[i] = 0.0;
        uint i = 0;
        if (KEEP == APUS_ATTENTION_ONE_BY_ONE)
            [[dont_unroll]] do
                dots(i, part, k_at, v_at);
            while (++i < OWN);
        else
            [[unroll]] for (uint e = 0; e < OWN; e++)
                dots(e, part, k_at, v_at);
        [[unroll]] for (uint t = 0; t < TM; t++)
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                const uint i = t * KEYS + j;
                const float score = capped(across(x[i])), d_prob = across(y[i]);
                const float d = exp(score - lse[t]) * (d_prob - dot_o[t]);
                x[i] = sees(pos[t], j0 + j, n_keys) ? uncapped(d, score) * p.scale : 0.0;
            }
        read_again();
        [[unroll]] for (uint e = 0; e < OWN; e++)
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                const vec4 k = apus_load4(KV_TYPE, k_at[j], e * SPLIT + part);
                [[unroll]] for (uint t = 0; t < TM; t++)
                    d_q[t * OWN + e] = fma(vec4(x[t * KEYS + j]), k, d_q[t * OWN + e]);
            }
        j0 += KEYS;
    } while (j0 < to);
    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint r = t * lanes + lane;
        if (r >= n * GROUP)
            continue;
        const uint at = head_index(first + r / GROUP, p.heads, kv * GROUP + r % GROUP, part);
        [[unroll]] for (uint e = 0; e < OWN; e++) {
            if (!apus_none(p.acc_q))
                d_q[t * OWN + e] += apus_load4(TYPE, p.acc_q, at + e * SPLIT);
            apus_store4(TYPE, p.d_q, at + e * SPLIT, d_q[t * OWN + e]);
        }
    }
}
