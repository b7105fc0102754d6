/* rope.h - rotary position embedding. */
#ifndef APUSI_OP_ROPE_H
#define APUSI_OP_ROPE_H

#include "graph.h"

typedef struct apus_rope_params {
    uint32_t head_dim; /* even */
    bool inverse;      /* turn by the opposite angle */
} apus_rope_params;

/* Turn pairs of each head by an angle that grows with the token's position.
 *
 *   x (T, H, E) f32, or f16 or bf16 with E a multiple of 4, live rows allowed
 *   table (P, E) f32: cos and sin of pair i at [p, 2i], [p, 2i+1]
 *   pos (T) u32 of the step, < P  ->  the shape of x
 *
 * Pair i is (i, i + E/2), as in Hugging Face's weights.  The table is made by the host: sin and
 * cos of a shader are not precise enough for large angles.  Gradient: x.  Errors: APUS_ERR_SHAPE.
 * Su et al. 2021, arXiv:2104.09864, section 3.4.2. */
apus_tensor *apus_rope(apus_graph *g, apus_tensor *x, apus_tensor *table, apus_tensor *pos,
                       const apus_rope_params *p);

/* Whether two nodes turn different tensors in the same way, which one node can do: that of
 * apus_rope_both, whose results stand in that order.  It has no gradient. */
bool apus_rope_alike(const apus_node *first, const apus_node *second);
apus_node *apus_rope_both(apus_graph *g, const apus_node *first, const apus_node *second);

#endif
