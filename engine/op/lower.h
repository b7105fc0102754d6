/* lower.h - from nodes to dispatches: what an operator's `record` talks to.
 *
 * Lowering is pure data: it takes a caps struct and addresses and yields a list of items (kernel,
 * specialization constants, push bytes, grid, ranges read and written).  No device is touched, so a
 * list can be made, checked and reviewed for a GPU that is not there. */
#ifndef APUSI_LOWER_H
#define APUSI_LOWER_H

#include "gpu.h"
#include "graph.h"
#include "str.h"

typedef struct apus_access {
    apus_addr at;
    uint64_t bytes;
    bool write;
} apus_access;

typedef enum apus_item_kind { APUS_ITEM_DISPATCH, APUS_ITEM_FILL, APUS_ITEM_COPY } apus_item_kind;

typedef struct apus_item {
    apus_item_kind kind;
    const apus_node *node; /* whose work this is */
    apus_kernel_key kernel;
    const char *algorithm; /* the variant that was chosen for it; NULL: there is no choice */
    uint32_t site;         /* of apus_lower.sites, if there are such: whose choice that was */
    uint32_t push_bytes;
    uint8_t push[128];
    uint32_t groups[3]; /* of the largest grid */
    int32_t slot;       /* >= 0: an indirect grid, index of apus_list.slots */
    uint32_t first_access, n_access;
    apus_addr to, from; /* FILL: to; COPY: both */
    uint64_t bytes;
    uint32_t word;
    bool barrier;        /* a barrier stands before this item (set by exec/barrier.c) */
    double flops, moved; /* estimate of the largest grid: flop, bytes */
    double fixed;        /* bytes of `moved` that do not become fewer with the live rows */
    bool rough;          /* the estimate bounds the time of a submission, it is no count */
} apus_item;

/* A grid that depends on a live row count: groups[axis] = ceil(live rows / tile). */
typedef struct apus_slot {
    apus_rows rows;
    uint32_t tile, axis;
    uint32_t groups[3];
} apus_slot;

typedef struct apus_list {
    apus_item *items;
    uint32_t n_items;
    size_t item_room;
    apus_access *accesses;
    uint32_t n_accesses;
    size_t access_room;
    apus_slot *slots;
    uint32_t n_slots;
    size_t slot_room;
    uint8_t *args; /* contents of the argument buffer */
    uint32_t args_bytes;
    size_t args_room;
    apus_narrow narrow; /* the furthest that an algorithm among them rounds its inputs */
    apus_str choices; /* a line for each distinct choice: "matmul nt 512x576x576 q4_1: cpu/64x1" */
} apus_list;

void apus_list_release(apus_list *list); /* safe on {0} */

/* Numbers of a kernel that are free to choose: how many rows a lane takes, how far a loop is
 * unrolled.  What they mean is the algorithm's own matter. */
#define APUS_TILE_NUMBERS 4
typedef struct apus_tile {
    uint32_t n; /* 0: there are none */
    uint32_t v[APUS_TILE_NUMBERS];
} apus_tile;

typedef struct apus_lower {
    const apus_caps *caps;
    apus_list *list;
    apus_addr step;       /* the step buffer */
    apus_addr args;       /* the argument buffer */
    apus_addr scratch[8]; /* arenas of planned tensors, each `scratch_bytes` long */
    uint64_t scratch_bytes;
    apus_narrow narrow;             /* how far algorithms may round their inputs */
    const char *force;              /* "op:variant[/tile][,op:variant]" or "" (APUS_KERNEL) */
    const struct apus_tuned *tuned; /* what a tune file says, or NULL (tuned.h) */
    struct apus_sites *sites;       /* collects choices and makes them, in place of that, or NULL */
    const apus_node *node;          /* being lowered */
    const char *algorithm;          /* chosen last for this node, or NULL */
    apus_tile tile;                 /* its tile */
    uint32_t site;                  /* and the index of `sites` */
} apus_lower;

/* Device address of a tensor. */
apus_addr apus_address(const apus_lower *l, const apus_tensor *t); /* 0 for NULL */

