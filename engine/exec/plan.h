/* plan.h - where planned tensors lie: lifetimes and offsets in scratch memory. */
#ifndef APUSI_PLAN_H
#define APUSI_PLAN_H

#include "graph.h"

typedef struct apus_memory_plan {
    uint64_t bytes;     /* scratch memory in all */
    uint64_t peak_live; /* the largest sum of bytes that are live at once: the lower bound */
} apus_memory_plan;

/* Give every planned tensor of the graph an offset (tensor->at) so that no two whose lifetimes meet
 * share a byte.  A tensor lives from the node that makes it to the last node that reads it (through
 * any view), or to the end if it is kept.  No tensor straddles a multiple of `block` bytes, the
 * most that one allocation may be.
 * Errors: APUS_ERR_MEMORY (host memory; or a tensor larger than `block`: the text names it). */
apus_status apus_memory_plan_make(apus_memory_plan *plan, apus_graph *g, uint64_t block);

#endif
