/* grad_norm.c - the norm of all gradients: partial sums of chunks, then one workgroup. */
#include "grad_norm.h"

#include "args/grad_norm.h"
#include "op.h"

/* Elements of a partial sum: at least 8192, and few enough sums for the one workgroup that adds
 * them. */
static uint32_t chunk_of(uint32_t n)
{
    const uint32_t least = 4 * (uint32_t)apus_ceil_div(n, 4 * 32768);

    return least > 8192 ? least : 8192;
}

void apus_grad_norm(apus_graph *g, apus_tensor *grad, apus_tensor *state)
{
    apus_node *n;

    if (!grad || !state)
        return;
    if (grad->n_dims != 1 || grad->dims[0] % 4 || state->dims[0] != APUS_STATE_WORDS) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "grad_norm: %u elements", grad->dims[0]);
        return;
    }
    n = apus_graph_node(g, &apus_op_grad_norm, NULL, 0, (apus_tensor *[]) { grad, state }, 2);
    if (!n)
        return;
    n->mutates = 1u << 1;
    const uint32_t partials = (uint32_t)apus_ceil_div(grad->dims[0], chunk_of(grad->dims[0]));
    apus_node_output(g, n, APUS_F32, 1, &partials, APUS_ROWS_ALL);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *grad = n->in[0], *state = n->in[1], *partials = n->out[0];
    const struct apus_grad_norm_push push = {
        .grad = apus_address(l, grad),
        .partials = apus_address(l, partials),
        .state = apus_address(l, state),
        .step = l->step,
        .n = grad->dims[0],
        .chunk = chunk_of(grad->dims[0]),
        .n_partials = partials->dims[0],
        .max_norm_var = APUS_VAR_MAX_NORM,
        .unscale_var = APUS_VAR_UNSCALE,
    };
    const apus_access sums[] = { apus_reads(l, grad), apus_writes(l, partials) };
    const apus_access finish[] = { apus_reads(l, partials), apus_reads(l, state),
                                   apus_writes(l, state) };
    apus_dispatch d = {
        .kernel = "grad_norm",
        .spec = { l->caps->subgroup },
        .n_spec = 1,
        .push = &push,
        .push_bytes = sizeof(push),
        .access = sums,
        .n_access = 2,
        .flops = 2.0 * grad->dims[0],
        .moved = 4.0 * grad->dims[0],
    };

    apus_grid_1d(partials->dims[0], 1, d.groups);
    APUS_FORWARD(apus_emit(l, &d));
    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "grad_norm_finish",
                            .spec = { l->caps->subgroup },
                            .n_spec = 1,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .access = finish,
                            .n_access = 3,
                        });
}

const apus_op_def apus_op_grad_norm = { "grad_norm", record, NULL, false };
