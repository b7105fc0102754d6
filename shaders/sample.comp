#version 450
/* Draw an id from a row of logits: repetition penalty, temperature, top-k, top-p, min-p, then by
 * chance.
 *
 *   logits (S, V) f32  settings (S, 8)  blocks (S, 2, n_blocks) f32 of sample_blocks.comp
 *   ->  drawn (S) u32; its bit in the row of `seen`
 *
 *   z  = logits, an id that was seen: z / penalty, or z * penalty below 0;  NaN and -inf: never
 *   drawn
 *   top-k: z >= the k-th largest (ties stay).  w = exp((z - max) / temperature)
 *   top-p: with ids sorted by z, then id, downwards, those before which less than top_p of the
 *   mass lies
 *   min-p: w >= min_p.  temperature 0: the lowest id of the largest z.  No id left: 0
 *   u  = the upper 24 bits of word 0 of Philox4x32-10 of key (seed, 0x53616D70) and counter
 *        (position, 0, 0, 0), times 2^-24
 *   drawn = the first id, upwards, for which the sum of w of kept ids up to it is > u * their sum
 *
 * One subgroup a row.  The maxima of the blocks bound the thresholds from below: k blocks have a
 * maximum
 * of at least the k-th largest maximum; and for top-p, what lies below t weighs at most 64 exp(t) a
 * block.  Only blocks with a maximum above the bound are looked at; their candidates are listed,
 * and where they are too many the row itself is the list.  Without filters the blocks' sums do.
 * Holtzman et al. 2020, arXiv:1904.09751 (top-p); Fan et al. 2018, arXiv:1805.04833 (top-k);
 * Nguyen et al. 2024, arXiv:2407.01082 (min-p). */
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_basic : require
#include "sample_search.glsl"
#include "philox.glsl"

layout(local_size_x_id = 0) in;



Source of_blocks(uint row)
{
    return Source(p.blocks, 2 * row * p.n_blocks, OF_BLOCKS, p.n_blocks, 0u, NONE);
}

Source of_row(uint row)
{
    return Source(p.logits, row * p.vocab, OF_ROW, p.vocab, 0u, seen_row(row));
}

/* The lowest id of the largest value. */
uint greedy(uint row)
{
    const Source blocks = of_blocks(row), z = of_row(row);
    uint best = NONE;
    float top = DEAD;

    for (uint b = lane; b < p.n_blocks; b += lanes)
        if (value(blocks, b) == most)
            best = min(best, b);
    const uint first = subgroupMin(best) * APUS_SAMPLE_BLOCK;
    best = NONE;
    for (uint v = first + lane; v < min(first + APUS_SAMPLE_BLOCK, p.vocab); v += lanes) {
        const float x = value(z, v);
        if (x > top) {
            top = x;
            best = v;
        }
    }
    return subgroupMin(top == subgroupMax(top) ? best : NONE);
}

/* List the ids with z >= lo, upwards, or take the whole row where they are too many. */
Source list_candidates(uint row, float lo)
{
    const Source blocks = of_blocks(row), z = of_row(row);
    const uint list = row * p.list_room;
    uint n = 0;

    for (uint b0 = 0; b0 < p.n_blocks && n <= p.list_room; b0 += lanes) {
        uvec4 left = subgroupBallot(value(blocks, b0 + lane) >= lo);
        while (any(notEqual(left, uvec4(0))) && n <= p.list_room) {
            const uint bit = subgroupBallotFindLSB(left), first = (b0 + bit) * APUS_SAMPLE_BLOCK;
            left[bit >> 5] &= ~(1u << (bit & 31u));
            for (uint v = first + lane; v < first + APUS_SAMPLE_BLOCK + lane; v += lanes) {
                const float x = v < first + APUS_SAMPLE_BLOCK ? value(z, v) : DEAD;
                const bool wanted = x >= lo && x > DEAD;
                const uvec4 votes = subgroupBallot(wanted);
                const uint at = n + subgroupBallotExclusiveBitCount(votes);
                if (wanted && at < p.list_room)
                    BufU2(p.list).v[list + at] = uvec2(floatBitsToUint(x), v);
                n += subgroupBallotBitCount(votes);
            }
        }
    }
    subgroupMemoryBarrierBuffer();
    subgroupBarrier();
    if (subgroupBroadcastFirst(n) > p.list_room) /* the address must not look like one a lane */
        return z;
    return Source(p.list, 2 * list, OF_LIST, n, 1u, NONE);
}

