/* autodiff.h - gradients as a walk over the graph. */
#ifndef APUSI_AUTODIFF_H
#define APUSI_AUTODIFF_H

#include "graph.h"

typedef enum apus_region {
    APUS_REGION_KEPT,
    APUS_REGION_AGAIN,
    APUS_REGION_TWICE /* again, and once more before the region behind it is run again (which is
                         APUS_REGION_AGAIN): what it hands over is not kept */
} apus_region;

/* Append the nodes of d loss / d t for every tensor that wants a gradient and that `seeds`
 * depend on;
 * seeds[i]->grad is set by the caller.  Parameters' gradients are added to their persistent buffers
 * (grad_into).  Nodes whose `region` r > 0 has recompute[r] set run their forward again just before
 * their backward, from what their region got from outside (Chen et al., Training deep nets with
 * sublinear memory cost, 2016, arXiv:1604.06174); recompute may be NULL, it has n_regions entries.
 * What an operator calls cheap (op.h, `rematerialize`) is made again for the rules that read it.
 * Errors: of the graph; APUS_ERR_ARG names an operator without a gradient. */
apus_status apus_autodiff(apus_graph *g, const apus_region *recompute, uint32_t n_regions);

#endif
