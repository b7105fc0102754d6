/* exec_internal.h - what the files of engine/exec share. */
#ifndef APUSI_EXEC_INTERNAL_H
#define APUSI_EXEC_INTERNAL_H

#include "exec.h"
#include "tuned.h"

#define APUSI_ARENAS 8
#define APUSI_SLOTS 2
#define APUSI_GRID_BYTES 16u
#define APUSI_KINDS 4 /* of live rows that estimates tell apart */

/* Scratch memory: blocks of at most the device's largest allocation.  Plans hold references; a
 * larger plan makes a larger arena, and the old one goes with its last plan. */
typedef struct apusi_arena {
    apus_buffer blocks[APUSI_ARENAS];
    uint32_t n_blocks;
    uint64_t bytes;
    uint32_t refs;
} apusi_arena;

typedef struct apusi_profile apusi_profile;
typedef struct apusi_timeline apusi_timeline;

struct apus_exec {
    apus_gpu *gpu;
    apusi_arena *arena;     /* the newest, largest one */
    apusi_profile *profile; /* NULL: nothing is profiled */
    double share;           /* of a submission's usual work */
    apus_tuned *tuned;      /* what plans choose by, or NULL */
};

typedef struct apusi_segment {
    apus_commands *commands;
    uint32_t first, n;               /* items */
    double fixed, live[APUSI_KINDS]; /* seconds as estimated: whatever is live; of all live rows */
    double estimate;                 /* of the step submitted last */
    double ratio, worst;             /* measured over estimated: smoothed; of late */
    uint32_t measured;               /* so often, while that is new */
    /* In the last step, for the trace: */
    uint64_t ticket, submitted_ns, done_ns;
} apusi_segment;

struct apus_plan {
    apus_exec *exec;
    apus_graph *graph;
    apus_plan_info info;
    apus_list list;
    apusi_arena *arena;
    apus_buffer step, args;
    uint32_t grids_at; /* in the step buffer, behind its arrays: grids, APUSI_GRID_BYTES each */
    apus_buffer slots[APUSI_SLOTS];
    apus_commands *copies[APUSI_SLOTS];
    uint64_t slot_ticket[APUSI_SLOTS];
    uint32_t slot;
    apusi_segment *segments;
    apus_commands **lists; /* those of the segments, side by side */
    uint32_t n_segments;
    apus_rows kinds[APUSI_KINDS];
    uint32_t n_kinds;
    uint64_t steps;        /* whole ones that are done */
    uint64_t submitted_ns; /* the last step */
    apus_plan_bound bound;
    bool profile;                            /* as it was made, */
    apus_narrow narrow;                      /* and this */
    apusi_timeline *timeline;                /* NULL: steps are not traced */
    uint64_t copy_ticket, copy_submitted_ns; /* of the last step, for the trace */
    bool uncounted; /* the last step was not added to profile and trace yet */
    uint64_t host_ns;
    char *name;
};

/* Algorithms that are forced. */
const char *apusi_force(const apus_plan_params *params);
/* Fuse nodes where the plan is for that, divide long sums, copy what the host has to the device. */
apus_status apusi_rewrite(apus_graph *g, const apus_caps *caps, const apus_plan_params *params);
/* Bytes of one scratch block on this device. */
uint64_t apusi_block_bytes(const apus_caps *caps);
apus_status apusi_record(apus_plan *plan);
/* A lowering with the addresses of a plan, for its narrow; no argument buffer yet. */
apus_lower apusi_lower_of(const apus_plan *plan);
/* Every operator's record, in order. */
apus_status apusi_lower_nodes(apus_lower *l, const apus_graph *g);
/* A live grid by a step's variables. */
void apusi_slot_grid(const apus_slot *s, const uint32_t *vars, uint32_t grid[3]);
/* Walk the operators into `list` with the addresses of `l`, place barriers, sum up. */
apus_status apusi_lower(apus_list *list, const apus_graph *g, apus_lower *l, apus_plan_info *info);

#endif