/* Walk the kept items from `first` in chunks until their mass exceeds `target`: the last chunk that
 * holds any, the mass before it and the mass up to its end. */
void walk(Source s, uint first, float target, out uint chunk, out float before, out float sum)
{
    vec4 total = vec4(0.0), lost = vec4(0.0);

    chunk = first;
    before = sum = 0.0;
    for (uint i0 = first; i0 < s.n; i0 += UNROLL * lanes) {
        float m = 0.0;
        [[unroll]] for (uint k = 0; k < UNROLL; k++) {
            const uint i = i0 + k * lanes + lane;
            m += kept_weight(s, i, value(s, i));
        }
        m = subgroupAdd(m);
        if (m > 0.0) {
            chunk = i0;
            before = sum;
        }
        add_to(total, lost, vec4(m, 0.0, 0.0, 0.0));
        sum = total.x;
        if (sum > target)
            break;
    }
}

float mass(Source s)
{
    uint chunk;
    float before, sum;

    walk(s, 0u, LARGEST, chunk, before, sum);
    return sum;
}

/* Of equal values at the threshold of top-p those with the highest ids stay, as many as are
 * needed. */
void cut_ties(Source s, float want)
{
    const float each = weight_of(cut);
    vec4 sums = vec4(0.0), lost = vec4(0.0); /* the mass above the threshold, and the ties */

    for (uint i0 = lane; i0 < s.n; i0 += UNROLL * lanes) {
        vec4 part = vec4(0.0);
        [[unroll]] for (uint k = 0; k < UNROLL; k++) {
            const float z = value(s, i0 + k * lanes);
            part += vec4(z > cut ? weight_of(z) : 0.0, z == cut ? 1.0 : 0.0, 0.0, 0.0);
        }
        add_to(sums, lost, part);
    }
    const float above = subgroupAdd(sums.x), ties = subgroupAdd(sums.y);
    const float keep = each > 0.0 ? clamp(ceil((want - above) / each), 1.0, ties) : ties;
    uint drop = uint(ties - keep);
    for (uint i0 = 0; i0 < s.n && drop > 0u; i0 += lanes) {
        const uint i = i0 + lane;
        const bool tie = value(s, i) == cut;
        const uvec4 votes = subgroupBallot(tie);
        const uint count = subgroupBallotBitCount(votes);
        const bool last = tie && subgroupBallotExclusiveBitCount(votes) + 1u == drop;
        if (count >= drop)
            cut_id = subgroupMin(last ? id_of(s, i) : NONE - 1u) + 1u;
        drop -= min(count, drop);
    }
}

/* The item, from `first` on, where u of the mass is reached; u becomes the rest within it. */
uint draw(Source s, uint first, inout float u)
{
    float before, sum, target = LARGEST;
    uint chunk, at = first;

    for (uint turn = 0; turn < 2; turn++) { /* first their mass, then where it reaches the target */
        walk(s, first, target, chunk, before, sum);
        target = turn == 0 ? u * sum : target;
    }
    for (uint k = 0; k < UNROLL; k++) {
        const uint i = chunk + k * lanes + lane;
        const float w = kept_weight(s, i, value(s, i)), m = subgroupAdd(w);
        const float up_to = before + subgroupInclusiveAdd(w);
        if (m > 0.0) { /* rounding may leave the last kept item short of the target: it is taken
                          then */
            const uint hit = subgroupMin(w > 0.0 && up_to > target ? lane : NONE);
            const uint who = hit != NONE ? hit : subgroupMax(w > 0.0 ? lane : 0u);
            at = chunk + k * lanes + who;
            u = subgroupMax(lane == who ? (target - (up_to - w)) / w : -LARGEST);
            if (hit != NONE)
                break;
            before += m;
        }
    }
    u = clamp(u, 0.0, 1.0 - 1.0 / 16777216.0);
    return at;
}

/* The items that the filters leave: three searches, of which each may be off - for a bound that
 * keeps the list short, for top-k and for top-p.  Sets cut and cut_id. */
