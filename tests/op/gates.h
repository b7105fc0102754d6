/* gates.h - the gates of gated MLPs by their definitions, and what f32 may take of them, for the
 * tests of swiglu, of its gradient and of products with a gate. */
#ifndef APUS_TESTS_OP_GATES_H
#define APUS_TESTS_OP_GATES_H

#include <math.h>
#include <stdint.h>

#include "swiglu.h"

#define GATE_STEEPEST 1.13 /* |d gate / dx| is below: 1.1 and 1.129 */

/* x sigmoid(x), or GELU as Hendrycks and Gimpel have it: x/2 (1 + tanh(...)). */
static inline double gate_share(uint32_t gate, double x)
{
    if (gate == APUS_GATE_SILU)
        return 1 / (1 + exp(-x));
    return 0.5 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

/* The argument of the sigmoid, which tanh has half of. */
static inline double gate_z(uint32_t gate, double x)
{
    return gate == APUS_GATE_SILU ? x : 2 * sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x);
}

static inline double gate_z_slope(uint32_t gate, double x)
{
    return gate == APUS_GATE_SILU ? 1 : 2 * sqrt(2 / acos(-1)) * (1 + 3 * 0.044715 * x * x);
}

/* By how much of itself the share may be off.  Vulkan: exp is off by (3 + 2|z|) ulp, a division by
 * 2.5; the error of e in 1 + e weighs e / (1 + e), which is 1 less the share.  z itself is off by
 * up to 6 roundings of half an ulp where it is computed. */
static inline double gate_error(uint32_t gate, double x)
{
    const double z = fabs(gate_z(gate, x)), s = gate_share(gate, x);

    return ((1 - s) * (3 + 2 * z + (gate == APUS_GATE_SILU ? 0 : 3 * z)) + 2.5) * 0x1p-23;
}

#endif
