/* bound.h - how much goes into one submission: cutting a list into segments, and grouping them. */
#ifndef APUSI_BOUND_H
#define APUSI_BOUND_H

#include "exec_internal.h"

/* Cut the list into segments with their estimates; nothing is recorded yet. */
apus_status apusi_bound_cut(apus_plan *plan);
/* Of a step with these variables: what is estimated for each segment's live rows. */
void apusi_bound_step(apus_plan *plan, const uint32_t *vars);
/* How many segments from `first` on make the next submission: at least one. */
uint32_t apusi_bound_group(apus_plan *plan, uint32_t first);
/* That is how long a segment took in the step that was estimated last. */
void apusi_bound_measured(apusi_segment *s, double seconds);
/* The step is done: learn from its timestamps, or from `seconds` between submission and end. */
void apusi_bound_learn(apus_plan *plan, double seconds);

/* The rows of an item that may be live (var < 0: always all), and which part of them is. */
apus_rows apusi_item_rows(const apus_list *list, const apus_item *item);
double apusi_live_part(apus_rows rows, const uint32_t *vars);

#endif
