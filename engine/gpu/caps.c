/* caps.c - questions to a caps struct.  No device is needed here. */
#include "caps.h"

const apus_coop_shape *apus_caps_coop(const apus_caps *caps, apus_dtype in)
{
    const apus_coop_shape *best = NULL;
    uint64_t most = 0;

    for (uint32_t i = 0; i < caps->n_coop; i++) {
        const apus_coop_shape *s = &caps->coop[i];
        const uint64_t volume = (uint64_t)s->m * s->n * s->k;

        if (s->in == in && volume > most) {
            best = s;
            most = volume;
        }
    }
    return best;
}
