/* matmul_few.h - arguments of the products of few rows: matmul_vec, _vec_cpu, _dot_cpu. */
#ifndef APUS_MATMUL_FEW_H
#define APUS_MATMUL_FEW_H
#include "dual.h"

#define APUS_MATMUL_MEMBERS 3 /* at most */

/* One matrix of those that are multiplied by the same rows; in the argument buffer. */
struct apus_matmul_member {
    APUS_ADDR b, scales, y, acc, bias; /* as in apus_matmul_push */
    APUS_ADDR entry;                   /* of the module's adapter of slot 0 (lora.h), or 0 */
    uint n;                            /* rows of b */
    uint first;                        /* workgroup that has its first rows */
    uint h_at;                         /* column of h that is its first */
    uint pad;
};

struct apus_matmul_few_push {
    APUS_ADDR a, norm, members, step; /* norm: weights (K) of the norm of a, or 0 */
    APUS_ADDR h, index;               /* ADAPTED: low-rank halves (T, h_cols), slot of each row */
    APUS_ROWS_FIELDS                  /* of a */
    uint k, scale_words, h_cols, slots;
    float alpha, eps;                 /* eps: of the norm */
};

#endif
