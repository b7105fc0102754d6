/* order.h - the random orders of ms-swift's tool chain, bit for bit: numpy's RandomState (MT19937)
 * and default_rng (PCG64 seeded through SeedSequence), torch's CPU randperm.  A split, a shuffle
 * and a `#N` sample therefore pick the same rows in the same order as the reference does. */
#ifndef APUSI_ORDER_H
#define APUSI_ORDER_H

#include "base.h"

/* MT19937.  Matsumoto and Nishimura, ACM TOMACS 8(1), 1998. */
typedef struct apus_mt19937 {
    uint32_t state[624];
    uint32_t at;
} apus_mt19937;

void apus_mt19937_seed(apus_mt19937 *mt, uint32_t seed);
uint32_t apus_mt19937_next(apus_mt19937 *mt);

/* RandomState.randint(0, 2**31 - 1): the seed that every data set operation draws. */
uint32_t apus_order_draw_seed(apus_mt19937 *mt);
/* RandomState.permutation(n). */
void apus_order_legacy(apus_mt19937 *mt, uint32_t *out, uint32_t n);
/* numpy.random.default_rng(seed).permutation(n). */
void apus_order_numpy(uint32_t seed, uint32_t *out, uint32_t n);
/* torch.randperm(n) on the CPU with manual_seed(seed); n <= APUS_ORDER_TORCH_MOST. */
void apus_order_torch(uint64_t seed, uint32_t *out, uint32_t n);
/* torch switches to 64-bit draws above this many elements. */
#define APUS_ORDER_TORCH_MOST 214748363u

#endif
