/* sample_search.glsl - the items of a row, and the search for a threshold among them without
 * sorting.
 *
 * Items are the row's ids, or those of the list of candidates, or the blocks with their maxima.  A
 * search keeps an interval that holds the answer and cuts it by eight thresholds a turn, with the
 * weight of all items above each: counts exactly, masses in a fixed order.  It cuts by equal steps
 * first, which suits logits, then by equal counts of floating-point numbers, which ends whatever
 * the values are. */
#ifndef APUS_SAMPLE_SEARCH_GLSL
#define APUS_SAMPLE_SEARCH_GLSL
#include "sample.glsl"

#define OF_BLOCKS 0u
#define OF_ROW 1u
#define OF_LIST 2u
#define UNROLL 8u /* with a row of 262,144 an invocation must stay below 65,535 turns of all its
                     loops */

/* What is searched: n values from word `first` of `at` on, one every 1 << shift words. */
struct Source {
    uvec2 at;
    uint first, kind, n, shift;
    uint seen; /* of a row: the first word of its penalized ids, or NONE */
};

uint lane, lanes;
float penalty, most, by; /* most: the largest logit; by: 1 / temperature */
float cut, min_p; /* kept: z > cut, or z == cut and an id of at least cut_id; and a weight of at
                     least min_p */
uint cut_id;

/* Value i, or DEAD outside. */
float value(Source s, uint i)
{
    if (i >= s.n)
        return DEAD;
    const float z = alive(vec4(BufF(s.at).v[s.first + (i << s.shift)])).x;
    if (s.seen != NONE && (BufU(p.seen).v[s.seen + (i >> 5)] >> (i & 31u) & 1u) != 0u)
        return penalized(vec4(z), penalty).x;
    return z;
}

uint id_of(Source s, uint i)
{
    return s.kind == OF_LIST ? BufU(s.at).v[s.first + 2 * i + 1] : i;
}

float weight_of(float z)
{
    return z > DEAD ? exp(max((z - most) * by, -200.0)) : 0.0;
}

/* exp((z - most) / temperature) of value i, z, where it is kept, else 0; of a block: its mass. */
float kept_weight(Source s, uint i, float z)
{
    const float w = weight_of(z);

    if (s.kind == OF_BLOCKS)
        return z > DEAD ? w * BufF(s.at).v[s.first + s.n + i] : 0.0;
    if (z < cut || w < min_p || (z == cut && cut_id > 0u && id_of(s, min(i, s.n - 1u)) < cut_id))
        return 0.0;
    return w;
}

/* sum += x, where `lost` keeps what rounding took (Kahan 1965): thousands of equal terms would
 * drift. */
void add_to(inout vec4 sum, inout vec4 lost, vec4 x)
{
    precise vec4 with = x - lost;
    precise vec4 next = sum + with;
    precise vec4 taken = next - sum;
    lost = taken - with;
    sum = next;
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
void weigh(Source s, uint kind, float lo, float hi, vec4 t0, vec4 t1, out vec4 w0, out vec4 w1,
           out float least, out float largest)
{
    const vec4 below0 = APUS_SAMPLE_BLOCK * exp(max((t0 - most) * by, vec4(-200.0)));
    const vec4 below1 = APUS_SAMPLE_BLOCK * exp(max((t1 - most) * by, vec4(-200.0)));

    vec4 lost0 = vec4(0.0), lost1 = vec4(0.0);

    w0 = w1 = vec4(0.0);
    least = LARGEST;
    largest = DEAD;
    for (uint i0 = lane; i0 < s.n; i0 += UNROLL * lanes) {
        vec4 part0 = vec4(0.0), part1 = vec4(0.0);
        [[unroll]] for (uint k = 0; k < UNROLL; k++) {
            const uint i = i0 + k * lanes;
            const float z = value(s, i);
            const vec4 at0 = vec4(greaterThanEqual(vec4(z), t0)), at1 =
                vec4(greaterThanEqual(vec4(z), t1));
            if (kind == BY_COUNT) {
                part0 += at0;
                part1 += at1;
            } else if (kind == BY_MASS) {
                const float w = weight_of(z);
                part0 += w * at0;
                part1 += w * at1;
            } else {
                const float w = kept_weight(s, i, z);
                part0 += max(w - below0, vec4(0.0)) * at0;
                part1 += max(w - below1, vec4(0.0)) * at1;
            }
            if (z >= lo && z <= hi) {
                least = min(least, z);
                largest = max(largest, z);
            }
        }
        add_to(w0, lost0, part0);
        add_to(w1, lost1, part1);
    }
    w0 = subgroupAdd(w0);
    w1 = subgroupAdd(w1);
    least = subgroupMin(least);
    largest = subgroupMax(largest);
}

/* The largest t with weight(items >= t) >= want, given that lo is one.  Ends with a smaller one
 * after `turns`, or when the weight above it is at most `enough`. */
float search(Source s, uint kind, float want, float lo, float enough, uint turns)
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
        weigh(s, kind, lo, hi, vec4(t[0], t[1], t[2], t[3]), vec4(t[4], t[5], t[6], t[7]), w0, w1,
              least, largest);
        if (kind == BY_BOUND) { /* a bound need not be the value of an item */
            least = lo;
            largest = hi;
        }
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
