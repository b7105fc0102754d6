/* trace.c - a training run under APUS_TRACE: what the file must hold, that the run's numbers are
 * those of a run without one, and that no wait of the host is for a device with nothing to do. */
#include "trace.h"

#include "tiny_run.h"
#include "trace_read.h"

static bool traced_run(const char *name, apus_train_result *result, char *path, size_t room)
{
    char out[1100];

    snprintf(path, room, "%s/%s.json", harness_folder(), name);
    snprintf(out, sizeof(out), "%s/%s", harness_folder(), name);
    const apus_train_params p = base(out);
    if (!CHECK_OK(apus_trace_open(path)))
        return false;
    const bool ok = train(&p, result);
    CHECK_OK(apus_trace_close());
    return ok;
}

/* What was submitted is numbered from 1 on for a device; the run opens one. */
static void check_waits(const trace_read *t)
{
    uint64_t submitted = 0, idle_waits = 0;

    for (size_t i = 0; i < t->n; i++) {
        const traced *e = &t->events[i];
        if (e->process != TRACE_HOST)
            continue;
        if (!strcmp(e->name, "submit")) {
            CHECK_EQ_U64(e->submission, submitted + 1);
            submitted = e->submission;
        }
        if (!strcmp(e->name, "wait"))
            idle_waits += e->submission == 0 || e->submission > submitted;
    }
    CHECK(submitted > 0);
    CHECK_EQ_U64(idle_waits, 0);
}

static bool is_host_work(const traced *e)
{
    static const char *const names[] = { "open tokenizer", "open data set", "tokenize", "batch" };

    for (size_t i = 0; i < APUS_COUNT(names); i++)
        if (e->process == TRACE_HOST && !strcmp(e->name, names[i]))
            return true;
    return false;
}

/* Loading and encoding never lie inside a wait of their thread. */
static void check_host_work(const trace_read *t)
{
    size_t n = 0, overlaps = 0;

    for (size_t i = 0; i < t->n; i++) {
        if (!is_host_work(&t->events[i]))
            continue;
        n++;
        for (size_t k = 0; k < t->n; k++) {
            const traced *w = &t->events[k];
            overlaps += w->process == TRACE_HOST && !strcmp(w->name, "wait") &&
                        w->row == t->events[i].row && w->begin_us < t->events[i].end_us &&
                        t->events[i].begin_us < w->end_us;
        }
    }
    CHECK(n >= 5);
    CHECK_EQ_U64(overlaps, 0);
}

/* Each step holds its micro batches and its update; what is known of each dispatch. */
static void check_steps(const trace_read *t, uint64_t steps)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++) {
        const traced *step = &t->events[i];
        size_t lists = 0;
        if (step->process != TRACE_HOST || strcmp(step->name, "step"))
            continue;
        n++;
        for (size_t k = 0; k < t->n; k++) {
            const traced *e = &t->events[k];
            lists += e->process == TRACE_DEVICE &&
                     (!strcmp(e->name, "micro") || !strcmp(e->name, "update")) &&
                     e->begin_us >= step->begin_us - t->slack_us &&
                     e->end_us <= step->end_us + t->slack_us;
        }
        CHECK(lists >= 2); /* an epoch may end with one micro batch */
    }
    CHECK_EQ_U64(n, steps);
}

TEST(a_traced_run)
{
    apus_train_result plain, result;
    char path[1200], out[1100];
    trace_read t = { 0 };
    size_t nameless = 0;

    snprintf(out, sizeof(out), "%s/plain", harness_folder());
    const apus_train_params p = base(out);
    if (!train(&p, &plain) || !traced_run("traced", &result, path, sizeof(path)))
        return;
    same_run(plain.folder, result.folder);
    if (trace_open(&t, path)) {
        CHECK_EQ_U64(t.dropped, 0);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "tokenize"), 2); /* train and val */
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "evaluate"), 2);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "checkpoint"), 2);
        CHECK_EQ_U64(trace_count(&t, TRACE_HOST, "report"), 1);
        CHECK(trace_count(&t, TRACE_HOST, "plan") >= 3 && trace_count(&t, TRACE_HOST, "pipeline"));
        check_waits(&t);
        check_host_work(&t);
        if (t.clock[0] && strcmp(t.clock, "none")) {
            CHECK(trace_inside(&t) > 1000);
            check_steps(&t, result.steps);
        }
        for (size_t i = 0; i < t.n; i++)
            nameless += t.events[i].process == TRACE_DEVICE && !t.events[i].what[0] &&
                        strcmp(t.events[i].name, "micro") && strcmp(t.events[i].name, "update") &&
                        strcmp(t.events[i].name, "step buffer") &&
                        strcmp(t.events[i].name, "evaluation");
        CHECK_EQ_U64(nameless, 0);
    }
    trace_release(&t);
}
