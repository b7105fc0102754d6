/* trace_read.h - a trace file (APUS_TRACE) as a test looks at it, with what holds for every one. */
#ifndef APUS_TEST_TRACE_READ_H
#define APUS_TEST_TRACE_READ_H

#include "harness.h"
#include "json.h"

enum { TRACE_HOST = 1, TRACE_DEVICE = 2 };

typedef struct traced {
    const char *name, *what; /* what: of host or node; "" */
    uint32_t process, row;
    double begin_us, end_us;
    uint64_t submission; /* 0: not of one */
} traced;

typedef struct trace_read {
    cJSON *json;
    traced *events; /* in order of time */
    size_t n;
    double run_us, slack_us; /* slack: of the device's clock */
    uint64_t dropped;
    const char *clock; /* of the first device; "" */
} trace_read;

static inline void trace_release(trace_read *t)
{
    cJSON_Delete(t->json);
    apus_free(t->events);
    *t = (trace_read) { 0 };
}

static inline void trace_event(trace_read *t, const cJSON *e)
{
    const cJSON *args = apus_json_get(e, "args");
    const double us = apus_json_number(e, "ts", -1);

    t->events[t->n++] = (traced) {
        .name = apus_json_string(e, "name", ""),
        .what = apus_json_string(args, "what", apus_json_string(args, "node", "")),
        .process = (uint32_t)apus_json_number(e, "pid", 0),
        .row = (uint32_t)apus_json_number(e, "tid", 0),
        .begin_us = us,
        .end_us = us + apus_json_number(e, "dur", -1e18),
        .submission = (uint64_t)apus_json_number(args, "submission", 0),
    };
}

/* False after a failed check.  Checked: it parses, events are in order and inside the run. */
static inline bool trace_open(trace_read *t, const char *path)
{
    const cJSON *all, *e, *other, *queue;

    *t = (trace_read) { .clock = "" };
    if (!CHECK_OK(apus_json_read(&t->json, path)))
        return false;
    all = apus_json_get(t->json, "traceEvents");
    other = apus_json_get(t->json, "otherData");
    if (!CHECK(cJSON_IsArray(all) && other))
        return false;
    t->run_us = apus_json_number(other, "run_us", 0);
    t->dropped = (uint64_t)apus_json_number(other, "events_dropped", -1);
    queue = cJSON_GetArrayItem(apus_json_get(other, "queues"), 0);
    if (queue) {
        t->slack_us = apus_json_number(queue, "max_deviation_ns", 0) / 1000 + 0.002; /* rounding */
        t->clock = apus_json_string(queue, "clock", "");
    }
    t->events = apus_calloc((size_t)cJSON_GetArraySize(all) + 1, sizeof(*t->events));
    if (!CHECK(t->events))
        return false;
    cJSON_ArrayForEach(e, all)
    {
        const char *phase = apus_json_string(e, "ph", "");
        if (!strcmp(phase, "X"))
            trace_event(t, e);
        else
            CHECK_EQ_STR(phase, "M");
    }
    CHECK_EQ_U64(t->n, (uint64_t)apus_json_number(other, "events", -1));
    for (size_t i = 0; i < t->n; i++) {
        const traced *x = &t->events[i];
        const double slack = x->process == TRACE_DEVICE ? t->slack_us : 0.002;
        if (!CHECK(x->begin_us >= -slack && x->begin_us <= x->end_us &&
                   x->end_us <= t->run_us + slack && x->name[0]) ||
            !CHECK(i == 0 || x[-1].begin_us <= x->begin_us))
            break;
    }
    return true;
}

static inline size_t trace_count(const trace_read *t, uint32_t process, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->events[i].process == process && !strcmp(t->events[i].name, name);
    return n;
}

/* The host's event of that name for the submission; of a wait the first that covers it. */
static inline const traced *trace_host(const trace_read *t, const char *name, uint64_t submission,
                                       bool covers)
{
    const traced *best = NULL;

    for (size_t i = 0; i < t->n; i++) {
        const traced *e = &t->events[i];
        if (e->process == TRACE_HOST && !strcmp(e->name, name) &&
            (covers ? e->submission >= submission : e->submission == submission) &&
            (!best || e->end_us < best->end_us))
            best = e;
    }
    return best;
}

/* Each event of a device lies between its submission and the end of the wait for it, as well as
 * the clock is known; returns their number. */
static inline size_t trace_inside(const trace_read *t)
{
    size_t n = 0, outside = 0;

    for (size_t i = 0; i < t->n; i++) {
        const traced *e = &t->events[i], *submit, *wait;
        if (e->process != TRACE_DEVICE)
            continue;
        submit = trace_host(t, "submit", e->submission, false);
        wait = trace_host(t, "wait", e->submission, true);
        n++;
        if (submit && wait && e->begin_us >= submit->begin_us - t->slack_us &&
            e->end_us <= wait->end_us + t->slack_us)
            continue;
        if (!outside++)
            harness_check(false, __FILE__, __LINE__,
                          "%s of submission %llu: [%.3f, %.3f] us is not in [%.3f, %.3f], %s",
                          e->name, (unsigned long long)e->submission, e->begin_us, e->end_us,
                          submit ? submit->begin_us : -1.0, wait ? wait->end_us : -1.0, t->clock);
    }
    CHECK_EQ_U64(outside, 0);
    return n;
}

#endif
