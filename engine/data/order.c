/* order.c - MT19937, PCG64 and the three permutations built on them.
 *
 * numpy draws each index by masking and rejecting; torch takes a remainder.  Both walk the same
 * Fisher-Yates swap, from the end (numpy) or from the front (torch). */
#include "order.h"

#define MT_N 624u
#define MT_M 397u

void apus_mt19937_seed(apus_mt19937 *mt, uint32_t seed)
{
    mt->state[0] = seed;
    for (uint32_t i = 1; i < MT_N; i++) {
        const uint32_t before = mt->state[i - 1];
        mt->state[i] = 1812433253u * (before ^ (before >> 30)) + i;
    }
    mt->at = MT_N;
}

static void mt_refill(apus_mt19937 *mt)
{
    uint32_t *s = mt->state;

    for (uint32_t i = 0; i < MT_N; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % MT_N] & 0x7fffffffu);
        s[i] = s[(i + MT_M) % MT_N] ^ (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
    }
    mt->at = 0;
}

uint32_t apus_mt19937_next(apus_mt19937 *mt)
{
    uint32_t y;

    if (mt->at >= MT_N)
        mt_refill(mt);
    y = mt->state[mt->at++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

/* The least 2^k - 1 that is not below `most`: numpy draws by masking with it and rejecting. */
static uint32_t mask_of(uint32_t most)
{
    uint32_t mask = most;

    mask |= mask >> 1;
    mask |= mask >> 2;
    mask |= mask >> 4;
    mask |= mask >> 8;
    return mask | mask >> 16;
}

/* Uniform in [0, most]. */
static uint32_t mt_bounded(apus_mt19937 *mt, uint32_t most)
{
    const uint32_t mask = mask_of(most);
    uint32_t value;

    do {
        value = apus_mt19937_next(mt) & mask;
    } while (value > most);
    return value;
}

uint32_t apus_order_draw_seed(apus_mt19937 *mt)
{
    return mt_bounded(mt, 2147483646u);
}

static void identity(uint32_t *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = i;
}

static void swap(uint32_t *a, uint32_t *b)
{
    const uint32_t t = *a;

    *a = *b;
    *b = t;
}

void apus_order_legacy(apus_mt19937 *mt, uint32_t *out, uint32_t n)
{
    identity(out, n);
    for (uint32_t i = n; i-- > 1;)
        swap(&out[i], &out[mt_bounded(mt, i)]);
}

/* PCG XSL-RR 128/64 (O'Neill, HMC-CS-2014-0905); 32-bit draws use both halves of a 64-bit one. */
__extension__ typedef unsigned __int128 u128;

typedef struct pcg64 {
    u128 state, inc;
    uint32_t spare;
    bool has_spare;
} pcg64;

static void pcg_advance(pcg64 *rng)
{
    const u128 multiplier = ((u128)2549297995355413924u << 64) | 4865540595714422341u;

    rng->state = rng->state * multiplier + rng->inc;
}

static uint64_t pcg_next(pcg64 *rng)
{
    uint64_t x;
    uint32_t turn;

    pcg_advance(rng);
    x = (uint64_t)(rng->state >> 64) ^ (uint64_t)rng->state;
    turn = (uint32_t)(rng->state >> 122);
    return (x >> turn) | (x << ((64 - turn) & 63));
}

static uint32_t pcg_next32(pcg64 *rng)
{
    uint64_t x;

    if (rng->has_spare) {
        rng->has_spare = false;
        return rng->spare;
    }
    x = pcg_next(rng);
    rng->spare = (uint32_t)(x >> 32);
    rng->has_spare = true;
    return (uint32_t)x;
}

static uint32_t pcg_bounded(pcg64 *rng, uint32_t most)
{
    const uint32_t mask = mask_of(most);
    uint32_t value;

    do {
        value = pcg_next32(rng) & mask;
    } while (value > most);
    return value;
}

static uint32_t seed_hash(uint32_t value, uint32_t *constant, uint32_t multiplier)
{
    value ^= *constant;
    *constant *= multiplier;
    value *= *constant;
    return value ^ (value >> 16);
}

/* numpy's SeedSequence of one 32-bit word, and PCG64's way of taking its state from it. */
static void pcg_seed(pcg64 *rng, uint32_t seed)
{
    uint32_t pool[4], constant = 0x43b0d7e5u;
    uint64_t words[4];
    u128 start;

    for (uint32_t i = 0; i < 4; i++)
        pool[i] = seed_hash(i == 0 ? seed : 0, &constant, 0x931e8875u);
    for (uint32_t from = 0; from < 4; from++) {
        for (uint32_t to = 0; to < 4; to++) {
            uint32_t mixed;
            if (from == to)
                continue;
            mixed = 0xca01f9ddu * pool[to] -
                    0x4973f715u * seed_hash(pool[from], &constant, 0x931e8875u);
            pool[to] = mixed ^ (mixed >> 16);
        }
    }
    constant = 0x8b51f9ddu;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t low = seed_hash(pool[(2 * i) % 4], &constant, 0x58f38dedu);
        const uint32_t high = seed_hash(pool[(2 * i + 1) % 4], &constant, 0x58f38dedu);
        words[i] = ((uint64_t)high << 32) | low;
    }
    start = ((u128)words[0] << 64) | words[1];
    *rng = (pcg64) { .inc = ((((u128)words[2] << 64) | words[3]) << 1) | 1u };
    pcg_advance(rng);
    rng->state += start;
    pcg_advance(rng);
}

void apus_order_numpy(uint32_t seed, uint32_t *out, uint32_t n)
{
    pcg64 rng;

    pcg_seed(&rng, seed);
    identity(out, n);
    for (uint32_t i = n; i-- > 1;)
        swap(&out[i], &out[pcg_bounded(&rng, i)]);
}

void apus_order_torch(uint64_t seed, uint32_t *out, uint32_t n)
{
    apus_mt19937 mt;

    apus_mt19937_seed(&mt, (uint32_t)seed);
    identity(out, n);
    for (uint32_t i = 0; i + 1 < n; i++)
        swap(&out[i], &out[i + apus_mt19937_next(&mt) % (n - i)]);
}
