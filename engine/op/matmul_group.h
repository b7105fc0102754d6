/* matmul_group.h - several projections of the same few rows in one dispatch, with the norm before
 * and the gate behind them: what exec/fuse.c makes of a decode step. */
#ifndef APUSI_OP_MATMUL_GROUP_H
#define APUSI_OP_MATMUL_GROUP_H

#include "lora.h"

#define APUS_GROUP_MOST 3

typedef struct apus_matmul_group_params {
    struct {
        apus_tensor *b;    /* (N, K), any weight format */
        apus_tensor *bias; /* (N) f32, or NULL */
        apus_tensor *acc;  /* added to the result: (T, N) in its format, or NULL */
        bool adapted;      /* a low-rank term is added, of this module of the table */
        uint32_t module;
    } member[APUS_GROUP_MOST];
    uint32_t n;
    uint32_t gate;         /* not 0: two members of one shape and format, without bias and acc:
                              the result is swiglu(y0, y1), or geglu, as APUS_GATE_... says */
    apus_tensor *norm;     /* (K) f32: x is normalized on the way (rms_norm.h), or NULL */
    float eps;             /* of the norm */
    apus_lora_params lora; /* of the adapted: table, index, slots, rank */
    apus_dtype out;        /* format of the results: f32 (0), f16 or bf16 */
} apus_matmul_group_params;

/* y_i = norm(x) b_i^T + bias_i + acc_i + the adapter's term (lora.h), at most 8 rows; a dispatch
 * for each format among the b_i, and one for the low-rank halves.
 *
 *   x (T, K) f32, f16 or bf16, live rows allowed  ->  out[i] (T, N_i); with a gate out[0] only
 *
 * A normalized x is not rounded to 16 bits where x has them.  No gradient.  The algorithms are
 * those of matmul for few rows (APUS_KERNEL=matmul:...); where none fits, recording fails with
 * APUS_ERR_SUPPORT.  Errors: APUS_ERR_SHAPE. */
apus_node *apus_matmul_group(apus_graph *g, apus_tensor *x, const apus_matmul_group_params *params,
                             apus_tensor *out[APUS_GROUP_MOST]);

/* Whether the algorithm that matmul would take for the group takes groups. */
bool apus_matmul_group_fits(const apus_caps *caps, apus_narrow narrow, const char *force,
                            const apus_tensor *x, const apus_matmul_group_params *params);

/* What a group was built from; borrowed. */
const apus_matmul_group_params *apus_matmul_group_of(const apus_node *n);

#endif
