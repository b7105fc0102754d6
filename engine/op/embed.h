/* embed.h - rows of a table by id. */
#ifndef APUSI_OP_EMBED_H
#define APUSI_OP_EMBED_H

#include "graph.h"

/* What the gradient of embed needs from the host: the rows of a step sorted by id. */
typedef struct apus_embed_order {
    apus_tensor *ids;    /* (U) u32 of the step: the distinct ids, live by APUS_VAR_UNIQUE */
    apus_tensor *starts; /* (U + 1) u32: where the rows of each begin in `order` */
    apus_tensor *order;  /* (T) u32: rows, those of one id together, ascending */
} apus_embed_order;

/* Rows of an embedding table.
 *
 *   ids (T) u32, live rows allowed  w (V, D) any format, D a multiple of 4  ->  (T, D) `type`:
 *   f32, f16 or bf16
 *
 * An id >= V gives zeros.  `order` is needed where w is trained, else NULL.
 * Gradient: w.  Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_embed(apus_graph *g, apus_tensor *ids, apus_tensor *w,
                        const apus_embed_order *order, apus_dtype type);

#endif