Source filtered(uint row)
{
    const uint top_k = setting_u(row, APUS_SAMPLE_TOP_K);
    const float top_p = setting_f(row, APUS_SAMPLE_TOP_P), k = float(min(top_k, 1u << 24));
    const float lowest = unordered(ordered(DEAD) + 1u), least = min_p;
    const bool by_mass = top_p < 1.0;
    Source s = of_blocks(row);
    float total = 0.0;

    cut = lowest;
    for (uint stage = 0; stage < 3; stage++) {
        const bool count = stage == 1 || top_k != 0u && stage == 0;
        if (stage == 1)
            s = list_candidates(row, cut);
        if (by_mass && stage == (top_k != 0u ? 2 : 0)) {
            min_p = 0.0;
            total = mass(s);
            min_p = least;
        }
        const bool off = stage == 0 ? (top_k != 0u ? top_k > p.n_blocks : !by_mass)
                                    : (stage == 1 ? top_k == 0u : !by_mass);
        const float want = count ? k : top_p * (stage == 0 ? min(1.00001 * total,
            total / max(top_p, 1e-20)) : total);
        const float enough = !count ? -1.0 : (stage == 0 ? 2.0 * k : k);
        if (stage == 0 && !count && by_mass)
            cut = max(cut, most - 30.0 / by);
        if (!off)
            cut = search(s, count ? BY_COUNT : (stage == 0 ? BY_BOUND : BY_MASS), want, cut, enough,
                         stage == 0 ? (count ? 8 : 3) : 18);
        if (stage == 0) {
            if (min_p > 0.0 && (top_k == 0u || !by_mass)) /* else top-p needs all that top-k
                                                             leaves */
                cut = max(cut, most + (log(min_p) - 0.001) / by);
            /* The last bit of a block's value may differ from this shader's. */
            cut = max(cut - 2e-7 * abs(cut), lowest);
        }
    }
    if (by_mass)
        cut_ties(s, top_p * total);
    return s;
}

/* Draw by chance.  Without filters first a block, then an id of it. */
uint random(uint row)
{
    const uint seed = setting_u(row, APUS_SAMPLE_SEED), counter = setting_u(row,
        APUS_SAMPLE_COUNTER);
    float u = apus_uniform(apus_philox(uvec2(seed, APUS_SAMPLE_KEY), uvec4(counter, 0u, 0u, 0u)).x);
    Source s = of_blocks(row);
    uint at = 0;

    cut = DEAD;
    cut_id = 0u;
    min_p = min(setting_f(row, APUS_SAMPLE_MIN_P), 1.0);
    const bool filters = setting_u(row, APUS_SAMPLE_TOP_K) != 0u || setting_f(row,
        APUS_SAMPLE_TOP_P) < 1.0
                         || min_p > 0.0;
    if (filters)
        s = filtered(row);
    for (uint turn = filters ? 1 : 0; turn < 2; turn++) {
        at = draw(s, at, u);
        if (turn == 0) {
            at *= APUS_SAMPLE_BLOCK;
            s = of_row(row);
            s.n = min(at + APUS_SAMPLE_BLOCK, p.vocab);
        }
    }
    return id_of(s, at);
}

void main()
{
    const uint row = gl_WorkGroupID.x;
    float top = DEAD;
    uint id = 0u;

    if (row >= apus_live_rows(p.step, p.rows_var, p.rows_skip, p.rows_max, p.rows_mul))
        return;
    lane = gl_SubgroupInvocationID;
    lanes = gl_WorkGroupSize.x;
    penalty = setting_f(row, APUS_SAMPLE_PENALTY);
    const Source blocks = of_blocks(row);
    for (uint b = lane; b < p.n_blocks; b += lanes)
        top = max(top, value(blocks, b));
    most = subgroupMax(top);
    const float temperature = setting_f(row, APUS_SAMPLE_TEMPERATURE);
    by = 1.0 / clamp(temperature, 1e-20, 1e30);
    if (most > DEAD)
        id = temperature > 0.0 ? random(row) : greedy(row);
    id = min(id, p.vocab - 1u);
    if (lane != 0u)
        return;
    BufU(p.drawn).v[row] = id;
    const uint slot = setting_u(row, APUS_SAMPLE_SLOT);
    if (!apus_none(p.seen) && slot < p.slots)
        atomicOr(BufU(p.seen).v[slot * p.seen_words + (id >> 5)], 1u << (id & 31u));
}
