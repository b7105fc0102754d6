/* record.c - from a list to command buffers: segments bounded by estimated time, so that no
 * submission runs into a watchdog and a cancel token is honoured soon. */
#include "exec_internal.h"

/* Work of one segment; constants of a slow device of each class, so that the bound holds. */
static double segment_seconds(const apus_caps *caps, const apus_item *item)
{
    const bool cpu = caps->device_class == APUS_CLASS_CPU;

    return item->flops / (cpu ? 30e9 : 500e9) + item->moved / (cpu ? 5e9 : 30e9) + 5e-6;
}

#define SEGMENT_SECONDS 0.1

static apus_status cut(apus_plan *plan)
{
    const apus_list *list = &plan->list;
    const double most = SEGMENT_SECONDS * plan->exec->share;
    double seconds = 0;

    plan->segments = apus_calloc(list->n_items + 1, sizeof(*plan->segments));
    if (!plan->segments)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < list->n_items; i++) {
        const double s = segment_seconds(apus_gpu_caps(plan->exec->gpu), &list->items[i]);
        if (plan->n_segments == 0 || seconds + s > most) {
            plan->segments[plan->n_segments++] = (apusi_segment) { .first = i };
            seconds = 0;
        }
        plan->segments[plan->n_segments - 1].n++;
        seconds += s;
    }
    return APUS_OK;
}

static apus_status record_item(apus_plan *plan, apus_commands *c, const apus_item *item)
{
    const apus_gpu *gpu = plan->exec->gpu;

    if (item->kind == APUS_ITEM_DISPATCH) {
        if (item->slot < 0)
            return apus_commands_dispatch(c, &item->kernel, item->push, item->push_bytes,
                                          item->groups);
        return apus_commands_dispatch_indirect(c, &item->kernel, item->push, item->push_bytes,
                                               &plan->step,
                                               4 * (APUS_STEP_VARS + 4 * (uint64_t)item->slot));
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
    apus_commands_time(s->commands, plan->timeline);
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

    APUS_FORWARD(cut(plan));
    for (uint32_t i = 0; i < plan->n_segments; i++)
        APUS_FORWARD(record_segment(plan, &plan->segments[i]));
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
