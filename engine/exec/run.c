/* run.c - making plans and running them: shared scratch memory, step slots, submission.  exec.h. */
#include "barrier.h"
#include "bound.h"
#include "env.h"
#include "os.h"
#include "plan.h"
#include "profile.h"
#include "timeline.h"
#include "trace.h"

static apus_status load_tuned(apus_exec *exec)
{
    apus_str said = { 0 };

    if (apus_gpu_class_of(exec->gpu)) /* a device that is not there was not measured */
        return APUS_OK;
    const apus_status st = apus_tuned_load(&exec->tuned, &said, apus_gpu_caps(exec->gpu));

    if (st == APUS_OK && said.len && !apus_gpu_counts(exec->gpu))
        apus_log(exec->tuned ? APUS_LOG_INFO : APUS_LOG_WARN, "%s", said.data);
    apus_str_release(&said);
    return st;
}

apus_status apus_exec_create(apus_exec **out, apus_gpu *gpu)
{
    apus_status st = APUS_OK;

    *out = apus_alloc(sizeof(**out));
    if (!*out)
        return APUS_ERR_MEMORY;
    (*out)->gpu = gpu;
    (*out)->share = 1;
    if (apus_env_get(APUS_MUTATE)[0])
        apus_log(APUS_LOG_WARN, "APUS_MUTATE: kernel %s computes nothing, all results are wrong",
                 apus_env_get(APUS_MUTATE));
    if (apus_env_on(APUS_PROFILE))
        APUS_TRY(apusi_profile_begin(*out));
    APUS_TRY(load_tuned(*out));
    return APUS_OK;

fail:
    apus_exec_destroy(out);
    return st;
}

static void arena_unref(apus_exec *exec, apusi_arena *arena)
{
    if (!arena || --arena->refs > 0)
        return;
    for (uint32_t i = 0; i < arena->n_blocks; i++)
        apus_buffer_destroy(exec->gpu, &arena->blocks[i]);
    apus_free(arena);
}

void apus_exec_destroy(apus_exec **exec)
{
    if (!*exec)
        return;
    apusi_profile_end(*exec);
    arena_unref(*exec, (*exec)->arena);
    apus_tuned_destroy(&(*exec)->tuned);
    apus_free(*exec);
    *exec = NULL;
}

apus_gpu *apus_exec_gpu(const apus_exec *exec)
{
    return exec->gpu;
}

const struct apus_tuned *apus_exec_tuned(const apus_exec *exec)
{
    return exec->tuned;
}

void apus_exec_set_tuned(apus_exec *exec, struct apus_tuned *tuned)
{
    if (exec->tuned != tuned)
        apus_tuned_destroy(&exec->tuned);
    exec->tuned = tuned;
}

void apus_exec_bound(apus_exec *exec, double share)
{
    exec->share = share;
}

/* An arena of at least `bytes`, referenced for the caller. */
static apus_status arena_get(apus_exec *exec, uint64_t bytes, apusi_arena **out)
{
    apus_status st;
    const uint64_t block = apusi_block_bytes(apus_gpu_caps(exec->gpu));
    apusi_arena *arena = exec->arena;

    *out = NULL;
    if (!arena || arena->bytes < bytes) {
        arena_unref(exec, arena); /* the old one goes now, unless a plan still needs it */
        exec->arena = NULL;
        arena = apus_alloc(sizeof(*arena));
        if (!arena)
            return APUS_ERR_MEMORY;
        arena->refs = 1;
        arena->bytes = bytes;
        for (uint64_t at = 0; at < bytes; at += block) {
            const uint64_t n = bytes - at < block ? bytes - at : block;
            if (arena->n_blocks == APUSI_ARENAS)
                APUS_TRY(apus_fail(APUS_ERR_MEMORY,
                                   "scratch memory of %.1f GiB is more than %d blocks",
                                   (double)bytes / 1073741824, APUSI_ARENAS));
            APUS_TRY(apus_buffer_create(exec->gpu, &arena->blocks[arena->n_blocks], n,
                                        APUS_MEMORY_DEVICE, "scratch"));
            arena->n_blocks++;
        }
        exec->arena = arena;
    }
    arena->refs++;
    *out = arena;
    return APUS_OK;

fail:
    arena_unref(exec, arena);
    return st;
}

apus_lower apusi_lower_of(const apus_plan *plan)
{
    const apus_caps *caps = apus_gpu_caps(plan->exec->gpu);
    apus_lower l = { .caps = caps,
                     .step = plan->step.address,
                     .scratch_bytes = apusi_block_bytes(caps),
                     .narrow = plan->narrow };

    for (uint32_t i = 0; i < plan->arena->n_blocks; i++)
        l.scratch[i] = plan->arena->blocks[i].address;
    return l;
}

