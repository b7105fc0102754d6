/* trace.c - traced plans: each dispatch of each step is an event of the device, inside its list,
 * inside its submission; whoever waits, with calibrated timestamps and without; the same bits. */
#include "trace.h"

#include <stdio.h>

#include "exec_test.h"
#include "gpu_internal.h"
#include "trace_read.h"

#define STEPS 5u

/* Waited for at once, by a cancel token's way, or by nobody. */
static void run_steps(bed *b, float *y)
{
    const apus_cancel go_on = { 0 };
    uint64_t ticket;

    for (uint32_t i = 0; i < STEPS; i++) {
        net_step(&b->n, b->plan, NET_T);
        if (i % 3 == 2)
            CHECK_OK(apus_plan_submit(b->plan, &ticket));
        else
            CHECK_OK(apus_plan_run(b->plan, i % 3 ? &go_on : NULL));
    }
    CHECK_OK(apus_plan_read(b->plan, b->n.x->grad, y, sizeof(float) * NET_T * NET_D));
}

static uint32_t dispatches_of(const apus_list *list, const char *kernel)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < list->n_items; i++)
        n += list->items[i].kind == APUS_ITEM_DISPATCH &&
             !strcmp(list->items[i].kernel.name, kernel);
    return n;
}

/* Dispatches lie in a list of the same submission, one after the other. */
static void check_nesting(const trace_read *t)
{
    double end = 0;
    size_t loose = 0;

    for (size_t i = 0; i < t->n; i++) {
        const traced *e = &t->events[i], *list = NULL;
        if (e->process != TRACE_DEVICE || !strcmp(e->name, "net"))
            continue;
        loose += e->begin_us < end - t->slack_us;
        end = e->end_us;
        if (!strcmp(e->name, "step buffer"))
            continue;
        for (size_t k = 0; k < t->n && !list; k++)
            if (!strcmp(t->events[k].name, "net") && t->events[k].process == TRACE_DEVICE &&
                t->events[k].submission == e->submission &&
                t->events[k].begin_us <= e->begin_us + 0.002 &&
                t->events[k].end_us >= e->end_us - 0.002)
                list = &t->events[k];
        loose += !list;
        loose += e->begin_us >= e->end_us;
    }
    CHECK_EQ_U64(loose, 0);
}

static void check_file(const char *path, const bed *b, const char *clock)
{
    const apus_list *list = apus_plan_list(b->plan);
    const apus_plan_info *info = apus_plan_about(b->plan);
    trace_read t;

    if (trace_open(&t, path)) {
        CHECK_EQ_STR(t.clock, clock);
        for (uint32_t i = 0; i < list->n_items; i++)
            if (list->items[i].kind == APUS_ITEM_DISPATCH)
                CHECK_EQ_U64(trace_count(&t, TRACE_DEVICE, list->items[i].kernel.name),
                             STEPS * dispatches_of(list, list->items[i].kernel.name));
        CHECK(info->segments > 2);
        CHECK_EQ_U64(trace_count(&t, TRACE_DEVICE, "net"), STEPS * info->segments);
        CHECK_EQ_U64(trace_count(&t, TRACE_DEVICE, "step buffer"), STEPS);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "plan"), 1);
        CHECK_EQ_U64(trace_inside(&t), STEPS * (1 + info->segments + info->dispatches));
        check_nesting(&t);
    }
    trace_release(&t);
}

static const char *new_trace(const char *name)
{
    static char path[1200];

    snprintf(path, sizeof(path), "%s/%s.json", harness_folder(), name);
    return CHECK_OK(apus_trace_open(path)) ? path : NULL;
}

/* The last step's events come with the end of its plan at the latest. */
static void run_traced(const char *name, const char *clock, float *y)
{
    const char *path = new_trace(name);
    bed b;

    if (path && bed_open(&b, 1e-3, false)) {
        run_steps(&b, y);
        CHECK_OK(apus_gpu_wait(optest_gpu(), optest_gpu()->submitted, 0));
        net_step(&b.n, b.plan, NET_T);
        CHECK_OK(apus_trace_close());
        check_file(path, &b, clock);
    }
    CHECK_OK(apus_trace_close());
    bed_close(&b);
}

TEST(each_dispatch_is_inside_its_submission)
{
    static float y[3][NET_T * NET_D];
    const char *path = new_trace("open");
    apus_gpu *gpu = optest_gpu(); /* opened while there is a trace */
    bed b;

    if (!gpu || !path || !CHECK_OK(apus_trace_close()))
        return;
    if (!apus_gpu_caps(gpu)->timestamps) {
        harness_skip("%s has no timestamps", apus_gpu_caps(gpu)->name);
        return;
    }
    CHECK(gpu->clock.traced);
    gpu->clock.traced = false; /* as where there is none */
    if (bed_open(&b, 1e-3, false))
        run_steps(&b, y[0]);
    bed_close(&b);
    gpu->clock.traced = true;
    gpu->clock.known = false; /* to be read again at once */
    if (gpu->clock.read)
        run_traced("calibrated", "calibrated timestamps", y[1]);
    else
        memcpy(y[1], y[0], sizeof(y[0]));
    gpu->clock.read = NULL;
    gpu->clock.known = false;
    run_traced("told", "submit and wait", y[2]);
    CHECK(y[0][0] != 0 && !memcmp(y[0], y[1], sizeof(y[0])) && !memcmp(y[0], y[2], sizeof(y[0])));
}
