/* rng.h - Philox 4x32-10, a counter-based generator: the n-th number of a key needs no state, so
 * that results do not depend on the order of work.  Salmon et al., Parallel random numbers: as easy
 * as 1, 2, 3, SC 2011.  shaders/include/philox.glsl gives the same bits. */
#ifndef APUSI_RNG_H
#define APUSI_RNG_H

#include "base.h"

void apus_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
/* 32 bits to [0, 1) by the upper 24. */
static inline float apus_uniform_f32(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}
/* FNV-1a, 64 bits: names into keys, choices into hashes. */
uint64_t apus_hash(const void *data, size_t bytes, uint64_t seed);
#define APUS_HASH_SEED 0xcbf29ce484222325ull

#endif