/* The step buffer and its slots on the host, with so many grids behind the arrays. */
static apus_status make_step(apus_plan *plan, uint32_t n_grids)
{
    apus_gpu *gpu = plan->exec->gpu;

    plan->grids_at = (uint32_t)apus_round_up(plan->graph->step_bytes, APUSI_GRID_BYTES);
    const uint64_t bytes = plan->grids_at + (uint64_t)APUSI_GRID_BYTES * n_grids;
    APUS_FORWARD(apus_buffer_create(gpu, &plan->step, bytes, APUS_MEMORY_DEVICE, "step"));
    for (uint32_t i = 0; i < APUSI_SLOTS; i++) {
        APUS_FORWARD(
            apus_buffer_create(gpu, &plan->slots[i], bytes, APUS_MEMORY_HOST, "step slot"));
        memset(plan->slots[i].host, 0, bytes);
    }
    plan->info.step_bytes = bytes;
    return APUS_OK;
}

/* Lower twice, since the sizes of the step buffer and of the argument buffer are not known before,
 * and fill the latter. */
static apus_status lower(apus_plan *plan, const apus_plan_params *params)
{
    apus_gpu *gpu = plan->exec->gpu;
    apus_lower l = apusi_lower_of(plan);

    l.force = apusi_force(params);
    l.tuned = plan->exec->tuned;
    APUS_FORWARD(apusi_lower(&plan->list, plan->graph, &l, &plan->info));
    const uint32_t n_grids = plan->list.n_slots, args_bytes = plan->list.args_bytes;
    APUS_FORWARD(make_step(plan, n_grids));
    if (args_bytes)
        APUS_FORWARD(
            apus_buffer_create(gpu, &plan->args, args_bytes, APUS_MEMORY_DEVICE, "arguments"));
    apus_list_release(&plan->list);
    l.step = plan->step.address;
    l.args = plan->args.address;
    APUS_FORWARD(apusi_lower(&plan->list, plan->graph, &l, &plan->info));
    APUS_BUG_IF(plan->list.n_slots != n_grids || plan->list.args_bytes != args_bytes);
    if (args_bytes)
        APUS_FORWARD(apus_buffer_write(gpu, &plan->args, 0, plan->list.args, args_bytes));
    if (apus_env_on(APUS_CHECK_HAZARDS) && !apus_gpu_counts(gpu))
        APUS_FORWARD(apus_hazards_check(&plan->list));
    return APUS_OK;
}

apus_status apus_plan_create(apus_plan **out, apus_exec *exec, apus_graph *g,
                             const apus_plan_params *params)
{
    apus_status st;
    const uint64_t began = apus_trace_begin();
    apus_memory_plan memory;
    apus_plan *plan;

    *out = NULL;
    APUS_FORWARD(apus_graph_status(g));
    plan = apus_alloc(sizeof(*plan));
    if (!plan)
        return APUS_ERR_MEMORY;
    plan->exec = exec;
    plan->graph = g;
    plan->narrow = params->narrow;
    if (params->profile)
        APUS_TRY(apusi_profile_begin(exec));
    plan->profile = exec->profile && (params->profile || apus_env_on(APUS_PROFILE));
    plan->name = apus_strdup(params->name ? params->name : "plan");
    APUS_TRY(apusi_rewrite(g, apus_gpu_caps(exec->gpu), params));
    APUS_TRY(apus_memory_plan_make(&memory, g, apusi_block_bytes(apus_gpu_caps(exec->gpu))));
    APUS_TRY(arena_get(exec, memory.bytes ? memory.bytes : 256, &plan->arena));
    APUS_TRY(lower(plan, params));
    plan->info.scratch_bytes = memory.bytes;
    plan->info.peak_live = memory.peak_live;
    if (!apus_gpu_counts(exec->gpu)) {
        APUS_TRY(apusi_timeline_begin(plan));
        APUS_TRY(apusi_record(plan));
    }
    apus_trace_end(began, "plan", plan->name, "dispatches", plan->info.dispatches);
    *out = plan;
    return APUS_OK;

fail:
    apus_plan_destroy(&plan);
    return st;
}

/* Slots whose submissions are done are not waited for again. */
static apus_status wait_for(apus_plan *plan, uint64_t ticket)
{
    APUS_FORWARD(apus_gpu_wait(plan->exec->gpu, ticket, 0));
    for (uint32_t i = 0; i < APUSI_SLOTS; i++)
        if (plan->slot_ticket[i] <= ticket)
            plan->slot_ticket[i] = 0;
    if (plan->timeline)
        apusi_timeline_done(plan, ticket);
    return APUS_OK;
}

