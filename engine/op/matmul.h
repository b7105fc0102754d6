/* matmul.h - matrix products with activations, weights of any format, and gradients. */
#ifndef APUSI_OP_MATMUL_H
#define APUSI_OP_MATMUL_H

#include "caps.h"
#include "graph.h"

typedef enum apus_matmul_kind {
    APUS_NT, /* a (M, K)  b (N, K)  ->  y (M, N) = a b^T : a projection, b the weight */
    APUS_NN, /* a (M, K)  b (K, N)  ->  y (M, N) = a b   : gradient of a projection's input */
    APUS_TN, /* a (K, M)  b (K, N)  ->  y (M, N) = a^T b : gradient of a weight; K may be live */
} apus_matmul_kind;

typedef struct apus_matmul_params {
    apus_matmul_kind kind;
    float alpha;       /* factor of the product; 0 means 1 */
    apus_tensor *bias; /* (N) f32, NT only, or NULL */
    apus_dtype out;    /* format of y: f32 (0), f16 or bf16 */
    apus_tensor *acc;  /* added to the result: (M, N) in the format of y, or NULL */
    apus_tensor *a2,
        *b2;           /* NT and NN: a second product of the same kind in f32, (M, K2) with (N, K2)
                             or (K2, N), or NULL; it is made by exec/fuse.c and has no gradient */
    float beta;        /* its factor */
    uint32_t parts;    /* the sum over k is divided into at most so many, which algorithms of blocks
                             do at once and add up in order; 0, 1: no.  Not with TN, nor with
                             columns of no whole fours */
    apus_tensor *into; /* the result is written here, over what was there, and this is returned; may
                             be acc (then it is added to).  NULL: a new tensor */
} apus_matmul_params;

/* y = alpha * op(a) op(b) + beta * a2 op(b2) + bias + acc.
 *
 *   a  f32, f16 or bf16; NT, NN: (M, K), live rows allowed.  TN: (K, M), live rows allowed
 *   b  NT: (N, K), NN: (K, N): any weight format.  TN: (K, N) f32, f16 or bf16
 *   -> (M, N) in the format `out`, or that of `into`; live rows of a (NT, NN)
 *
 * Sums in f32 in a fixed order.  a may have more than two dimensions (the first ones are rows).
 * Gradient (NT only): a, b (added to b->grad_into), bias (added to bias->grad_into), acc.
 * Errors: APUS_ERR_SHAPE. */
apus_tensor *apus_matmul(apus_graph *g, apus_tensor *a, apus_tensor *b,
                         const apus_matmul_params *params);
/* Into how many parts the sum of a node is best divided on this device; 1: it is not. */
uint32_t apus_matmul_parts(const apus_caps *caps, apus_narrow narrow, const char *force,
                           const apus_node *n);
/* Divide it; of a node that has no parts yet. */
void apus_matmul_divide(apus_graph *g, apus_node *n, uint32_t parts);
/* What a matmul node was built from. */
apus_matmul_params apus_matmul_of(const apus_node *n, apus_tensor **a, apus_tensor **b);

#endif
