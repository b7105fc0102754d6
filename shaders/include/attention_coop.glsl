/* attention_coop.glsl - attention.comp's result on matrix cores; T is the 16-bit type of operands,
 * T_TYPE its number, T_BITS four rounded to it.
 *
 *   q (T, H*E)  k, v: rows of (K*E) by page  ->  o (T, H*E), lse (T, H) f32;  the others f32, f16
 *   or bf16
 *
 * q, k, v and the shares (exp of a score less the running maximum) are rounded to T, products and
 * sums are f32.  A workgroup takes TM blocks of rows of one key-value head, a subgroup FM rows of
 * query heads: scores of KEYS keys are made in fragments of FM x FN, go through shared memory to
 * the lanes, SPLIT of which share a row, and come back as shares, an operand of the product with v.
 *
 * Which element of a fragment a lane has is not known, so that rescaling the sums of o goes through
 * shared memory as well.  It is done only where a row's maximum grew by more than SLACK: until then
 * shares grow to at most exp(SLACK) = 256, and o is divided by the sum of the same shares. */
#ifndef APUS_ATTENTION_COOP_GLSL
#define APUS_ATTENTION_COOP_GLSL
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#include "attention.glsl"
#include "narrow.glsl"

layout(constant_id = 14) const uint SUBS = 4; /* subgroups */
layout(constant_id = 15) const uint FM = 16;
layout(constant_id = 16) const uint FN = 16;
layout(constant_id = 17) const uint FK = 16;
layout(constant_id = 18) const uint BLOCK_ROWS = 16; /* of query heads, in a block */
/* 1: all subgroups pass the same barriers, which are the workgroup's: for llvmpipe a subgroup's
 * is that too, and the validation layer knows no other. */
layout(constant_id = 19) const uint TOGETHER = 0;

const uint LOCAL = SUBS * FM * SPLIT;
const uint ROWS = SUBS * FM;             /* room for rows */
const uint UNITS = E4 / 2;               /* of 16 bytes, in a row of q, k or v */
const uint STRIDE = UNITS + 1;           /* padded against bank conflicts */
const uint SCORES = KEYS / 4 + 1;        /* of 16 bytes, in a row of scores */
const uint FRAGMENTS = 4 * E4 / FN;      /* of o */
const uint OWN_KEYS = KEYS / SPLIT;      /* scores of a row that a lane has */
const float SLACK = 5.545177;            /* log(256) */

shared uvec4 block_q[ROWS * STRIDE];
shared uvec4 block_k[KEYS * STRIDE];     /* keys, then values */
shared uvec4 block_s[ROWS * SCORES];     /* scores, then shares, and o's fragments between */

coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator> o[FRAGMENTS];
uint first_block, end_block, top_block; /* those of one sequence; the workgroup's first */
uint lane, row_at, part, at;             /* of the subgroup; its row, its part of it, their place */
float top, sum;

/* Elements 8u .. 8u+7 from `from` on, in T. */
uvec4 unit_of(uint type, uvec2 from, uint u)
{
    if (type == T_TYPE)
        return BufU4(from).v[u];
    return uvec4(narrowed(apus_load4(type, from, 2 * u), type),
                 narrowed(apus_load4(type, from, 2 * u + 1), type));
}

/* Row and query head of a place for rows, some other where it has none; whether it has one. */
bool locate(uint place, uint kv, out uint row, out uint head)
{
    const uint i = place % BLOCK_ROWS, b = top_block + place / BLOCK_ROWS;
    const bool live = place < TM * BLOCK_ROWS && b >= first_block && b < end_block;
    const uint known = live ? b : first_block, n = BufU(p.blocks).v[2 * known + 1];

    row = BufU(p.blocks).v[2 * known] + min(i / GROUP, n - 1);
    head = kv * GROUP + i % GROUP;
    return live && i < n * GROUP;
}

void stage_q(uint kv)
{
    for (uint i = gl_LocalInvocationID.x; i < ROWS * UNITS; i += LOCAL) {
        uint row, head;
        uvec4 x = uvec4(0);
        if (locate(i / UNITS, kv, row, head))
            x = unit_of(TYPE, p.q, (row * p.heads + head) * UNITS + i % UNITS);
        block_q[i / UNITS * STRIDE + i % UNITS] = x;
    }
}