/* What the timestamps of the last whole step say, before they are written over. */
static apus_status collect(apus_plan *plan)
{
    if (!plan->uncounted)
        return APUS_OK;
    plan->uncounted = false;
    apusi_bound_learn(plan, (double)(apus_now_ns() - plan->submitted_ns) * 1e-9);
    if (plan->profile)
        APUS_FORWARD(apusi_profile_collect(plan));
    return plan->timeline ? apusi_timeline_collect(plan) : APUS_OK;
}

void apus_plan_destroy(apus_plan **plan)
{
    apus_plan *p = *plan;
    bool done = true;

    if (!p)
        return;
    for (uint32_t i = 0; i < APUSI_SLOTS; i++) {
        if (p->slot_ticket[i])
            done &= wait_for(p, p->slot_ticket[i]) == APUS_OK;
    }
    if (done)
        collect(p); /* a failure loses the last step in table and trace, no more */
    apusi_timeline_end(p);
    for (uint32_t i = 0; i < APUSI_SLOTS; i++) {
        apus_commands_destroy(&p->copies[i]);
        apus_buffer_destroy(p->exec->gpu, &p->slots[i]);
    }
    for (uint32_t i = 0; i < p->n_segments; i++)
        apus_commands_destroy(&p->segments[i].commands);
    apus_buffer_destroy(p->exec->gpu, &p->step);
    apus_buffer_destroy(p->exec->gpu, &p->args);
    arena_unref(p->exec, p->arena);
    apus_list_release(&p->list);
    apus_free(p->segments);
    apus_free(p->lists);
    apus_free(p->name);
    apus_free(p);
    *plan = NULL;
}

const apus_plan_info *apus_plan_about(const apus_plan *plan)
{
    return &plan->info;
}

apus_plan_bound apus_plan_bounded(const apus_plan *plan)
{
    return plan->bound;
}

const apus_list *apus_plan_list(const apus_plan *plan)
{
    return &plan->list;
}

apus_step apus_plan_step(apus_plan *plan)
{
    const uint32_t i = plan->slot;

    if (plan->slot_ticket[i]) /* its last use may still be copied from */
        wait_for(plan, plan->slot_ticket[i]);
    return (apus_step) { .vars = plan->slots[i].host, .bytes = plan->slots[i].host };
}

void *apus_step_array(const apus_step *step, const apus_tensor *t)
{
    uint64_t at;
    const apus_tensor *root = apus_tensor_root(t, &at);

    return step->bytes + root->at + at;
}

void apusi_slot_grid(const apus_slot *s, const uint32_t *vars, uint32_t grid[3])
{
    const uint32_t var = vars[s->rows.var];
    uint64_t rows = var > s->rows.skip ? var - s->rows.skip : 0;

    if (rows > s->rows.max)
        rows = s->rows.max;
    memcpy(grid, s->groups, sizeof(s->groups));
    grid[s->axis] = (uint32_t)apus_ceil_div(rows * s->rows.mul, s->tile);
}

/* The grids of live dispatches, from the variables that the caller wrote. */
static void fill_grids(const apus_plan *plan, uint32_t *words)
{
    uint32_t *grids = words + plan->grids_at / 4;

    for (uint32_t i = 0; i < plan->list.n_slots; i++)
        apusi_slot_grid(&plan->list.slots[i], words, grids + APUSI_GRID_BYTES / 4 * i);
}

/* Submit lists of the step in `slot`; what is in flight is known even if a later one fails. */
static apus_status submit(apus_plan *plan, apus_commands *const *lists, uint32_t n, uint32_t slot,
                          uint64_t *ticket)
{
    APUS_FORWARD(apus_gpu_submit(plan->exec->gpu, lists, n, ticket));
    plan->slot_ticket[slot] = *ticket;
    return APUS_OK;
}

/* The next submission, of the segments from *at on. */
static apus_status submit_group(apus_plan *plan, uint32_t *at, uint32_t slot, uint64_t *ticket)
{
    const uint32_t first = *at, n = apusi_bound_group(plan, first);
    const uint64_t now = apus_trace_begin();

    APUS_FORWARD(submit(plan, plan->lists + first, n, slot, ticket));
    *at += n;
    for (uint32_t i = first; plan->timeline && i < *at; i++) {
        apusi_segment *s = &plan->segments[i];
        s->ticket = *ticket;
        s->submitted_ns = now;
        s->done_ns = 0;
    }
    return APUS_OK;
}

/* Copy the slot to the step buffer.  Segments are recorded once, so the step before must have left
 * them; the device is idle for one submission only, since the copy already stands in its queue. */
