/* sample.c - sampling on the device: builder and dispatches. */
#include "sample.h"

#include "args/sample.h"
#include "op.h"

#define MOST_IDS 262144u
#define MOST_WORDS 0x40000000u /* the kernels index words by 31 bits */

enum { IN_LOGITS, IN_SETTINGS, IN_SEEN, IN_TOKENS, IN_TOKEN_SLOT, IN_DRAWN, N_IN };

static bool is_u32(const apus_tensor *t)
{
    return t->dtype == APUS_U32;
}

static bool seen_fits(const apus_sample_params *p, uint32_t vocab)
{
    if (!p->seen)
        return !p->tokens && !p->token_slot;
    return is_u32(p->seen) && p->seen->n_dims == 2 && (uint64_t)p->seen->dims[1] * 32 >= vocab &&
           p->tokens && p->token_slot && is_u32(p->tokens) && is_u32(p->token_slot) &&
           p->tokens->dims[0] == p->token_slot->dims[0];
}

void apus_sample(apus_graph *g, apus_tensor *logits, const apus_sample_params *p)
{
    apus_node *n;

    if (!logits || !p->settings || !p->out)
        return;
    const uint32_t rows = logits->dims[0], vocab = apus_tensor_cols(logits);
    if (logits->dtype != APUS_F32 || logits->n_dims != 2 || vocab > MOST_IDS ||
        (uint64_t)rows * vocab > MOST_WORDS || !is_u32(p->settings) ||
        p->settings->dims[0] != rows * APUS_SAMPLE_WORDS || !is_u32(p->out) ||
        p->out->dims[0] < rows || !seen_fits(p, vocab)) {
        apus_graph_fail(g, APUS_ERR_SHAPE,
                        "sample: %s (%u, %u): settings, seen or out do not fit, or more "
                        "than %u ids",
                        logits->name, rows, vocab, MOST_IDS);
        return;
    }
    n = apus_graph_node(
        g, &apus_op_sample, NULL, 0,
        (apus_tensor *[]) { logits, p->settings, p->seen, p->tokens, p->token_slot, p->out }, N_IN);
    if (!n)
        return;
    n->mutates = 1u << IN_SEEN | 1u << IN_DRAWN;
    const uint32_t blocks = (uint32_t)apus_ceil_div(vocab, APUS_SAMPLE_BLOCK);
    const uint32_t room = vocab < APUS_SAMPLE_LIST ? vocab : APUS_SAMPLE_LIST;
    apus_node_output(g, n, APUS_F32, 3, (uint32_t[]) { rows, 2, blocks }, logits->rows);
    apus_node_output(g, n, APUS_U32, 3, (uint32_t[]) { rows, room, 2 }, logits->rows);
}

/* Mark the ids of this step. */
static apus_status mark(apus_lower *l, const apus_node *n, struct apus_sample_push push)
{
    const apus_tensor *tokens = n->in[IN_TOKENS], *seen = n->in[IN_SEEN];
    const apus_rows_arg live = apus_rows_of(tokens);
    const apus_access access[] = {
        apus_reads(l, tokens),
        apus_reads(l, n->in[IN_TOKEN_SLOT]),
        apus_reads(l, seen),
        apus_writes(l, seen),
    };

    push.rows_var = live.var;
    push.rows_skip = live.skip;
    push.rows_max = live.max;
    push.rows_mul = live.mul;
    return apus_emit(l,
                     &(apus_dispatch) {
                         .kernel = "sample_mark",
                         .spec = { l->caps->subgroup },
                         .n_spec = 1,
                         .push = &push,
                         .push_bytes = sizeof(push),
                         .groups = { (uint32_t)apus_ceil_div(tokens->dims[0], l->caps->subgroup) },
                         .access = access,
                         .n_access = APUS_COUNT(access),
                         .moved = 12.0 * tokens->dims[0],
                     });
}

static apus_status record(apus_lower *l, const apus_node *n)
{
    const apus_tensor *z = n->in[IN_LOGITS], *seen = n->in[IN_SEEN], *blocks = n->out[0],
                      *list = n->out[1];
    const apus_rows_arg live = apus_rows_of(z);
    const uint32_t vocab = z->dims[1], lanes = l->caps->subgroup;
    const struct apus_sample_push push = {
        .logits = apus_address(l, z),
        .settings = apus_address(l, n->in[IN_SETTINGS]),
        .seen = apus_address(l, seen),
        .tokens = apus_address(l, n->in[IN_TOKENS]),
        .token_slot = apus_address(l, n->in[IN_TOKEN_SLOT]),
        .drawn = apus_address(l, n->in[IN_DRAWN]),
        .blocks = apus_address(l, blocks),
        .list = apus_address(l, list),
        .step = l->step,
        APUS_ROWS_VALUES(live),
        .vocab = vocab,
        .n_blocks = blocks->dims[2],
        .seen_words = seen ? seen->dims[1] : 0,
        .slots = seen ? seen->dims[0] : 0,
        .list_room = list->dims[1],
    };
    apus_access access[8] = { apus_reads(l, z), apus_reads(l, n->in[IN_SETTINGS]),
                              apus_writes(l, blocks) };
    uint32_t n_access = 3;

    if (seen) {
        APUS_FORWARD(mark(l, n, push));
        access[n_access++] = apus_reads(l, seen);
    }
    APUS_FORWARD(
        apus_emit(l, &(apus_dispatch) {
                         .kernel = "sample_blocks",
                         .spec = { lanes, vocab % 4 || push.logits % 16 ? 1 : 4 },
                         .n_spec = 2,
                         .push = &push,
                         .push_bytes = sizeof(push),
                         .groups = { (uint32_t)apus_ceil_div(push.n_blocks, lanes), z->dims[0] },
                         .live = z->rows,
                         .live_axis = 1,
                         .live_tile = 1,
                         .access = access,
                         .n_access = n_access,
                         .flops = 4.0 * (double)apus_tensor_count(z),
                         .moved = 4.0 * (double)apus_tensor_count(z),
                     }));
    access[2] = apus_reads(l, blocks);
    access[n_access++] = apus_writes(l, n->in[IN_DRAWN]);
    access[n_access++] = apus_writes(l, list);
    access[n_access++] = apus_reads(l, list);
    if (seen)
        access[n_access++] = apus_writes(l, seen);
    return apus_emit(l, &(apus_dispatch) {
                            .kernel = "sample",
                            .spec = { lanes },
                            .n_spec = 1,
                            .push = &push,
                            .push_bytes = sizeof(push),
                            .groups = { z->dims[0] },
                            .live = z->rows,
                            .live_axis = 0,
                            .live_tile = 1,
                            .access = access,
                            .n_access = n_access,
                            .flops = 4.0 * (double)apus_tensor_count(z),
                            .moved = 4.0 * (double)apus_tensor_count(z),
                        });
}

const apus_op_def apus_op_sample = { "sample", record, NULL, false };
