/* graph.h - tensors and nodes: the vocabulary of a computation.  It computes nothing.
 *
 * A graph lives in an arena and is built once for a model, a mode and a shape bucket.  Builders
 * return NULL on failure and poison the graph, so that a whole model is built without a check on
 * each line; apus_graph_status() is asked once.  Passing NULL to a builder returns NULL.
 *
 * What changes from step to step lies in one small *step buffer*: variables (u32, the first
 * APUS_STEP_VARS words), then arrays (token ids, positions, page tables); a plan has the grids of
 * indirect dispatches behind them.  A tensor's first dimension may be live: its row count is read
 * from a variable. */
#ifndef APUSI_GRAPH_H
#define APUSI_GRAPH_H

#include "arena.h"
#include "dtype.h"

#define APUS_MAX_DIMS 4
#define APUS_MAX_IN 20
#define APUS_MAX_OUT 4

/* To how many bits an algorithm rounds its inputs, or may round them; each allows those before. */
typedef enum apus_narrow {
    APUS_NARROW_NOT, /* they stay as they are stored */
    APUS_NARROW_16,  /* f16 or bf16 */
    APUS_NARROW_8    /* bytes with a scale a block: in inference only */
} apus_narrow;

/* Variables of the step buffer, one index each; kernels read them as u32 (or f32 bits). */
typedef enum apus_step_var {
    APUS_VAR_TOKENS,     /* rows of this step: tokens */
    APUS_VAR_LOSS_ROWS,  /* rows with a label */
    APUS_VAR_SEQUENCES,  /* sequences of this step */
    APUS_VAR_OUT_ROWS,   /* rows whose logits are wanted */
    APUS_VAR_UNIQUE,     /* distinct tokens (gradient of the embedding) */
    APUS_VAR_STEP,       /* optimizer step, from 1 */
    APUS_VAR_SEED,       /* run seed */
    APUS_VAR_LR,         /* f32: learning rate */
    APUS_VAR_BIAS1,      /* f32: 1 - beta1^step */
    APUS_VAR_BIAS2,      /* f32: sqrt(1 - beta2^step) */
    APUS_VAR_LOSS_SCALE, /* f32: loss scale / trained tokens of the whole effective batch */
    APUS_VAR_UNSCALE,    /* f32: 1 / loss scale, which the update takes out of the gradients */
    APUS_VAR_MAX_NORM,   /* f32: clip the gradient norm to this; 0: do not */
    APUS_VAR_MICRO,      /* micro step within the update, from 0 */
    APUS_VAR_BLOCKS,     /* blocks of rows (attention.h) */
    APUS_STEP_VARS = 32
} apus_step_var;

#define APUS_STEP_ARRAYS_AT (4u * APUS_STEP_VARS)

/* How many rows of a tensor are live: min(max, step[var] - skip, not below 0) * mul; var < 0:
 * all. */
typedef struct apus_rows {
    int32_t var;
    uint32_t skip;
    uint32_t max;
    uint32_t mul;
} apus_rows;

/* Where a tensor's bytes are. */
typedef enum apus_storage {
    APUS_STORE_PLANNED, /* the planner gives it an offset in the scratch arena */
    APUS_STORE_BOUND,   /* a persistent buffer: weights, caches, gradients, optimizer state */
    APUS_STORE_STEP,    /* an array of the step buffer */
    APUS_STORE_VIEW,    /* bytes of another tensor */
} apus_storage;

/* The place of a tensor: layers over several devices and off-loading are choices of the planner. */
typedef struct apus_place {
    uint8_t host;   /* 1: host memory that the device reads */
    uint8_t device; /* index of an open device */
} apus_place;

typedef struct apus_node apus_node;
typedef struct apus_tensor apus_tensor;
typedef struct apus_op_def apus_op_def;

struct apus_tensor {
    const char *name;
    uint32_t id; /* dense, in order of creation */
    apus_dtype dtype;
    uint32_t n_dims;
    uint32_t dims[APUS_MAX_DIMS]; /* outermost first, the last is contiguous */
    apus_rows rows;               /* live part of dims[0] */
    apus_storage storage;
    apus_place place;
    uint64_t at; /* BOUND: device address; STEP: byte offset; PLANNED: offset, set by the planner */
    uint64_t bytes;      /* bytes in device memory (plane layout for quantized formats) */
    apus_tensor *base;   /* VIEW: whose bytes, from byte `at` on */
    apus_node *producer; /* NULL for BOUND and STEP tensors */
    bool wants_grad;
    bool keep;              /* read by the host after the run: lives to the end */
    apus_tensor *grad;      /* d loss / d this, while and after autodiff */
    apus_tensor *grad_into; /* trained tensors: persistent buffer that the gradient is added to */
};

