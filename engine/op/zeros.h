/* zeros.h - a tensor of zeros that other nodes write into. */
#ifndef APUSI_OP_ZEROS_H
#define APUSI_OP_ZEROS_H

#include "graph.h"

/* A planned tensor filled with zeros, for nodes that write it piece by piece.
 *
 *   -> (dims) of `type`
 *
 * No gradient.  Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_zeros(apus_graph *g, apus_dtype type, uint32_t n_dims, const uint32_t *dims,
                        apus_rows rows);

#endif
