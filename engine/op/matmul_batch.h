/* matmul_batch.h - several small products in one dispatch: what exec/fuse.c makes of the low-rank
 * halves of adapters and of their gradients. */
#ifndef APUSI_OP_MATMUL_BATCH_H
#define APUSI_OP_MATMUL_BATCH_H

#include "lower.h"
#include "matmul.h"

#define APUS_BATCH_MOST 6

typedef struct apus_matmul_batch_params {
    apus_matmul_kind kind;
    struct {
        apus_tensor *a, *b; /* as of one product (matmul.h) */
        apus_tensor *into;  /* TN: the result is added to it, a persistent tensor; else NULL */
        float alpha;
    } product[APUS_BATCH_MOST];
    uint32_t n;     /* without `into` at most APUS_MAX_OUT */
    apus_dtype out; /* format of the results: f32 (0), f16 or bf16 */
} apus_matmul_batch_params;

/* y_i = alpha_i op(a_i) op(b_i), or into_i += that: independent products of one kind, whose a have
 * one format and the same live rows, whose b have one format, and whose into are different tensors.
 *
 * out[i] is as of apus_matmul, NULL with `into`.  No gradient.  Errors: APUS_ERR_SHAPE. */
apus_node *apus_matmul_batch(apus_graph *g, const apus_matmul_batch_params *params,
                             apus_tensor *out[APUS_BATCH_MOST]);

/* Whether the device takes the same algorithm with the same tile for each of them. */
bool apus_matmul_batch_fits(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_matmul_batch_params *params);

#endif