/* Rows of keys or values from key j0 on; beyond the end the last one, whose share is 0. */
void stage(uvec2 cache, uint kv, uint s, uint base, uint n_keys, uint j0)
{
    for (uint i = gl_LocalInvocationID.x; i < KEYS * UNITS; i += LOCAL) {
        const uint row = key_row(s, base, min(j0 + i / UNITS, n_keys - 1));
        block_k[i / UNITS * STRIDE + i % UNITS] =
            unit_of(KV_TYPE, key_at(cache, row, kv), i % UNITS);
    }
}

void score()
{
    coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator> x[KEYS / FN];

    [[unroll]] for (uint j = 0; j < KEYS / FN; j++)
        x[j] = coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator>(0.0);
    [[unroll]] for (uint e = 0; e < 4 * E4; e += FK) {
        coopmat<T, gl_ScopeSubgroup, FM, FK, gl_MatrixUseA> a;
        coopMatLoad(a, block_q, gl_SubgroupID * FM * STRIDE + e / 8, STRIDE,
                    gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint j = 0; j < KEYS / FN; j++) {
            coopmat<T, gl_ScopeSubgroup, FK, FN, gl_MatrixUseB> b;
            coopMatLoad(b, block_k, j * FN * STRIDE + e / 8, STRIDE,
                        gl_CooperativeMatrixLayoutColumnMajor);
            x[j] = coopMatMulAdd(a, b, x[j]);
        }
    }
    [[unroll]] for (uint j = 0; j < KEYS / FN; j++)
        coopMatStore(x[j], block_s, gl_SubgroupID * FM * SCORES + j * FN / 4, SCORES,
                     gl_CooperativeMatrixLayoutRowMajor);
}

/* What lanes of the subgroup wrote is there for the others. */
void exchange()
{
    if (TOGETHER == 1)
        barrier();
    else
        subgroupBarrier();
}

/* Fragment f of o goes to shared memory, the lane's part of its row from `at` + `part` on. */
void lay_out(uint f, bool needed)
{
    exchange();
    if (needed)
        coopMatStore(o[f], block_s, gl_SubgroupID * FM * SCORES, SCORES,
                     gl_CooperativeMatrixLayoutRowMajor);
    exchange();
}

/* Multiply rows of o by `fade`. */
void multiply(float fade, bool needed)
{
    [[unroll]] for (uint f = 0; f < FRAGMENTS; f++) {
        lay_out(f, needed);
        [[unroll]] for (uint i = 0; i < FN / 4; i += SPLIT)
            if (needed && i + part < FN / 4)
                block_s[at + part + i] =
                    floatBitsToUint(uintBitsToFloat(block_s[at + part + i]) * fade);
        exchange();
        if (needed)
            coopMatLoad(o[f], block_s, gl_SubgroupID * FM * SCORES, SCORES,
                        gl_CooperativeMatrixLayoutRowMajor);
    }
}

/* The same if the subgroup has a row that needs it. */
void rescale(float fade, bool needed)
{
    if (TOGETHER == 1)
        multiply(fade, needed);
    else if (needed)
        multiply(fade, true);
    exchange();
}

/* From scores to shares. */
void share(uint pos, uint j0, uint n_keys, bool begun)
{
    const uint own = at + part * (OWN_KEYS / 4);
    float x[OWN_KEYS], most = NONE;

    [[unroll]] for (uint i = 0; i < OWN_KEYS; i++) {
        const uint key = j0 + part * OWN_KEYS + i;
        x[i] = capped(uintBitsToFloat(block_s[own + i / 4][i % 4]) * p.scale);
        x[i] = sees(pos, key, n_keys) ? x[i] : NONE;
        most = apus_larger(most, x[i]);
    }
    [[unroll]] for (uint d = 1; d < SPLIT; d *= 2)
        most = max(most, subgroupShuffleXor(most, d));
    const bool grown = most > top + SLACK;
    const float fade = grown ? exp(top - most) : 1.0;
    top = grown ? most : top;
    rescale(fade, begun && subgroupMax(grown ? 1u : 0u) == 1u);
    float add = 0.0;
    [[unroll]] for (uint i = 0; i < OWN_KEYS; i++) {
        x[i] = x[i] == NONE ? 0.0 : exp(x[i] - top);
        add += x[i];
    }
    sum = sum * fade + across(add);
    [[unroll]] for (uint i = 0; i < OWN_KEYS; i += 8)
        block_s[at + (part * OWN_KEYS + i) / 8] =
            uvec4(T_BITS(vec4(x[i], x[i + 1], x[i + 2], x[i + 3])),
                  T_BITS(vec4(x[i + 4], x[i + 5], x[i + 6], x[i + 7])));
}

