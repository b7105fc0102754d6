/* adamw_8bit.c - the AdamW optimizer with moments of 8 bits: builder and dispatch. */
#include "adamw_8bit.h"

#include "args/adamw_8bit.h"
#include "op.h"

enum {
    IN_W,
    IN_GRAD,
    IN_CODES_M,
    IN_CODES_V,
    IN_SCALES,
    IN_WIDE_M,
    IN_WIDE_V,
    IN_COPY,
    IN_STATE,
    IN_RUNS,
    N_IN
};

struct attr {
    apus_adamw_params params;
    uint32_t n_coded, n_blocks;
};

_Static_assert(APUS_VAR_BIAS1 == APUS_VAR_LR + 1 && APUS_VAR_BIAS2 == APUS_VAR_LR + 2,
               "the shader finds the bias corrections behind the learning rate");

static bool holds(const apus_tensor *t, uint32_t blocks)
{
    return apus_tensor_count(t) == (uint64_t)APUS_ADAMW_BLOCK * (blocks ? blocks : 1);
}

static bool is_whole(const apus_adamw_state *s)
{
    const uint32_t wide = s->n_blocks - s->n_coded, coded = s->n_coded ? s->n_coded : 1;

    return s->n_coded <= s->n_blocks && holds(s->codes_m, s->n_coded) &&
           holds(s->codes_v, s->n_coded) && holds(s->wide_m, wide) && holds(s->wide_v, wide) &&
           apus_tensor_count(s->scales) == 2 * (uint64_t)coded && s->runs->n_dims == 2 &&
           s->runs->dims[0] > 0 && s->runs->dims[1] == APUS_ADAMW_RUN_WORDS;
}

void apus_adamw_8bit(apus_graph *g, apus_tensor *w, apus_tensor *grad, const apus_adamw_state *s,
                     apus_tensor *copy, apus_tensor *state, const apus_adamw_params *params)
{
    const struct attr attr = { *params, s->n_coded, s->n_blocks };
    apus_node *n;

    if (!w || !grad || !state || !s->codes_m || !s->codes_v || !s->scales || !s->wide_m ||
        !s->wide_v || !s->runs)
        return;
    if (w->n_dims != 1 || w->dims[0] % 4 || grad->dims[0] != w->dims[0] || !is_whole(s) ||
        params->n_decay % 4 || (copy && copy->dims[0] != w->dims[0])) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "adamw_8bit: %u elements in %u blocks, %u with codes",
                        w->dims[0], s->n_blocks, s->n_coded);
        return;
    }
    n = apus_graph_node(g, &apus_op_adamw_8bit, &attr, sizeof(attr),
                        (apus_tensor *[]) { w, grad, s->codes_m, s->codes_v, s->scales, s->wide_m,
                                            s->wide_v, copy, state, s->runs },
                        N_IN);
    if (n)
        n->mutates = 1u << IN_W | 1u << IN_GRAD | 1u << IN_CODES_M | 1u << IN_CODES_V |
                     1u << IN_SCALES | 1u << IN_WIDE_M | 1u << IN_WIDE_V | 1u << IN_COPY;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *a = n->attr;
    const apus_tensor *copy = n->in[IN_COPY];
    const uint32_t subgroup = l->caps->subgroup, quads = APUS_ADAMW_BLOCK / 4;
    const bool turns = l->caps->device_class == APUS_CLASS_CPU || subgroup > quads;
    const uint32_t lanes = turns ? subgroup : quads;
    const double coded = (double)APUS_ADAMW_BLOCK * a->n_coded, elements = n->in[IN_W]->dims[0];
    const struct apus_adamw_8bit_push push = {
        .w = apus_address(l, n->in[IN_W]),
        .grad = apus_address(l, n->in[IN_GRAD]),
        .codes_m = apus_address(l, n->in[IN_CODES_M]),
        .codes_v = apus_address(l, n->in[IN_CODES_V]),
        .wide_m = apus_address(l, n->in[IN_WIDE_M]),
        .wide_v = apus_address(l, n->in[IN_WIDE_V]),
        .scales = apus_address(l, n->in[IN_SCALES]),
        .copy = apus_address(l, copy),
        .state = apus_address(l, n->in[IN_STATE]),
        .step = l->step,
        .runs = apus_address(l, n->in[IN_RUNS]),
        .n_runs = n->in[IN_RUNS]->dims[0],
        .n_blocks = a->n_blocks,
        .n_coded = a->n_coded,
        .n_decay = a->params.n_decay,
        .lr_var = APUS_VAR_LR,
        .beta1 = a->params.beta1,
        .beta2 = a->params.beta2,
        .eps = a->params.eps,
        .decay = a->params.decay,
    };
    apus_dispatch d = {
        .kernel = "adamw_8bit",
        .spec = { lanes, (uint32_t)apus_ceil_div(quads, lanes), lanes / subgroup,
                  copy ? copy->dtype : APUS_F32 },
        .n_spec = 4,
        .push = &push,
        .push_bytes = sizeof(push),
        .flops = 14 * elements + 100 * coded,
        .moved = (copy ? 18.0 : 16.0) * elements + 4 * coded + 16 * (elements - coded),
    };

    apus_grid_1d(a->n_blocks, 1, d.groups);
    return apus_emit(l, &d);
}

const apus_op_def apus_op_adamw_8bit = { "adamw_8bit", record, NULL, false };
