/* timeline.h - the steps of recorded plans as events of the trace (APUS_TRACE). */
#ifndef APUSI_TIMELINE_H
#define APUSI_TIMELINE_H

#include "exec.h"

/* Whether this plan's steps are traced, and under which texts; before it is recorded. */
apus_status apusi_timeline_begin(apus_plan *plan);
/* Submission `ticket`, and those before, are done now. */
void apusi_timeline_done(apus_plan *plan, uint64_t ticket);
/* The last whole step, which must be done. */
apus_status apusi_timeline_collect(apus_plan *plan);
void apusi_timeline_end(apus_plan *plan);

#endif
