/* adapt.h - how adapters hook into the building of a model's graph: one call a projection, found
 * by the same table as the weights.  The layers above implement it. */
#ifndef APUSI_ADAPT_H
#define APUSI_ADAPT_H

#include "graph.h"

typedef struct apus_adapt_hook {
    void *user;
    /* A graph begins: the step's arrays that adapters need, (T) each; row_id may be NULL
     * (inference). */
    void (*begin)(void *user, apus_graph *g, apus_tensor *slot, apus_tensor *row_id,
                  apus_tensor *pos);
    /* What becomes of y = x w^T of the module. */
    apus_tensor *(*adapt)(void *user, apus_graph *g, const char *module, apus_tensor *x,
                          apus_tensor *y);
} apus_adapt_hook;

#endif
