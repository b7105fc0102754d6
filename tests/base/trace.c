/* trace.c - the recorder of traces: what is kept, what the file says, and what fails. */
#include "trace.h"

#include <stdio.h>
#include <threads.h>

#include "env.h"
#include "file.h"
#include "os.h"
#include "trace_read.h"

static const char *path_of(const char *name)
{
    static char path[1200];

    snprintf(path, sizeof(path), "%s/%s", harness_folder(), name);
    return path;
}

TEST(without_a_trace_nothing_is_recorded)
{
    unsetenv("APUS_TRACE");
    CHECK_OK(apus_trace_open(NULL));
    CHECK(!apus_trace_on());
    CHECK_EQ_U64(apus_trace_begin(), 0);
    apus_trace_end(0, "a", "b", "c", 1);
    CHECK_EQ_U64(apus_trace_text("text"), 0);
    CHECK_EQ_U64(apus_trace_queue("device"), 0);
    apus_trace_device(&(apus_trace_span) { .name = 7 });
    CHECK_OK(apus_trace_close());
}

static void sleep_a_while(const char *name, const char *what)
{
    const uint64_t began = apus_trace_begin();

    apus_sleep_ns(2000000);
    apus_trace_end(began, name, what, "n", 12);
}

static int other_thread(void *unused)
{
    (void)unused;
    sleep_a_while("other", NULL);
    return 0;
}

/* Names that JSON must quote, two threads, one device opened twice. */
TEST(events_of_host_and_device)
{
    const char *path = path_of("events.json");
    trace_read t;
    thrd_t thread;

    setenv("APUS_TRACE", path, 1);
    REQUIRE_OK(apus_trace_open(NULL));
    unsetenv("APUS_TRACE");
    CHECK(apus_trace_on());
    if (trace_open(&t, path)) /* whole from the beginning, and empty */
        CHECK_EQ_U64(t.n, 0);
    trace_release(&t);
    CHECK_FAILS(apus_trace_open(path), APUS_ERR_ARG, "already");
    sleep_a_while("outer", "a \"b\"\n\\ \xc3\xa9");
    REQUIRE(thrd_create(&thread, other_thread, NULL) == thrd_success);
    thrd_join(thread, NULL);
    const uint32_t queue = apus_trace_queue("gpu"), second = apus_trace_queue("another");
    CHECK(queue != second && apus_trace_queue("gpu") == queue);
    apus_trace_clock(queue, "calibrated timestamps", 1500);
    const uint64_t now = apus_now_ns();
    const uint32_t name = apus_trace_text("kernel"), node = apus_trace_text("layers.0");
    CHECK(name && node && name != node && apus_trace_text("kernel") == name);
    apus_trace_device(&(apus_trace_span) { queue, name, node, 5, now - 1000000, now - 500000 });
    apus_trace_device(&(apus_trace_span) { second, node, 0, 6, now - 900000, now - 900000 });
    CHECK_OK(apus_trace_close());
    CHECK(!apus_trace_on());
    if (trace_open(&t, path) && CHECK_EQ_U64(t.n, 4)) {
        const traced *e = t.events;
        CHECK_EQ_STR(e[0].name, "outer");
        CHECK_EQ_STR(e[0].what, "a \"b\"\n\\ \xc3\xa9");
        CHECK_EQ_STR(e[1].name, "other");
        CHECK_EQ_U64(e[0].process, TRACE_HOST);
        CHECK(e[0].row != e[1].row && e[0].end_us - e[0].begin_us >= 2000);
        CHECK_EQ_STR(e[2].name, "kernel");
        CHECK_EQ_STR(e[2].what, "layers.0");
        CHECK_EQ_U64(e[2].process, TRACE_DEVICE);
        CHECK_EQ_U64(e[2].submission, 5);
        CHECK_NEAR(e[2].end_us - e[2].begin_us, 500, 1e-3);
        CHECK_NEAR(e[3].begin_us - e[2].begin_us, 100, 1e-3);
        CHECK(e[2].row != e[3].row);
        CHECK_EQ_STR(t.clock, "calibrated timestamps");
        CHECK_NEAR(t.slack_us, 1.502, 1e-9);
        CHECK_EQ_U64(t.dropped, 0);
    }
    trace_release(&t);
}

/* The last ones are kept. */
TEST(a_long_run_keeps_the_last_events)
{
    const char *path = path_of("long.json");
    const uint64_t more = 1000;
    uint64_t bytes = 0;
    trace_read t;

    REQUIRE_OK(apus_trace_open(path));
    const uint32_t name = apus_trace_text("k"), queue = apus_trace_queue("gpu");
    const uint64_t start = apus_now_ns();
    for (uint64_t i = 0; i < APUS_TRACE_EVENTS + more; i++)
        apus_trace_device(&(apus_trace_span) { queue, name, 0, i, start + i, start + i + 1 });
    apus_sleep_ns(2000000);
    CHECK_OK(apus_trace_close());
    CHECK_OK(apus_file_bytes(&bytes, path));
    CHECK(bytes < 160ull * APUS_TRACE_EVENTS);
    if (trace_open(&t, path) && CHECK_EQ_U64(t.n, APUS_TRACE_EVENTS)) {
        CHECK_EQ_U64(t.dropped, more);
        CHECK_EQ_U64(t.events[0].submission, more);
        CHECK_EQ_U64(t.events[t.n - 1].submission, APUS_TRACE_EVENTS + more - 1);
    }
    trace_release(&t);
}

TEST(a_path_that_cannot_be_written_fails_at_once)
{
    CHECK_FAILS(apus_trace_open(path_of("no/such/folder/t.json")), APUS_ERR_IO,
                "the trace (APUS_TRACE): cannot create ");
    CHECK(!apus_trace_on());
    CHECK_FAILS(apus_trace_open(harness_folder()), APUS_ERR_IO, "the trace (APUS_TRACE): ");
    CHECK(!apus_trace_on());
}

/* A disk that is full, memory that runs out: a status, and the file without events stays whole. */
TEST(faults_leave_a_whole_file)
{
    const char *path = path_of("fault.json");
    trace_read t;

    for (int kind = APUS_FAULT_HOST_ALLOC; kind <= APUS_FAULT_FILE; kind++) {
        uint64_t n = 1;
        for (;; n++) {
            apus_fault_set((apus_fault)kind, n);
            const apus_status st = apus_trace_open(path);
            apus_fault_set((apus_fault)kind, 0);
            if (st == APUS_OK)
                break;
            CHECK(!apus_trace_on());
            CHECK(st == (kind == APUS_FAULT_FILE ? APUS_ERR_IO : APUS_ERR_MEMORY));
        }
        CHECK(n > 3);
        for (n = 1;; n++) {
            for (int i = 0; i < 3; i++)
                apus_trace_end(apus_trace_begin(), "event", "what", "n", 1);
            apus_fault_set((apus_fault)kind, n);
            const apus_status st = apus_trace_close();
            apus_fault_set((apus_fault)kind, 0);
            if (st == APUS_OK)
                break;
            CHECK(st == (kind == APUS_FAULT_FILE ? APUS_ERR_IO : APUS_ERR_MEMORY));
            if (trace_open(&t, path))
                CHECK(t.n == 0 || t.n == 3); /* renamed, and only then not synced */
            trace_release(&t);
            if (!CHECK_OK(apus_trace_open(path)))
                return;
        }
        CHECK(n > 3);
        if (trace_open(&t, path))
            CHECK_EQ_U64(t.n, 3);
        trace_release(&t);
    }
}
