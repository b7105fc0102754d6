/* adamw.c - the AdamW optimizer: builder and dispatch. */
#include "adamw.h"

#include "args/adamw.h"
#include "op.h"

enum { IN_W, IN_GRAD, IN_M, IN_V, IN_COPY, IN_STATE, N_IN };

void apus_adamw(apus_graph *g, apus_tensor *w, apus_tensor *grad, apus_tensor *m, apus_tensor *v,
                apus_tensor *copy, apus_tensor *state, const apus_adamw_params *params)
{
    apus_node *n;

    if (!w || !grad || !m || !v || !state)
        return;
    if (w->n_dims != 1 || w->dims[0] % 4 || grad->dims[0] != w->dims[0] ||
        m->dims[0] != w->dims[0] || v->dims[0] != w->dims[0] || params->n_decay % 4 ||
        (copy && copy->dims[0] != w->dims[0])) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "adamw: %u elements, %u decayed", w->dims[0],
                        params->n_decay);
        return;
    }
    n = apus_graph_node(g, &apus_op_adamw, params, sizeof(*params),
                        (apus_tensor *[]) { w, grad, m, v, copy, state }, N_IN);
    if (n)
        n->mutates = 1u << IN_W | 1u << IN_GRAD | 1u << IN_M | 1u << IN_V | 1u << IN_COPY;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_adamw_params *a = n->attr;
    const apus_tensor *w = n->in[IN_W], *copy = n->in[IN_COPY];
    const struct apus_adamw_push push = {
        .w = apus_address(l, w),
        .grad = apus_address(l, n->in[IN_GRAD]),
        .m = apus_address(l, n->in[IN_M]),
        .v = apus_address(l, n->in[IN_V]),
        .copy = apus_address(l, copy),
        .state = apus_address(l, n->in[IN_STATE]),
        .step = l->step,
        .n = w->dims[0],
        .n_decay = a->n_decay,
        .copy_type = copy ? copy->dtype : APUS_F16,
        .lr_var = APUS_VAR_LR,
        .bias1_var = APUS_VAR_BIAS1,
        .bias2_var = APUS_VAR_BIAS2,
        .beta1 = a->beta1,
        .beta2 = a->beta2,
        .eps = a->eps,
        .decay = a->decay,
    };
    apus_dispatch d = {
        .kernel = "adamw",
        .spec = { 64 },
        .n_spec = 1,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 14.0 * w->dims[0],
        .moved = (copy ? 34.0 : 32.0) * w->dims[0],
    };

    apus_grid_1d(w->dims[0] / 4, 64, d.groups);
    return apus_emit(l, &d);
}

const apus_op_def apus_op_adamw = { "adamw", record, NULL, false };
