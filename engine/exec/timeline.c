/* timeline.c - the steps of recorded plans as events of the trace: one for each list that was
 * submitted, and within it one for each dispatch, under its kernel's name. */
#include "timeline.h"

#include "exec_internal.h"
#include "os.h"
#include "trace.h"

/* Of the plan and of its items; texts of the trace. */
struct apusi_timeline {
    uint32_t queue, plan_name, copy_name;
    uint32_t *names, *nodes; /* by item */
    apus_span *spans;        /* of the dispatches of one segment */
    uint32_t room;
};

static const char *node_name(const apus_item *item)
{
    const apus_node *node = item->node;

    if (!node)
        return "";
    return !node->name[0] && node->n_out && node->out[0] ? node->out[0]->name : node->name;
}

apus_status apusi_timeline_begin(apus_plan *plan)
{
    const uint32_t n = plan->list.n_items;
    apusi_timeline *t;
    uint32_t queue;

    if (!apus_gpu_traced(plan->exec->gpu, &queue))
        return APUS_OK;
    t = plan->timeline = apus_alloc(sizeof(*t));
    if (!t)
        return APUS_ERR_MEMORY;
    t->queue = queue;
    t->plan_name = apus_trace_text(plan->name);
    t->copy_name = apus_trace_text("step buffer");
    t->names = apus_calloc(n + 1, sizeof(*t->names));
    t->nodes = apus_calloc(n + 1, sizeof(*t->nodes));
    if (!t->names || !t->nodes)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        const apus_item *item = &plan->list.items[i];
        if (item->kind != APUS_ITEM_DISPATCH)
            continue;
        t->names[i] = apus_trace_text(item->kernel.name);
        t->nodes[i] = apus_trace_text(node_name(item));
    }
    return APUS_OK;
}

void apusi_timeline_done(apus_plan *plan, uint64_t ticket)
{
    const uint64_t now = apus_now_ns();

    for (uint32_t i = 0; plan->timeline && i < plan->n_segments; i++)
        if (plan->segments[i].ticket <= ticket && !plan->segments[i].done_ns)
            plan->segments[i].done_ns = now;
}

static apus_status make_room(apusi_timeline *t, uint32_t n)
{
    if (t->room >= n)
        return APUS_OK;
    apus_span *spans = apus_realloc(t->spans, n * sizeof(*spans));
    if (!spans)
        return APUS_ERR_MEMORY;
    t->spans = spans;
    t->room = n;
    return APUS_OK;
}

static void add(const apusi_timeline *t, uint32_t name, uint32_t node, uint64_t ticket,
                const apus_span *span)
{
    apus_trace_device(&(apus_trace_span) { .queue = t->queue,
                                           .name = name,
                                           .what = node,
                                           .submission = ticket,
                                           .begin_ns = span->begin_ns,
                                           .end_ns = span->end_ns });
}

static apus_status add_segment(apus_plan *plan, const apusi_segment *s)
{
    apusi_timeline *t = plan->timeline;
    uint32_t n = 0, k = 0;
    apus_span whole;

    APUS_FORWARD(make_room(t, s->n));
    if (!apus_commands_span(s->commands, &whole))
        return APUS_OK;
    APUS_FORWARD(apus_commands_spans(s->commands, t->spans, s->n, &n));
    add(t, t->plan_name, 0, s->ticket, &whole);
    for (uint32_t i = s->first; i < s->first + s->n && k < n; i++)
        if (plan->list.items[i].kind == APUS_ITEM_DISPATCH)
            add(t, t->names[i], t->nodes[i], s->ticket, &t->spans[k++]);
    return APUS_OK;
}

apus_status apusi_timeline_collect(apus_plan *plan)
{
    apusi_timeline *t = plan->timeline;
    const uint32_t slot = (plan->slot + APUSI_SLOTS - 1) % APUSI_SLOTS;
    apus_span copy;

    /* All of them first: where clocks are told from submissions, each says something. */
    if (plan->n_segments)
        apus_gpu_clock_sync(plan->exec->gpu, plan->copies[slot], plan->copies[slot],
                            plan->copy_submitted_ns, plan->segments[0].done_ns);
    for (uint32_t i = 0; i < plan->n_segments; i++) {
        const apusi_segment *s = &plan->segments[i];
        apus_gpu_clock_sync(plan->exec->gpu, s->commands, s->commands, s->submitted_ns, s->done_ns);
    }
    if (apus_commands_span(plan->copies[slot], &copy))
        add(t, t->copy_name, 0, plan->copy_ticket, &copy);
    for (uint32_t i = 0; i < plan->n_segments; i++)
        APUS_FORWARD(add_segment(plan, &plan->segments[i]));
    return APUS_OK;
}

void apusi_timeline_end(apus_plan *plan)
{
    apusi_timeline *t = plan->timeline;

    if (!t)
        return;
    apus_free(t->names);
    apus_free(t->nodes);
    apus_free(t->spans);
    apus_free(t);
    plan->timeline = NULL;
}
