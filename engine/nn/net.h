/* net.h - building a network from blocks: the state of a walk over a family's table.
 *
 * A layer is a short program over two registers: x, the residual stream, and h, the branch. 
 * From the
 * same table come the weights to load with their shapes, the graph, the targets of adapters and the
 * formula that `apus inspect` prints. */
#ifndef APUSI_NET_H
#define APUSI_NET_H

#include "attention.h"
#include "graph.h"

/* Symbolic sizes of weights. */
typedef enum apus_dim {
    APUS_DIM_NONE, /* no such dimension */
    APUS_DIM_MODEL,
    APUS_DIM_Q,  /* heads * head size */
    APUS_DIM_KV, /* key-value heads * head size */
    APUS_DIM_FFN,
    APUS_DIM_HEAD, /* head size */
    APUS_DIM_VOCAB,
} apus_dim;

/* Flags of a step of a family's table. */
enum {
    APUS_QK_NORM = 1u << 0,  /* queries and keys are normalized by head */
    APUS_QKV_BIAS = 1u << 1, /* q, k, v have biases */
};

/* A weight that a block declares; it exists where the step has all flags of `needs`. */
typedef struct apus_weight_decl {
    const char *suffix;  /* "q_proj.weight" */
    apus_dim rows, cols; /* cols NONE: a vector */
    uint32_t needs;
    bool target; /* a projection: a target of adapters */
} apus_weight_decl;

typedef struct apus_net apus_net;
typedef struct apus_layer_step apus_layer_step;

typedef struct apus_block {
    const char *formula;             /* "attention(%s)": how inspect writes it */
    bool residual;                   /* the step that adds the branch to the stream */
    const apus_weight_decl *weights; /* ends in a NULL suffix */
    void (*build)(apus_net *net, const apus_layer_step *step);
} apus_block;

struct apus_layer_step {
    const apus_block *block; /* NULL ends the program */
    const char *name;        /* "self_attn" */
    uint32_t flags;
};

typedef struct apus_net_dims {
    uint32_t hidden, layers, heads, kv_heads, head_dim, ffn, vocab;
    float rms_eps;
    uint32_t window, window_from; /* layers from window_from on see `window` tokens; 0: all */
} apus_net_dims;

struct apus_net {
    apus_graph *g;
    const apus_net_dims *dims;
    /* The tensor of a weight by its full name, NULL if the model has none. */
    apus_tensor *(*weight)(void *user, apus_graph *g, const char *name);
    void *weight_user;
    /* What adapters make of y = x w^T for a module by its full name; NULL: nothing is adapted. */
    apus_tensor *(*adapt)(void *user, apus_graph *g, const char *module, apus_tensor *x,
                          apus_tensor *y);
    void *adapt_user;

    apus_sequences sequences;
    apus_tensor *rope; /* cos, sin of each position (rope.h) */
    apus_tensor *k_cache,
        *v_cache; /* of the layer; NULL: keys and values are the step's own rows */
    uint32_t layer;
    const char *prefix; /* "model.layers.3." */
    apus_tensor *x, *h;
    bool folds_residual; /* the next step is the residual: a block may add x itself ... */
    bool folded;         /* ... and says so */
};

uint32_t apus_dim_of(const apus_net_dims *dims, apus_dim dim);
/* prefix + step + "." + suffix, in the graph's arena. */
const char *apus_net_name(const apus_net *net, const apus_layer_step *step, const char *suffix);
/* x w^T + bias + acc with what adapters add; `name` is the projection ("q_proj"). */
apus_tensor *apus_net_project(apus_net *net, const apus_layer_step *step, const char *name,
                              apus_tensor *x, bool bias, apus_tensor *acc);
/* Run a layer's program on net->x. */
void apus_net_layer(apus_net *net, const apus_layer_step *program, uint32_t layer);

extern const apus_block apus_block_norm, apus_block_attention, apus_block_mlp, apus_block_residual;

#endif
