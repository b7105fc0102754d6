/* record.c - from a list to command buffers, one for each segment that bound.c cut. */
#include "bound.h"

static apus_status record_item(apus_plan *plan, apus_commands *c, const apus_item *item)
{
    const apus_gpu *gpu = plan->exec->gpu;

    if (item->kind == APUS_ITEM_DISPATCH) {
        if (item->slot < 0)
            return apus_commands_dispatch(c, &item->kernel, item->push, item->push_bytes,
                                          item->groups);
        return apus_commands_dispatch_indirect(
            c, &item->kernel, item->push, item->push_bytes, &plan->step,
            plan->grids_at + APUSI_GRID_BYTES * (uint64_t)item->slot);
    }
    const apus_buffer *to = apus_gpu_buffer_at(gpu, item->to, item->bytes);
    const apus_buffer *from =
        item->kind == APUS_ITEM_COPY ? apus_gpu_buffer_at(gpu, item->from, item->bytes) : NULL;
    APUS_BUG_IF(!to || (item->kind == APUS_ITEM_COPY && !from));
    if (item->kind == APUS_ITEM_FILL)
        apus_commands_fill(c, to, item->to - to->address, item->bytes, item->word);
    else
        apus_commands_copy(c, from, item->from - from->address, to, item->to - to->address,
                           item->bytes);
    return APUS_OK;
}

static apus_status record_segment(apus_plan *plan, apusi_segment *s)
{
    APUS_FORWARD(apus_commands_create(plan->exec->gpu, &s->commands));
    apus_commands_profile(s->commands, plan->profile || plan->timeline);
    apus_commands_time(s->commands, true);
    APUS_FORWARD(apus_commands_begin(s->commands));
    apus_commands_barrier(s->commands); /* behind the segment or copy before */
    for (uint32_t i = 0; i < s->n; i++) {
        const apus_item *item = &plan->list.items[s->first + i];
        if (item->barrier && i > 0)
            apus_commands_barrier(s->commands);
        APUS_FORWARD(record_item(plan, s->commands, item));
    }
    return apus_commands_end(s->commands);
}

apus_status apusi_record(apus_plan *plan)
{
    apus_gpu *gpu = plan->exec->gpu;

    APUS_FORWARD(apusi_bound_cut(plan));
    plan->lists = apus_calloc(plan->n_segments + 1, sizeof(apus_commands *));
    if (!plan->lists)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        APUS_FORWARD(record_segment(plan, &plan->segments[i]));
        plan->lists[i] = plan->segments[i].commands;
    }
    for (uint32_t i = 0; i < APUSI_SLOTS; i++) {
        APUS_FORWARD(apus_commands_create(gpu, &plan->copies[i]));
        apus_commands_time(plan->copies[i], plan->timeline);
        APUS_FORWARD(apus_commands_begin(plan->copies[i]));
        apus_commands_barrier(plan->copies[i]); /* the step before may still read the live buffer */
        apus_commands_copy(plan->copies[i], &plan->slots[i], 0, &plan->step, 0, plan->step.bytes);
        APUS_FORWARD(apus_commands_end(plan->copies[i]));
    }
    plan->info.segments = plan->n_segments;
    return APUS_OK;
}
