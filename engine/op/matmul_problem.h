/* matmul_problem.h - what the matmul algorithms are chosen by. */
#ifndef APUSI_MATMUL_PROBLEM_H
#define APUSI_MATMUL_PROBLEM_H

#include "lower.h"
#include "matmul.h"
#include "op.h"

typedef struct apus_matmul_problem {
    apus_matmul_kind kind;
    uint32_t m, n, k; /* largest shape */
    apus_dtype b;     /* format of b */
    apus_dtype a, y;  /* of a, and of y and what is added to it */
} apus_matmul_problem;

/* The algorithms, at products of a layer of 4096 columns. */
extern const apus_op_choices apusi_matmul_choices;
/* Choose an algorithm (noted as `what`) and append its dispatch; `d` has arguments, live rows of a
 * (NT, NN) and estimates filled in.  Errors: of apus_choose and apus_emit. */
apus_status apusi_matmul_emit(apus_lower *l, const apus_matmul_problem *p, const char *what,
                              apus_dispatch *d);

#endif
