/* split.h - products with a long sum and a small result: parts of the sum run at once. */
#ifndef APUSI_EXEC_SPLIT_H
#define APUSI_EXEC_SPLIT_H

#include "exec.h"

/* Divide the sums of those products of which the device has too few blocks to be busy
 * (op/matmul.h).  Results may differ in the last bits.  Errors: of the graph. */
apus_status apus_split(apus_graph *g, const apus_caps *caps, apus_narrow narrow, const char *force);

#endif
