/* profile.h - where the time of recorded plans goes, added up by kernel and algorithm. */
#ifndef APUSI_PROFILE_H
#define APUSI_PROFILE_H

#include "exec.h"

/* Make exec->profile, unless there is one.  A device without timestamps is told of, once. */
apus_status apusi_profile_begin(apus_exec *exec);
/* Add the plan's last whole step, which must be done. */
apus_status apusi_profile_collect(apus_plan *plan);
/* Log the table, a line each, if anything was profiled; then free it. */
void apusi_profile_end(apus_exec *exec);

#endif
