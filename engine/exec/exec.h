/* exec.h - plans: a graph lowered, checked, recorded once, and replayed every step.
 *
 * An apus_exec belongs to a device and holds what its plans share: scratch memory (plans never
 * run at
 * once).  A step is: fill the step buffer's slot, submit, wait.  Nothing is built, recorded or
 * allocated then.  One thread. */
#ifndef APUSI_EXEC_H
#define APUSI_EXEC_H

#include "gpu.h"
#include "graph.h"
#include "lower.h"
#include "str.h"

typedef struct apus_exec apus_exec;
typedef struct apus_plan apus_plan;

/* The device is borrowed until destroy.  Its tune file is read and, but for a device that only
 * counts, a line is logged about it.  Errors: APUS_ERR_MEMORY, those of apus_tuned_load. */
apus_status apus_exec_create(apus_exec **out, apus_gpu *gpu);
void apus_exec_destroy(apus_exec **exec);
apus_gpu *apus_exec_gpu(const apus_exec *exec);
/* What plans choose by where nothing is forced, or NULL; another one from now on, which becomes the
 * exec's. */
const struct apus_tuned *apus_exec_tuned(const apus_exec *exec);
void apus_exec_set_tuned(apus_exec *exec, struct apus_tuned *tuned);
/* From now on at most `share` (0, 1] of the usual work is submitted at once; results are the same
 * bits.  Plans that were made before keep their lists, which are the least that is submitted. */
void apus_exec_bound(apus_exec *exec, double share);

typedef struct apus_plan_params {
    const char *name;   /* in texts: "decode" */
    apus_narrow narrow; /* how far algorithms may round inputs */
    const char *force;  /* NULL: APUS_KERNEL */
    bool profile;       /* timestamps around each dispatch; APUS_PROFILE does the same */
    bool fuse;          /* the graph's nodes are fused first (fuse.h) */
} apus_plan_params;

typedef struct apus_plan_info {
    uint64_t scratch_bytes, peak_live; /* planned scratch, and its lower bound */
    uint64_t step_bytes, args_bytes;
    uint32_t dispatches, barriers, segments, slots;
    double flops, moved; /* of the largest shape */
    apus_narrow narrow;  /* the furthest that an algorithm rounds its inputs */
    uint64_t choices_hash;
    const char *choices; /* a line each; borrowed */
} apus_plan_info;

/* Lower and plan for a device that need not be there: memory, dispatches, choices.  `list`, if not
 * NULL, receives the items with barriers placed and checked (addresses are made up); release it.
 * Errors: of the graph, of operators. */
apus_status apus_plan_estimate(apus_plan_info *info, apus_list *list, apus_graph *g,
                               const apus_caps *caps, const apus_plan_params *params);

/* Lower, place barriers, allocate and record.  The graph is borrowed until destroy.
 * Errors: of the graph; APUS_ERR_MEMORY (with what is needed and what is there);
 * APUS_ERR_SUPPORT. */
apus_status apus_plan_create(apus_plan **out, apus_exec *exec, apus_graph *g,
                             const apus_plan_params *params);
void apus_plan_destroy(apus_plan **plan);
/* How the last step was submitted. */
typedef struct apus_plan_bound {
    uint32_t submissions;
    double longest_s; /* of one, as it was estimated from the steps before */
} apus_plan_bound;
apus_plan_bound apus_plan_bounded(const apus_plan *plan);
const apus_plan_info *apus_plan_about(const apus_plan *plan);
const apus_list *apus_plan_list(const apus_plan *plan);

/* The next step's contents of the step buffer, written by the caller before submit.  Contents of an
 * earlier step may still be there: write what the graph reads.  `vars` are the variables. */
typedef struct apus_step {
    uint32_t *vars;
    uint8_t *bytes; /* the whole slot; an array of a step tensor starts at bytes + tensor->at */
} apus_step;
apus_step apus_plan_step(apus_plan *plan);
void *apus_step_array(const apus_step *step, const apus_tensor *t);

/* Submit the step; its slot is in use until it was waited for.  At most two steps are in flight. */
apus_status apus_plan_submit(apus_plan *plan, uint64_t *ticket);
/* Wait for it; `cancel` (may be NULL) is looked at between submissions.
 * Errors: APUS_ERR_DEVICE, APUS_ERR_LOST, APUS_ERR_CANCELLED (the device is idle again). */
apus_status apus_plan_wait(apus_plan *plan, uint64_t ticket);
/* Submit and wait. */
apus_status apus_plan_run(apus_plan *plan, const apus_cancel *cancel);
/* Copy a kept tensor (or any bound one) to the host after a run. */
apus_status apus_plan_read(apus_plan *plan, const apus_tensor *t, void *dst, uint64_t bytes);
/* Host time spent in submit and step writing outside waiting, ns, since the last call. */
uint64_t apus_plan_host_ns(apus_plan *plan);
/* Add up the times of a profiled plan's last run by kernel: calls back once a dispatch. */
apus_status apus_plan_times(apus_plan *plan,
                            void (*each)(void *user, const apus_item *item, double ns), void *user);

/* ---- the profile of an exec: all whole steps of its profiled plans ---- */

/* Sums of one kernel under one algorithm. */
typedef struct apus_profile_row {
    char kernel[64], algorithm[32]; /* module; "" where there is nothing to choose */
    uint64_t calls, timed;          /* fewer are timed where the device has no timestamps */
    double ns, flops, moved;        /* moved: bytes; both for the rows that were live */
    bool knows_flops, knows_moved;  /* every call had an estimate */
} apus_profile_row;

/* Rows, the longest time first; NULL where nothing was profiled.  Borrowed until the next run. */
const apus_profile_row *apus_exec_profile(apus_exec *exec, uint32_t *n);
/* The same as a table with a line of names and one of sums; apus_exec_destroy logs it. */
apus_status apus_exec_profile_text(apus_exec *exec, apus_str *out);

#endif
