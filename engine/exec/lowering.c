/* lowering.c - walking a graph's operators into a list, twice: once to learn the sizes of the
 * argument buffer and of the step buffer, once with real addresses; and estimates without a
 * device. */
#include "barrier.h"
#include "env.h"
#include "exec_internal.h"
#include "fuse.h"
#include "mutate.h"
#include "offload.h"
#include "op.h"
#include "plan.h"
#include "rng.h"
#include "split.h"

uint64_t apusi_block_bytes(const apus_caps *caps)
{
    const uint64_t most = caps->max_alloc ? caps->max_alloc : (uint64_t)1 << 31;

    return (most < (uint64_t)1 << 31 ? most : (uint64_t)1 << 31) / 256 * 256;
}

const char *apusi_force(const apus_plan_params *params)
{
    return params->force ? params->force : apus_env_get(APUS_KERNEL);
}

apus_status apusi_rewrite(apus_graph *g, const apus_caps *caps, const apus_plan_params *params)
{
    if (params->fuse && apus_env_on(APUS_FUSE))
        APUS_FORWARD(apus_fuse(g, caps, params->narrow, apusi_force(params)));
    APUS_FORWARD(apus_split(g, caps, params->narrow, apusi_force(params)));
    return apus_offload(g);
}

apus_status apusi_lower_nodes(apus_lower *l, const apus_graph *g)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        l->node = g->nodes[i];
        l->algorithm = NULL;
        l->site = UINT32_MAX;
        APUS_FORWARD(l->node->op->record(l, l->node));
    }
    return APUS_OK;
}

apus_status apusi_lower(apus_list *list, const apus_graph *g, apus_lower *l, apus_plan_info *info)
{
    const char *mutant = apus_env_get(APUS_MUTATE);

    l->list = list;
    APUS_FORWARD(apus_algorithms_check(l->force));
    APUS_FORWARD(apusi_lower_nodes(l, g));
    if (mutant[0])
        APUS_FORWARD(apusi_mutate(list, mutant));
    APUS_FORWARD(apus_barriers_place(list));
    info->dispatches = info->barriers = 0;
    info->flops = info->moved = 0;
    for (uint32_t i = 0; i < list->n_items; i++) {
        info->dispatches += list->items[i].kind == APUS_ITEM_DISPATCH;
        info->barriers += list->items[i].barrier;
        info->flops += list->items[i].flops;
        info->moved += list->items[i].moved;
    }
    info->slots = list->n_slots;
    info->narrow = list->narrow;
    info->args_bytes = list->args_bytes;
    info->choices = list->choices.data ? list->choices.data : "";
    info->choices_hash = apus_hash(info->choices, strlen(info->choices), APUS_HASH_SEED);
    if (list->choices.failed)
        return APUS_ERR_MEMORY;
    return APUS_OK;
}

apus_status apus_plan_estimate(apus_plan_info *info, apus_list *list, apus_graph *g,
                               const apus_caps *caps, const apus_plan_params *params)
{
    apus_status st;
    apus_memory_plan memory;
    apus_list own = { 0 };
    const uint64_t block = apusi_block_bytes(caps);
    apus_lower l = { .caps = caps,
                     .step = 1ull << 40,
                     .args = 1ull << 41,
                     .scratch_bytes = block,
                     .narrow = params->narrow,
                     .force = apusi_force(params) };

    *info = (apus_plan_info) { 0 };
    APUS_FORWARD(apus_graph_status(g));
    APUS_FORWARD(apusi_rewrite(g, caps, params));
    APUS_FORWARD(apus_memory_plan_make(&memory, g, block));
    for (uint64_t i = 0; i < APUSI_ARENAS; i++)
        l.scratch[i] = (1ull << 42) + i * block;
    APUS_TRY(apusi_lower(&own, g, &l, info));
    info->scratch_bytes = memory.bytes;
    info->peak_live = memory.peak_live;
    info->step_bytes =
        apus_round_up(g->step_bytes, APUSI_GRID_BYTES) + (uint64_t)APUSI_GRID_BYTES * own.n_slots;
    if (list)
        APUS_TRY(apus_hazards_check(&own));
fail:
    if (list && st == APUS_OK) {
        *list = own;
    } else {
        info->choices = "";
        apus_list_release(&own);
    }
    return st;
}
