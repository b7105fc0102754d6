/* kernels.h - the kernels that a device takes for shapes and formats beyond those of the models of
 * plans.h: all head sizes, number formats, kinds of products and numbers of rows. */
#ifndef VENDOR_KERNELS_H
#define VENDOR_KERNELS_H

#include "exec.h"

typedef void kernel_visit(void *user, const apus_kernel_key *key);

/* Call back for each dispatch of each shape, lowered for a device that need not be there.  Where
 * `params` forces an algorithm, at fewer shapes; one that does not fit there is not taken. */
apus_status kernels_each(const apus_caps *caps, const apus_plan_params *params, kernel_visit *visit,
                         void *user);

#endif
