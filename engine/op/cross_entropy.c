/* cross_entropy.c - loss of a chunk of logits: rows, then their sum. */
#include "cross_entropy.h"

#include "args/cross_entropy.h"
#include "op.h"

struct attr {
    bool gradient;
};

enum { IN_LOGITS, IN_LABELS, IN_WEIGHTS, IN_STATE, N_IN };

apus_tensor *apus_cross_entropy(apus_graph *g, apus_tensor *logits,
                                const apus_cross_entropy_params *p)
{
    const struct attr attr = { p->gradient };
    apus_node *n;

    if (!logits || !p->labels || !p->weights || !p->state)
        return NULL;
    if (logits->dtype != APUS_F32 || logits->n_dims != 2 || p->labels->dims[0] != logits->dims[0] ||
        p->weights->dims[0] != logits->dims[0] || p->state->dims[0] != APUS_STATE_WORDS)
        return apus_graph_fail(g, APUS_ERR_SHAPE, "cross_entropy: %s (%u, %u)", logits->name,
                               logits->dims[0], logits->dims[1]);
    n = apus_graph_node(g, &apus_op_cross_entropy, &attr, sizeof(attr),
                        (apus_tensor *[]) { logits, p->labels, p->weights, p->state }, N_IN);
    if (!n)
        return NULL;
    n->mutates = 1u << IN_STATE | (p->gradient ? 1u << IN_LOGITS : 0);
    apus_node_output(g, n, APUS_F32, 2, (uint32_t[]) { logits->dims[0], 2 }, logits->rows);
    return logits;
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const struct attr *attr = n->attr;
    const apus_tensor *z = n->in[IN_LOGITS], *rows_out = n->out[0], *state = n->in[IN_STATE];
    const apus_rows_arg live = apus_rows_of(z);
    const struct apus_cross_entropy_push push = {
        .logits = apus_address(l, z),
        .labels = apus_address(l, n->in[IN_LABELS]),
        .weights = apus_address(l, n->in[IN_WEIGHTS]),
        .rows_out = apus_address(l, rows_out),
        .state = apus_address(l, state),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .vocab = z->dims[1],
        .scale_var = APUS_VAR_LOSS_SCALE,
    };
    const apus_access rows[] = {
        apus_reads(l, z),
        apus_reads(l, n->in[IN_LABELS]),
        apus_reads(l, n->in[IN_WEIGHTS]),
        apus_writes(l, rows_out),
        apus_writes(l, z),
    };
    const apus_access sum[] = { apus_reads(l, rows_out), apus_reads(l, state),
                                apus_writes(l, state) };

    APUS_FORWARD(
        apus_emit(l, &(apus_dispatch) {
                         .kernel = "cross_entropy",
                         .spec = { l->caps->subgroup, attr->gradient, z->dims[1] % 4 == 0 },
                         .n_spec = 3,
                         .push = &push,
                         .push_bytes = sizeof(push),
                         .groups = { z->dims[0] },
                         .live = z->rows,
                         .live_axis = 0,
                         .live_tile = 1,
                         .access = rows,
                         .n_access = attr->gradient ? 5 : 4,
                         .flops = 8.0 * (double)apus_tensor_count(z),
                         .moved = 16.0 * (double)apus_tensor_count(z),
                     }));
    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "cross_entropy_sum",
                            .spec = { 1 },
                            .n_spec = 1,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .access = sum,
                            .n_access = 3,
                        });
}

const apus_op_def apus_op_cross_entropy = { "cross_entropy", record, NULL, false };
