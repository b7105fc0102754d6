/* fuse.h - nodes that become one: fewer dispatches, less memory written and read again. */
#ifndef APUSI_EXEC_FUSE_H
#define APUSI_EXEC_FUSE_H

#include "exec.h"

/* Replace the patterns of fuse.def by fused operators where the device's algorithms take them, and
 * move results that are cheap to make (op.h) to where they are read first, as late as can be.  The
 * graph has no use for gradients any more (they are in it, or are not wanted); tensors that are
 * kept, and those that several nodes read, stay.  Results may differ in the last bits.
 *
 * Errors: of the graph. */
apus_status apus_fuse(apus_graph *g, const apus_caps *caps, apus_narrow narrow, const char *force);

#endif
