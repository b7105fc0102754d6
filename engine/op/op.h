/* op.h - operators: one table entry each, made by ops.def.
 *
 * An operator is five files: engine/op/x.h, engine/op/x.c (builder, record, gradient),
 * shaders/x.comp, shaders/include/args/x.h (arguments, one struct for C and GLSL), tests/op/x.c. */
#ifndef APUSI_OP_H
#define APUSI_OP_H

#include "apus/op.h"
#include "lower.h"

/* What an operator with several algorithms chooses by, at shapes that tell them apart. */
typedef struct apus_op_problem {
    const char *name; /* "512 rows" */
    const void *problem;
} apus_op_problem;

typedef struct apus_op_choices {
    const apus_variant *variants;
    size_t n_variants;
    const apus_op_problem *problems;
    size_t n_problems;
} apus_op_choices;

struct apus_op_def {
    const char *name;
    /* Append the dispatches of `n` for the device that `l->caps` describes. */
    apus_status (*record)(apus_lower *l, const apus_node *n);
    /* Append the nodes of the gradient: n->out[i]->grad is d loss / d out[i] (NULL where nothing
     * depends on it); calls apus_add_grad for each input that wants one.  NULL: no gradient. */
    void (*backward)(apus_graph *g, apus_node *n);
    /* Outputs are cheap: the gradient makes them again instead of keeping them, from inputs that no
     * node changes in between. */
    bool rematerialize;
    const apus_op_choices *choices; /* NULL: there is one algorithm */
};

#define OP(x) extern const apus_op_def apus_op_##x;
#include "ops.def"
#undef OP

/* All operators, in the order of ops.def, ending in NULL. */
extern const apus_op_def *const apus_ops[];

/* As apus_device_algorithms, for a device that need not be there.  `force` is APUS_KERNEL's form;
 * "": nothing is forced. */
void apus_algorithms_each(const apus_caps *caps, const char *force,
                          void (*each)(void *user, const apus_algorithm *a), void *user);

/* Whether `force` names algorithms that there are.  Errors: APUS_ERR_ARG (which one does not exist,
 * and which do), APUS_ERR_MEMORY. */
apus_status apus_algorithms_check(const char *force);

/* Add a contribution to d loss / d t.  Contributions of one tensor are summed in the order of
 * calls. */
void apus_add_grad(apus_graph *g, apus_tensor *t, apus_tensor *d);
/* For rules that fuse the sum: the gradient so far (or NULL), to be passed as `acc` to a builder
 * whose result then replaces it by apus_set_grad. */
static inline void apus_set_grad(apus_tensor *t, apus_tensor *d)
{
    if (d)
        t->grad = d;
}

#endif
