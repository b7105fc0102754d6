/* sample.c - drawing tokens on the device: builder and two dispatches (mark what was seen, draw). */
#include "sample.h"

#include "args/sample.h"
#include "op.h"

enum { IN_LOGITS, IN_SETTINGS, IN_SEEN, IN_TOKENS, IN_SLOT, IN_OUT, N_IN };

void apus_sample(apus_graph *g, apus_tensor *logits, const apus_sample_params *p)
{
    apus_node *n;

    if (!logits || !p->settings || !p->out)
        return;
    if (logits->dtype != APUS_F32 || logits->n_dims != 2
        || p->settings->dims[0] < logits->dims[0] * APUS_SAMPLE_WORDS || p->out->dims[0] < logits->dims[0]
        || (p->seen && p->seen->dims[1] != (logits->dims[1] + 31) / 32)) {
        apus_graph_fail(g, APUS_ERR_SHAPE, "sample: logits (%u, %u)", logits->dims[0], logits->dims[1]);
        return;
    }
    n = apus_graph_node(g, &apus_op_sample, NULL, 0,
                        (apus_tensor *[]) { logits, p->settings, p->seen, p->tokens, p->token_slot, p->out }, N_IN);
    if (n)
        n->mutates = 1u << IN_OUT | (p->seen ? 1u << IN_SEEN : 0);
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *z = n->in[IN_LOGITS], *seen = n->in[IN_SEEN], *tokens = n->in[IN_TOKENS];
    const struct apus_sample_push push = {
        .logits = apus_address(l, z), .settings = apus_address(l, n->in[IN_SETTINGS]),
        .seen = apus_address(l, seen), .drawn = apus_address(l, n->in[IN_OUT]),
        .tokens = apus_address(l, tokens), .token_slot = apus_address(l, n->in[IN_SLOT]), .step = l->step,
        .rows_var = APUS_VAR_SEQUENCES, .rows_max = z->dims[0], .tokens_var = APUS_VAR_TOKENS,
        .tokens_max = tokens ? tokens->dims[0] : 0, .vocab = z->dims[1],
        .seen_words = seen ? seen->dims[1] : 0, .seen_rows = seen ? seen->dims[0] : 0,
    };

    if (seen && tokens) {
        const apus_access mark[] = { apus_reads(l, tokens), apus_reads(l, n->in[IN_SLOT]), apus_reads(l, seen),
                                     apus_writes(l, seen) };
        APUS_FORWARD(apus_emit(l, &(apus_dispatch) {
            .kernel = "sample_mark", .spec = { 64 }, .n_spec = 1, .push = &push, .push_bytes = sizeof(push),
            .groups = { (uint32_t)apus_ceil_div(tokens->dims[0], 64) }, .access = mark, .n_access = 4 }));
    }
    return apus_emit(l, &(apus_dispatch) {
        .kernel = "sample", .spec = { l->caps->subgroup }, .n_spec = 1, .push = &push,
        .push_bytes = sizeof(push), .groups = { z->dims[0] },
        .live = apus_rows_live(APUS_VAR_SEQUENCES, z->dims[0]), .live_axis = 0, .live_tile = 1,
        .moved = 4.0 * (double)apus_tensor_count(z) });
}

const apus_op_def apus_op_sample = { "sample", record, NULL, false };
