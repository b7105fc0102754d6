/* matmul.h - arguments of all matmul kernels. */
#ifndef APUS_MATMUL_H
#define APUS_MATMUL_H
#include "dual.h"

/* y = alpha * (op(a) op(b) + beta * a2 op(b2)) + bias + acc, see engine/op/matmul.h.  The
 * live rows are rows of a: rows of y for NT and NN, the summed dimension for TN. */
struct apus_matmul_push {
    APUS_ADDR a, b, scales, y, acc, bias, step; /* scales, acc, bias: 0 for none */
    APUS_ADDR a2, b2;                           /* DUAL: the second product, f32 */
    APUS_ROWS_FIELDS
    uint m, n, k;     /* largest shape */
    uint scale_words; /* words of the scale plane in a row of b */
    uint k2;
    float alpha, beta;
    uint part; /* PARTS: k of a part, whole chunks; y is (parts, m, n) f32, which matmul_sum.comp
                  has as `a`, and as `k` how many there are */
};

#define APUS_MATMUL_NT 0
#define APUS_MATMUL_NN 1
#define APUS_MATMUL_TN 2

/* What is known of the shapes (matmul_load.glsl): nothing; rows of all operands and of the result
 * are of whole fours; those of the first product of whole eights, and k of whole chunks. */
#define APUS_MATMUL_ANY 0
#define APUS_MATMUL_FOURS 1
#define APUS_MATMUL_WHOLE 2

#endif
