#version 450
/* o[t,h] = sum_j softmax_j(scale * q[t,h] . k[j,h/G]) v[j,h/G] over the keys j that row t sees
 *
 *   q (T, H*E)  k, v: rows of (K*E) by page  ->  o (T, H*E), lse (T, H) f32;  the others f32, f16
 *   or bf16
 *
 * One pass with a running maximum and sum: Dao et al., FlashAttention, 2022 (arXiv:2205.14135),
 * and Dao, FlashAttention-2, 2023 (arXiv:2307.08691), algorithm 1.
 * SOFTCAP: a score s is cap * tanh(s / cap), before the mask (Gemma 2, arXiv:2408.00118).
 * SINKS: a learned logit of each head stands in the sum below the fraction, without a value
 * (gpt-oss model card, arXiv:2508.10925): the running sum starts with it.
 * PARTS: where few rows see many keys, the z of the grid is a part of the keys that the block sees;
 * it leaves o before the division, the maximum and the sum for attention_combine.comp (Dao et al.,
 * Flash-Decoding, 2023, https://pytorch.org/blog/flash-decoding/).  A part without keys leaves a
 * sum of 0.
 * A workgroup takes a block of rows of one sequence and one key-value head; a lane owns query rows
 * (token, head of the group), so that every address of a key or a value is the same for all
 * lanes, and no lane needs another.  Where registers are few (GPUs), SPLIT lanes share each row.
 * The same shader serves prefill, decode and training. */
#extension GL_GOOGLE_include_directive : require
#include "attention.glsl"

vec4 o[TM * OWN];
float top[TM], sum[TM];

/* What the lane has found of its rows in this part of the keys: o, then maximum and sum. */
void store_part(uint lane, uint part, uint lanes, uint kv, uint first, uint n)
{
    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint r = t * lanes + lane;
        if (r >= n * GROUP)
            continue;
        const uint row = first + r / GROUP, head = kv * GROUP + r % GROUP;
        const uint at = ((row * p.heads + head) * PARTS + gl_WorkGroupID.z) * (E4 + 1);
        if (sum[t] != 0.0)
            [[unroll]] for (uint e = 0; e < OWN; e++)
                BufF4(p.partial).v[at + part + e * SPLIT] = o[t * OWN + e];
        if (part == 0)
            BufF4(p.partial).v[at + E4] = vec4(top[t], sum[t], 0.0, 0.0);
    }
}

/* The rows of query heads that this lane has a part of, and their log-sum-exp. */
void store(uint lane, uint part, uint lanes, uint kv, uint first, uint n)
{
    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint r = t * lanes + lane;
        if (r >= n * GROUP)
            continue;
        const uint row = first + r / GROUP, head = kv * GROUP + r % GROUP;
        const uint at = head_index(row, p.heads, head, part);
        const float share = sum[t] > 0.0 ? 1.0 / sum[t] : 0.0;
        [[unroll]] for (uint e = 0; e < OWN; e++)
            apus_store4(TYPE, p.o, at + e * SPLIT, o[t * OWN + e] * share);
        if (part == 0 && !apus_none(p.lse))
            BufF(p.lse).v[row * p.heads + head] = sum[t] > 0.0 ? top[t] + log(sum[t]) : NONE;
    }
}

/* Nothing was seen by the t-th row yet, but its head's sink. */
void start(uint t, uint head)
{
    top[t] = NONE;
    sum[t] = 0.0;
    if (SINKS == 1 && PARTS == 1) {
        top[t] = BufF(p.sinks).v[head];
        sum[t] = 1.0;
    }
}

/* Of the keys [from, to) those of this workgroup.  Where there are none the loop runs once all the
 * same, and sees no key: llvmpipe runs a loop that no lane enters, and loads from addresses that no
 * lane has made. */
void take_part(inout uint from, inout uint to)
{
    if (PARTS > 1) { /* whole fours: no turn of the loop reaches into the next part */
        const uint fours = (to - from + 4 * PARTS - 1) / (4 * PARTS);
        const uint keys = max(4 * fours, APUS_ATTENTION_PART);
        from += gl_WorkGroupID.z * keys;
        to = min(to, from + keys);
    }
}

