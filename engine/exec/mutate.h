/* mutate.h - a kernel that computes nothing, so that tests can be tested (APUS_MUTATE). */
#ifndef APUSI_MUTATE_H
#define APUSI_MUTATE_H

#include "lower.h"

/* Replace each dispatch of "module" or "module:algorithm": what it only writes is filled with
 * zeros, what it changes in place (reads and writes) stays as it was.  Barriers are placed
 * afterwards.
 * Errors: APUS_ERR_ARG (no such module), APUS_ERR_MEMORY. */
apus_status apusi_mutate(apus_list *list, const char *mutant);

#endif