struct apus_node {
    const apus_op_def *op;
    uint32_t id;
    uint32_t n_in, n_out;
    apus_tensor *in[APUS_MAX_IN]; /* NULL where an optional input is absent */
    apus_tensor *out[APUS_MAX_OUT];
    uint32_t mutates; /* bit i: in[i] is written as well as read */
    uint32_t region;  /* layer whose forward may be recomputed; 0: none */
    void *attr;       /* the op's own parameters, in the arena */
    const char *name;
};

typedef struct apus_graph {
    apus_arena arena;
    apus_status status;
    char error[512];
    apus_node **nodes;
    uint32_t n_nodes;
    size_t node_room;
    apus_tensor **tensors;
    uint32_t n_tensors;
    size_t tensor_room;
    uint32_t step_bytes; /* size of the step buffer so far */
    uint32_t region;     /* given to new nodes */
    const char *prefix;  /* of new names: "layers.3" */
    uint64_t salt;       /* makes names of cloned nodes differ */
} apus_graph;

apus_status apus_graph_init(apus_graph *g);
void apus_graph_release(apus_graph *g);             /* safe on {0} */
apus_status apus_graph_status(const apus_graph *g); /* sets the failure text again */
/* Poison the graph (the first failure stays) and return NULL. */
void *apus_graph_fail(apus_graph *g, apus_status status, const char *fmt, ...) APUS_PRINTF(3, 4);

#define APUS_ROWS_ALL ((apus_rows) { .var = -1 })
/* Live rows by a variable: dims[0] is max * mul. */
apus_rows apus_rows_live(apus_step_var var, uint32_t max);

/* A persistent tensor at a device address. */
apus_tensor *apus_graph_bound(apus_graph *g, const char *name, apus_dtype dtype, uint32_t n_dims,
                              const uint32_t *dims, uint64_t address);
/* An array of n elements of the step buffer (u32, i32 or f32), rows live by `rows`. */
apus_tensor *apus_graph_step(apus_graph *g, const char *name, apus_dtype dtype, uint32_t n,
                             apus_rows rows);
/* The same bytes with other dimensions (equal element count; plain formats).  Live rows follow:
 * dims[0] must stay a multiple or a divisor of the old one. */
apus_tensor *apus_graph_reshape(apus_graph *g, apus_tensor *x, uint32_t n_dims,
                                const uint32_t *dims);
/* Rows [first, first + n) of a plain tensor with static rows. */
apus_tensor *apus_graph_slice(apus_graph *g, apus_tensor *x, uint32_t first, uint32_t n);
/* The same bytes, rows live in another way (a chunk of a longer list). */
apus_tensor *apus_graph_with_rows(apus_graph *g, apus_tensor *x, apus_rows rows);

/* For operators: a node with its outputs.  `attr_bytes` of `attr` are copied into the arena. */
apus_node *apus_graph_node(apus_graph *g, const apus_op_def *op, const void *attr,
                           size_t attr_bytes, apus_tensor *const *in, uint32_t n_in);
/* In 16 bits the last dimension must be a multiple of 4: rows are written by whole words. */
apus_tensor *apus_node_output(apus_graph *g, apus_node *n, apus_dtype dtype, uint32_t n_dims,
                              const uint32_t *dims, apus_rows rows);

/* Leave out nodes that were set to NULL, and the planned tensors that no node makes any more (and
 * their views); ids are dense again. */
void apus_graph_compact(apus_graph *g);

/* Bytes in device memory: plain formats n * bytes; quantized ones their planes (layout.h). */
bool apus_tensor_bytes(apus_dtype dtype, uint32_t n_dims, const uint32_t *dims, uint64_t *bytes);
uint64_t apus_tensor_count(const apus_tensor *t); /* elements */
uint32_t apus_tensor_cols(const apus_tensor *t);  /* last dimension */
uint32_t apus_tensor_rows(const apus_tensor *t);  /* product of the others */
/* The tensor that owns the bytes, and the offset of `t` in it. */
const apus_tensor *apus_tensor_root(const apus_tensor *t, uint64_t *offset);

#endif
