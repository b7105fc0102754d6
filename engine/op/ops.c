/* ops.c - the table of operators, from ops.def. */
#include "op.h"

#include "add.h"

const apus_op_def *const apus_ops[] = {
#define OP(x) &apus_op_##x,
#include "ops.def"
#undef OP
    NULL
};

void apus_add_grad(apus_graph *g, apus_tensor *t, apus_tensor *d)
{
    if (!t || !d || !t->wants_grad)
        return;
    t->grad = t->grad ? apus_add(g, t->grad, d) : d;
}