void add_values()
{
    [[unroll]] for (uint j = 0; j < KEYS; j += FK) {
        coopmat<T, gl_ScopeSubgroup, FM, FK, gl_MatrixUseA> a;
        coopMatLoad(a, block_s, gl_SubgroupID * FM * SCORES + j / 8, SCORES,
                    gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint f = 0; f < FRAGMENTS; f++) {
            coopmat<T, gl_ScopeSubgroup, FK, FN, gl_MatrixUseB> b;
            coopMatLoad(b, block_k, j * STRIDE + f * FN / 8, STRIDE,
                        gl_CooperativeMatrixLayoutRowMajor);
            o[f] = coopMatMulAdd(a, b, o[f]);
        }
    }
}

void store(bool live, uint row, uint head)
{
    const float whole = sum > 0.0 ? 1.0 / sum : 0.0;

    [[unroll]] for (uint f = 0; f < FRAGMENTS; f++) {
        lay_out(f, true);
        [[unroll]] for (uint i = 0; i < FN / 4; i += SPLIT)
            if (live && i + part < FN / 4)
                apus_store4(TYPE, p.o, (row * p.heads + head) * E4 + f * FN / 4 + part + i,
                            uintBitsToFloat(block_s[at + part + i]) * whole);
    }
    if (live && part == 0 && !apus_none(p.lse))
        BufF(p.lse).v[row * p.heads + head] = sum > 0.0 ? top + log(sum) : NONE;
}

/* Blocks [first_block, end_block), all of sequence s. */
void attend(uint kv, uint s)
{
    const uint base = BufU(p.base).v[s], n_keys = BufU(p.n_keys).v[s];
    const uint last = 2 * (end_block - 1);
    const uint pos0 = BufU(p.pos).v[BufU(p.blocks).v[2 * first_block]];
    const uint pos1 = BufU(p.pos).v[BufU(p.blocks).v[last] + BufU(p.blocks).v[last + 1] - 1];
    const uint to = BIDIRECTIONAL == 1 ? n_keys : min(n_keys, pos1 + 1);
    uint row, head;

    const bool live = locate(gl_SubgroupID * FM + row_at, kv, row, head);
    const uint pos = BufU(p.pos).v[row];
    top = NONE;
    sum = 0.0;
    if (SINKS == 1) {
        top = BufF(p.sinks).v[head];
        sum = 1.0;
    }
    [[unroll]] for (uint f = 0; f < FRAGMENTS; f++)
        o[f] = coopmat<float, gl_ScopeSubgroup, FM, FN, gl_MatrixUseAccumulator>(0.0);
    barrier();
    stage_q(kv);
    const uint from = p.window != 0 && pos0 >= p.window ? (pos0 + 1 - p.window) / KEYS * KEYS : 0;
    uint j0 = from;
    do {
        barrier();
        stage(p.k, kv, s, base, n_keys, j0);
        barrier();
        score();
        barrier();
        stage(p.v, kv, s, base, n_keys, j0);
        share(pos, j0, n_keys, j0 > from);
        barrier();
        add_values();
    } while ((j0 += KEYS) < to);
    store(live, row, head);
}

void main()
{
    const uint blocks = apus_live_rows(push.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul);

    top_block = gl_WorkGroupID.x * TM;
    const uint all = min(top_block + TM, blocks);
    lane = gl_SubgroupInvocationID;
    row_at = lane / SPLIT;
    part = lane % SPLIT;
    at = (gl_SubgroupID * FM + row_at) * SCORES;
    for (first_block = top_block; first_block < all; first_block = end_block) {
        const uint s = BufU(p.seq).v[BufU(p.blocks).v[2 * first_block]];
        end_block = first_block + 1;
        while (end_block < all && BufU(p.seq).v[BufU(p.blocks).v[2 * end_block]] == s)
            end_block++;
        attend(gl_WorkGroupID.y, s);
    }
}

#endif
