/* adamw_8bit.h - the AdamW optimizer with moments of 8 bits, on a slab of parameters. */
#ifndef APUSI_OP_ADAMW_8BIT_H
#define APUSI_OP_ADAMW_8BIT_H

#include "adamw.h"

/* The state of n parameters, cut into runs of whole fours.  A run has its blocks of 256 elements,
 * of which the last may be short.  Runs whose moments are codes come first, then those with f32. */
typedef struct apus_adamw_state {
    apus_tensor *codes_m, *codes_v; /* (256 coded blocks) u8 */
    apus_tensor *scales;            /* (2, coded blocks) f32: of m, of v */
    apus_tensor *wide_m, *wide_v;   /* (256 other blocks) f32 */
    apus_tensor *runs;          /* (runs, 4) u32: first block, first element / 4, elements / 4, 0;
                                       blocks ascend */
    uint32_t n_coded, n_blocks; /* blocks with codes, all blocks */
} apus_adamw_state;

/* As apus_adamw, with moments in `m` and `v` of that state; all zero is the state at the beginning.
 * Where there are no coded or no other blocks, the tensors for them have one block all the same.
 *
 *   w, grad (N) f32, N a multiple of 4  copy (N) f16 or bf16 or NULL
 *
 * Errors: APUS_ERR_SHAPE.  Dettmers et al. 2021, arXiv:2110.02861, section 2. */
void apus_adamw_8bit(apus_graph *g, apus_tensor *w, apus_tensor *grad,
                     const apus_adamw_state *moments, apus_tensor *copy, apus_tensor *state,
                     const apus_adamw_params *params);

#endif
