/* offload.h - matrices that lie in the host's memory are copied to the device's before they are
 * read often. */
#ifndef APUSI_EXEC_OFFLOAD_H
#define APUSI_EXEC_OFFLOAD_H

#include "graph.h"

/* Give each product of more than APUS_FETCH_ROWS rows whose matrix has the host as its place a copy
 * of that in planned memory.  The copy for a product is made beside the product before, so that
 * those of two are there at a time.  Other nodes read such tensors where they lie.  The graph has
 * no use for gradients any more.  Results have the same bits.
 *
 * Errors: of the graph. */
apus_status apus_offload(apus_graph *g);

#endif
