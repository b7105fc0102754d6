/* sample_search.glsl - the items of a row, and the search for a threshold among them without sorting.
 *
 * Items are the row's ids, or those of the list of candidates, or the blocks with their maxima.  A
 * search keeps an interval that holds the answer and cuts it by eight thresholds a turn, with the
 * weight of all items above each: counts exactly, masses in a fixed order.  It cuts by equal steps
 * first, which suits logits, then by equal counts of floating-point numbers, which ends whatever the
 * values are. */
#ifndef APUS_SAMPLE_SEARCH_GLSL
#define APUS_SAMPLE_SEARCH_GLSL
#include "sample.glsl"

#define OF_BLOCKS 0u
#define OF_ROW 1u
#define OF_LIST 2u
#define UNROLL 8u /* with a row of 262,144 an invocation must stay below 65,535 turns of all its loops */

struct Item {
    float z;
    uint id;
};

uint lane, lanes;
uvec2 logits, seen, blocks, list;
float penalty, most, by; /* most: the largest logit; by: 1 / temperature */
float cut, min_p; /* what is kept: z > cut, or z == cut with an id of at least cut_id; and the weight >= min_p */
uint cut_id;

float row_value(uint v)
{
    const float z = alive(BufF(logits).v[v]);
    if (!apus_none(seen) && (BufU(seen).v[v >> 5] >> (v & 31u) & 1u) != 0u)
        return penalized(z, penalty);
    return z;
}

/* Item i of [0, end); DEAD outside. */
Item item(uint source, uint i, uint end)
{
    if (i >= end)
        return Item(DEAD, 0u);
    if (source == OF_LIST) {
        const uvec2 x = BufU2(list).v[i];
        return Item(uintBitsToFloat(x.x), x.y);
    }
    return Item(source == OF_ROW ? row_value(i) : BufF(blocks).v[i], i);
}

float weight_of(float z)
{
    return z > DEAD ? exp(max((z - most) * by, -200.0)) : 0.0;
}

/* exp((z - most) / temperature) of a kept id, else 0; of a block: its mass. */
float kept_weight(uint source, Item x)
{
    const float w = weight_of(x.z);

    if (source == OF_BLOCKS)
        return x.z > DEAD ? w * BufF(blocks).v[p.n_blocks + x.id] : 0.0;
    return x.z < cut || (x.z == cut && x.id < cut_id) || w < min_p ? 0.0 : w;
}

/* Floats in order as unsigned numbers, and back. */
uint ordered(float z)
{
    const uint u = floatBitsToUint(z);
    return (u & 0x80000000u) != 0u ? ~u : u | 0x80000000u;
}

float unordered(uint o)
{
    return uintBitsToFloat((o & 0x80000000u) != 0u ? o & 0x7fffffffu : ~o);
}

#define BY_COUNT 0u
#define BY_MASS 1u
#define BY_BOUND 2u /* of blocks: the mass that is surely at or above a threshold */

/* The sums of weights at or above thresholds t0, t1; the least and the largest item in [lo, hi]. */
void weigh(uint source, uint n, uint kind, float lo, float hi, vec4 t0, vec4 t1, out vec4 w0, out vec4 w1,
           out float least, out float largest)
{
    const vec4 below0 = APUS_SAMPLE_BLOCK * exp(max((t0 - most) * by, vec4(-200.0)));
    const vec4 below1 = APUS_SAMPLE_BLOCK * exp(max((t1 - most) * by, vec4(-200.0)));

    w0 = w1 = vec4(0.0);
    least = LARGEST;
    largest = DEAD;
    for (uint i = 0; i < n; i += UNROLL * lanes)
        [[unroll]] for (uint k = 0; k < UNROLL; k++) {
            const Item x = item(source, i + k * lanes + lane, n);
            const vec4 at0 = vec4(greaterThanEqual(vec4(x.z), t0)), at1 = vec4(greaterThanEqual(vec4(x.z), t1));
            if (kind == BY_COUNT) {
                w0 += at0;
                w1 += at1;
            } else if (kind == BY_MASS) {
                const float w = weight_of(x.z);
                w0 += w * at0;
                w1 += w * at1;
            } else {
                const float w = kept_weight(OF_BLOCKS, x);
                w0 += max(w - below0, vec4(0.0)) * at0;
                w1 += max(w - below1, vec4(0.0)) * at1;
            }
            if (x.z >= lo && x.z <= hi) {
                least = min(least, x.z);
                largest = max(largest, x.z);
            }
        }
    w0 = subgroupAdd(w0);
    w1 = subgroupAdd(w1);
    least = subgroupMin(least);
    largest = subgroupMax(largest);
}

/* The largest t with weight(items >= t) >= want, given that lo is one.  Ends with a smaller one after
 * `turns`, or when the weight above it is at most `enough`. */
float search(uint source, uint n, uint kind, float want, float lo, float enough, uint turns)
{
    float hi = most;

    for (uint turn = 0; turn < turns; turn++) {
        const uint first = ordered(lo), step_by = (ordered(hi) - first) / 9u + 1u;
        const bool equal_steps = turn < 5u && step_by > 512u;
        float t[8], least, largest;
        vec4 w0, w1;
        [[unroll]] for (uint j = 0; j < 8; j++) {
            const float share = float(j + 1u) / 9.0;
            t[j] = equal_steps ? lo * (1.0 - share) + hi * share
                               : unordered(min(first + (j + 1u) * step_by, ordered(LARGEST)));
        }
        weigh(source, n, kind, lo, hi, vec4(t[0], t[1], t[2], t[3]), vec4(t[4], t[5], t[6], t[7]), w0, w1,
              least, largest);
        if (least >= largest)
            return max(lo, largest);
        const float w[8] = float[8](w0.x, w0.y, w0.z, w0.w, w1.x, w1.y, w1.z, w1.w);
        float above = LARGEST, new_lo = max(lo, least), new_hi = min(hi, largest);
        [[unroll]] for (uint j = 0; j < 8; j++) { /* weights fall from threshold to threshold */
            if (w[j] >= want) {
                above = w[j];
                new_lo = max(new_lo, t[j]);
            } else {
                new_hi = min(new_hi, unordered(ordered(t[j]) - 1u));
            }
        }
        if (new_lo > new_hi)
            return new_lo;
        lo = new_lo;
        hi = new_hi;
        if (above <= enough)
            break;
    }
    return lo;
}

#endif
