/* embed_back.h - gradient of embed. */
#ifndef APUSI_OP_EMBED_BACK_H
#define APUSI_OP_EMBED_BACK_H

#include "embed.h"

/* into[id,:] += sum of dy over the rows of that id.
 *
 *   dy (T, D) f32, f16 or bf16  into (V, D) f32, persistent
 *
 * Errors: APUS_ERR_ARG (no order: the table was not built as trained), APUS_ERR_SHAPE. */
void apus_embed_back(apus_graph *g, apus_tensor *dy, const apus_embed_order *order,
                     apus_tensor *into);

#endif