void main()
{
    const uint lane = lane_of() / SPLIT, part = lane_of() % SPLIT, kv = gl_WorkGroupID.y;
    const uint lanes = gl_WorkGroupSize.x / SPLIT;
    const uint block = gl_WorkGroupID.x;
    const uint blocks = apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);
    if (block >= blocks)
        return;
    const uint first = BufU(p.blocks).v[2 * block], n = BufU(p.blocks).v[2 * block + 1];
    const uint s = BufU(p.seq).v[first], base = BufU(p.base).v[s], n_keys = BufU(p.n_keys).v[s];
    vec4 q[TM * OWN];
    uint pos[TM], own[TM];

    [[unroll]] for (uint t = 0; t < TM; t++) {
        const uint r = min(t * lanes + lane, n * GROUP - 1), row = first + r / GROUP;
        const uint head = kv * GROUP + r % GROUP, at = head_index(row, p.heads, head, part);
        own[t] = at;
        start(t, head);
        pos[t] = BufU(p.pos).v[row];
        [[unroll]] for (uint e = 0; e < OWN; e++) {
            q[t * OWN + e] = apus_load4(TYPE, p.q, at + e * SPLIT) * p.scale;
            o[t * OWN + e] = vec4(0.0);
        }
    }
    const uint pos0 = BufU(p.pos).v[first], pos1 = BufU(p.pos).v[first + n - 1];
    uint from = p.window != 0 && pos0 >= p.window ? (pos0 + 1 - p.window) / KEYS * KEYS : 0;
    uint to = BIDIRECTIONAL == 1 ? n_keys : min(n_keys, pos1 + 1);
    take_part(from, to);
    uint j0 = from;
    do {
        float x[TM * KEYS];
        uint row[KEYS]; /* all before the first key is read, which would wait for its page alone */
        [[unroll]] for (uint j = 0; j < KEYS; j++)
            row[j] = key_row(s, base, min(j0 + j, n_keys - 1));
        [[unroll]] for (uint j = 0; j < KEYS; j++) {
            const uvec2 k_at = key_at(p.k, row[j], kv);
            [[unroll]] for (uint t = 0; t < TM; t++)
                x[t * KEYS + j] = 0.0;
            [[unroll]] for (uint e = 0; e < OWN; e++) {
                const vec4 k = apus_load4(KV_TYPE, k_at, e * SPLIT + part);
                [[unroll]] for (uint t = 0; t < TM; t++) {
                    const vec4 own_q =
                        KEPT ? q[t * OWN + e]
                             : apus_load4(TYPE, p.q, own[t] + e * SPLIT) * p.scale;
                    x[t * KEYS + j] = fma(own_q.x, k.x, x[t * KEYS + j]);
                    x[t * KEYS + j] = fma(own_q.y, k.y, x[t * KEYS + j]);
                    x[t * KEYS + j] = fma(own_q.z, k.z, x[t * KEYS + j]);
                    x[t * KEYS + j] = fma(own_q.w, k.w, x[t * KEYS + j]);
                }
            }
            [[unroll]] for (uint t = 0; t < TM; t++)
                x[t * KEYS + j] = capped(across(x[t * KEYS + j]));
        }
        [[unroll]] for (uint t = 0; t < TM; t++) {
            float most = top[t], add = 0.0;
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                x[t * KEYS + j] = sees(pos[t], j0 + j, n_keys) ? x[t * KEYS + j] : NONE;
                most = apus_larger(most, x[t * KEYS + j]);
            }
            const float fade = exp(top[t] - most);
            top[t] = most;
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                x[t * KEYS + j] = x[t * KEYS + j] == NONE ? 0.0 : exp(x[t * KEYS + j] - most);
                add += x[t * KEYS + j];
            }
            sum[t] = sum[t] * fade + add;
            [[unroll]] for (uint e = 0; e < OWN; e++)
                o[t * OWN + e] *= fade;
        }
        [[unroll]] for (uint e = 0; e < OWN; e++)
            [[unroll]] for (uint j = 0; j < KEYS; j++) {
                const vec4 v = apus_load4(KV_TYPE, key_at(p.v, row[j], kv), e * SPLIT + part);
                [[unroll]] for (uint t = 0; t < TM; t++)
                    o[t * OWN + e] = fma(vec4(x[t * KEYS + j]), v, o[t * OWN + e]);
            }
    } while ((j0 += KEYS) < to);
    if (PARTS > 1)
        store_part(lane, part, lanes, kv, first, n);
    else
        store(lane, part, lanes, kv, first, n);
}