/* One dispatch.  groups[live_axis] is computed from `live` where live.var >= 0 (indirect grid),
 * else groups are as given. */
typedef struct apus_dispatch {
    const char *kernel;
    uint32_t spec[APUS_MAX_SPEC];
    uint32_t n_spec;
    uint32_t subgroup;
    const void *push;
    uint32_t push_bytes;
    uint32_t groups[3]; /* 0 counts as 1 */
    apus_rows live;     /* zero-initialised (max 0): none */
    uint32_t live_axis, live_tile;
    double flops, moved, fixed; /* as in apus_item */
    bool rough;
    /* What it reads and writes; when n_access is 0, every input of the node is read, every mutated
     * input and every output written. */
    const apus_access *access;
    uint32_t n_access;
} apus_dispatch;

/* Append.  Errors: APUS_ERR_MEMORY, APUS_ERR_SHAPE (a grid above 65,535 in a dimension, push >
 * 128). */
apus_status apus_emit(apus_lower *l, const apus_dispatch *d);
apus_status apus_emit_fill(apus_lower *l, const apus_tensor *t, uint32_t word);
/* Copy `bytes` of args into the argument buffer; its address is returned in *at. */
apus_status apus_emit_args(apus_lower *l, const void *args, uint32_t bytes, apus_addr *at);
apus_access apus_reads(const apus_lower *l, const apus_tensor *t);
apus_access apus_writes(const apus_lower *l, const apus_tensor *t);

/* Algorithms of an operator, best first; the first that fits wins, the last always fits. */
typedef struct apus_variant {
    const char *name;   /* "tile"; forced with APUS_KERNEL=matmul:tile */
    const char *kernel; /* module that must be in the build */
    apus_narrow narrow; /* how far it rounds its inputs */
    bool (*fits)(const apus_caps *caps, const void *problem);   /* NULL: always */
    bool (*chosen)(const apus_caps *caps, const void *problem); /* by default; NULL: if it fits */
    /* Whether its rounding does no harm to such numbers; NULL: always.  Only what is forced goes
     * without. */
    bool (*sound)(const apus_caps *caps, const void *problem);
    /* Tiles that it can have for a problem that fits, the default first: fills at most `room`
     * and returns how many.  NULL: it has none to choose. */
    uint32_t (*tiles)(const apus_caps *caps, const void *problem, apus_tile *out, uint32_t room);
} apus_variant;

/* Append a tile to a list of variant.tiles, unless it stands there or the list is full. */
void apus_tile_add(apus_tile *list, uint32_t *n, uint32_t room, apus_tile tile);
/* The variant for a problem: the forced one wherever that fits, else the one that was measured to
 * be the fastest (l->tuned), else the default.  Its tile is left in l->tile.  `describe` (one line
 * without the variant) is noted in the list of choices.
 * Errors: APUS_ERR_SUPPORT (no variant fits: the text names operator, problem and device). */
apus_status apus_choose(apus_lower *l, const char *op, const apus_variant *variants, size_t n,
                        const void *problem, const char *describe, const apus_variant **out);

/* Rows as kernels take them: a step variable (0xffffffff: none), skip, max, mul. */
typedef struct apus_rows_arg {
    uint32_t var, skip, max, mul;
} apus_rows_arg;
/* What initialises APUS_ROWS_FIELDS of a kernel's arguments. */
#define APUS_ROWS_VALUES(rows)                                                                     \
    .rows_var = (rows).var, .rows_skip = (rows).skip, .rows_max = (rows).max, .rows_mul = (rows).mul
apus_rows_arg apus_rows_of(const apus_tensor *t); /* rows by dims[0] */
/* Rows of (count / cols): dims[0]'s live part times the middle dimensions. */
apus_rows apus_rows_flat(const apus_tensor *t);
apus_rows_arg apus_rows_arg_of(apus_rows rows, uint32_t static_rows);

/* A grid for n invocations in workgroups of `local`: x first, then y. */
void apus_grid_1d(uint64_t n, uint32_t local, uint32_t groups[3]);

#endif