static apus_status begin_step(apus_plan *plan, uint64_t *ticket)
{
    const uint32_t slot = plan->slot, before = (slot + APUSI_SLOTS - 1) % APUSI_SLOTS;
    const uint64_t start = apus_now_ns();

    fill_grids(plan, plan->slots[slot].host);
    APUS_FORWARD(submit(plan, &plan->copies[slot], 1, slot, ticket));
    plan->host_ns += apus_now_ns() - start;
    const uint64_t copy_ticket = *ticket;
    if (plan->slot_ticket[before])
        APUS_FORWARD(wait_for(plan, plan->slot_ticket[before]));
    APUS_FORWARD(collect(plan));
    plan->copy_ticket = copy_ticket;
    plan->copy_submitted_ns = start;
    plan->submitted_ns = apus_now_ns();
    apusi_bound_step(plan, plan->slots[slot].host);
    plan->host_ns += apus_now_ns() - plan->submitted_ns;
    return APUS_OK;
}

apus_status apus_plan_submit(apus_plan *plan, uint64_t *ticket)
{
    const uint32_t slot = plan->slot;

    APUS_FORWARD(begin_step(plan, ticket));
    const uint64_t start = apus_now_ns();
    for (uint32_t at = 0; at < plan->n_segments;)
        APUS_FORWARD(submit_group(plan, &at, slot, ticket));
    plan->slot = (slot + 1) % APUSI_SLOTS;
    plan->uncounted = true;
    plan->host_ns += apus_now_ns() - start;
    return APUS_OK;
}

apus_status apus_plan_wait(apus_plan *plan, uint64_t ticket)
{
    const uint32_t last = (plan->slot + APUSI_SLOTS - 1) % APUSI_SLOTS;
    const bool whole = ticket == plan->slot_ticket[last];

    APUS_FORWARD(wait_for(plan, ticket));
    return whole ? collect(plan) : APUS_OK;
}

apus_status apus_plan_run(apus_plan *plan, const apus_cancel *cancel)
{
    const uint32_t slot = plan->slot;
    uint64_t ticket = 0, before;

    if (!cancel) {
        APUS_FORWARD(apus_plan_submit(plan, &ticket));
        return apus_plan_wait(plan, ticket);
    }
    APUS_FORWARD(begin_step(plan, &ticket));
    for (uint32_t at = 0; at < plan->n_segments;) {
        if (cancel->requested) {
            APUS_FORWARD(apus_plan_wait(plan, ticket));
            return apus_fail(APUS_ERR_CANCELLED, "cancelled");
        }
        before = ticket; /* one submission runs while the next is queued */
        APUS_FORWARD(submit_group(plan, &at, slot, &ticket));
        APUS_FORWARD(apus_plan_wait(plan, before));
    }
    plan->slot = (slot + 1) % APUSI_SLOTS;
    plan->uncounted = true;
    return apus_plan_wait(plan, ticket);
}

apus_status apus_plan_read(apus_plan *plan, const apus_tensor *t, void *dst, uint64_t bytes)
{
    apus_gpu *gpu = plan->exec->gpu;
    uint64_t at;
    const apus_tensor *root = apus_tensor_root(t, &at);
    apus_addr address = root->at + at;

    APUS_BUG_IF(root->storage == APUS_STORE_STEP || bytes > t->bytes);
    if (root->storage == APUS_STORE_PLANNED) {
        const uint64_t block = apusi_block_bytes(apus_gpu_caps(gpu));
        address = plan->arena->blocks[root->at / block].address + root->at % block + at;
    }
    const apus_buffer *b = apus_gpu_buffer_at(gpu, address, bytes);
    APUS_BUG_IF(!b);
    return apus_buffer_read(gpu, b, address - b->address, dst, bytes);
}

uint64_t apus_plan_host_ns(apus_plan *plan)
{
    const uint64_t ns = plan->host_ns;

    plan->host_ns = 0;
    return ns;
}

apus_status apus_plan_times(apus_plan *plan,
                            void (*each)(void *user, const apus_item *item, double ns), void *user)
{
    apus_status st = APUS_OK;
    double *ns = apus_calloc(plan->list.n_items + 1, sizeof(*ns));

    if (!ns)
        return APUS_ERR_MEMORY;
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        uint32_t n = 0, k = 0;
        APUS_TRY(apus_commands_times(plan->segments[s].commands, ns, plan->segments[s].n, &n));
        for (uint32_t i = 0; i < plan->segments[s].n && k < n; i++) {
            const apus_item *item = &plan->list.items[plan->segments[s].first + i];
            if (item->kind == APUS_ITEM_DISPATCH)
                each(user, item, ns[k++]);
        }
    }
fail:
    apus_free(ns);
    return st;
}
