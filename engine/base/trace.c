/* trace.c - the recorder of APUS_TRACE: a ring of events, and the file made of it.
 *
 * The file is Chrome's JSON object format ("Trace Event Format", Google 2016): complete events (X)
 * with times in microseconds from the opening of the trace, and metadata events (M) that name the
 * rows.  Process 1 is the host with a row a thread, process 2 the device with a row a queue. */
#include "trace.h"

#include <stdatomic.h>
#include <stdio.h>
#include <threads.h>

#include "env.h"
#include "file.h"
#include "json.h"
#include "os.h"
#include "rng.h"

#define HOST 1u
#define DEVICE 2u
#define MOST_QUEUES 16u
#define MOST_TEXTS (1u << 16)

typedef struct event {
    uint64_t begin_ns, end_ns;
    const char *name, *key;
    uint64_t number;
    uint32_t text, what; /* `text` is the name where `name` is NULL */
    uint32_t process, row;
} event;

typedef struct queue {
    uint32_t device; /* text */
    const char *clock;
    uint64_t deviation_ns;
} queue;

typedef struct recorder {
    char *path;
    uint64_t opened_ns;
    event *events; /* a ring */
    uint64_t n;    /* so far; event i stands at i % APUS_TRACE_EVENTS */
    char **texts;
    uint32_t n_texts;
    size_t text_room;
    uint32_t *slots; /* open addressing over `texts`; 0: free */
    queue queues[MOST_QUEUES];
    uint32_t n_queues, n_threads;
} recorder;

static recorder rec;
static mtx_t lock;
static once_flag lock_once = ONCE_FLAG_INIT;
static atomic_bool is_open;
static atomic_uint threads_seen;
static _Thread_local uint32_t thread_row; /* from 1; 0: not known yet */

static void make_lock(void)
{
    APUS_BUG_IF(mtx_init(&lock, mtx_plain) != thrd_success);
}

bool apus_trace_on(void)
{
    return atomic_load_explicit(&is_open, memory_order_relaxed);
}

/* ---- recording ---- */

static uint32_t find_text(const char *text)
{
    uint32_t at = (uint32_t)apus_hash(text, strlen(text), APUS_HASH_SEED) & (2 * MOST_TEXTS - 1);

    for (; rec.slots[at]; at = (at + 1) & (2 * MOST_TEXTS - 1))
        if (!strcmp(rec.texts[rec.slots[at]], text))
            return rec.slots[at];
    if (rec.n_texts == MOST_TEXTS ||
        apus_grow(&rec.texts, rec.n_texts, 1, &rec.text_room, sizeof(*rec.texts)) != APUS_OK)
        return 0;
    char *copy = apus_strdup(text);
    if (!copy)
        return 0;
    rec.texts[rec.n_texts] = copy;
    rec.slots[at] = rec.n_texts;
    return rec.n_texts++;
}

uint32_t apus_trace_text(const char *text)
{
    if (!apus_trace_on() || !text || !text[0])
        return 0;
    mtx_lock(&lock);
    const uint32_t at = find_text(text);
    mtx_unlock(&lock);
    return at;
}

static void add(const event *e)
{
    mtx_lock(&lock);
    rec.events[rec.n++ % APUS_TRACE_EVENTS] = *e;
    mtx_unlock(&lock);
}

uint64_t apus_trace_begin(void)
{
    return apus_trace_on() ? apus_now_ns() : 0;
}

void apus_trace_end(uint64_t began, const char *name, const char *what, const char *key,
                    uint64_t number)
{
    if (!began || !apus_trace_on())
        return;
    if (!thread_row)
        thread_row = atomic_fetch_add(&threads_seen, 1u) + 1;
    add(&(event) { .begin_ns = began,
                   .end_ns = apus_now_ns(),
                   .name = name,
                   .what = apus_trace_text(what),
                   .key = key,
                   .number = number,
                   .process = HOST,
                   .row = thread_row });
}

uint32_t apus_trace_queue(const char *device)
{
    const uint32_t text = apus_trace_text(device);
    uint32_t i = 0;

    if (!apus_trace_on())
        return 0;
    mtx_lock(&lock);
    while (i < rec.n_queues && rec.queues[i].device != text)
        i++;
    if (i == rec.n_queues && i < MOST_QUEUES)
        rec.queues[rec.n_queues++] = (queue) { .device = text, .clock = "none" };
    mtx_unlock(&lock);
    return i < MOST_QUEUES ? i : MOST_QUEUES - 1;
}

void apus_trace_clock(uint32_t at, const char *how, uint64_t deviation_ns)
{
    if (!apus_trace_on())
        return;
    mtx_lock(&lock);
    rec.queues[at].clock = how;
    rec.queues[at].deviation_ns = deviation_ns;
    mtx_unlock(&lock);
}

void apus_trace_device(const apus_trace_span *span)
{
    if (!apus_trace_on())
        return;
    add(&(event) { .begin_ns = span->begin_ns,
                   .end_ns = span->end_ns,
                   .text = span->name,
                   .what = span->what,
                   .key = "submission",
                   .number = span->submission,
                   .process = DEVICE,
                   .row = span->queue + 1 });
}

/* ---- the file ---- */

static int by_begin(const void *a, const void *b)
{
    const event *x = a, *y = b;

    if (x->begin_ns != y->begin_ns)
        return x->begin_ns < y->begin_ns ? -1 : 1;
    return x->end_ns == y->end_ns ? 0 : x->end_ns > y->end_ns ? -1 : 1; /* the outer one first */
}

/* One value and what stands behind it; takes `value`. */
static apus_status put(apus_writer *w, cJSON *value, const char *behind)
{
    apus_status st = APUS_ERR_MEMORY;
    char *text = value ? apus_json_text(value, 0) : NULL;

    if (text)
        st = apus_writer_add(w, text, strlen(text));
    if (st == APUS_OK)
        st = apus_writer_add(w, behind, strlen(behind));
    apus_free(text);
    cJSON_Delete(value);
    return st;
}

static cJSON *head(const char *name, const char *phase, uint32_t process, uint32_t row)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddStringToObject(o, "name", name);
    cJSON_AddStringToObject(o, "ph", phase);
    cJSON_AddNumberToObject(o, "pid", process);
    cJSON_AddNumberToObject(o, "tid", row);
    return o;
}

static double microseconds(uint64_t ns)
{
    return (double)(int64_t)(ns - rec.opened_ns) / 1000;
}

/* A text that an earlier trace was told of is not known to this one. */
static const char *text_of(uint32_t i)
{
    return i < rec.n_texts ? rec.texts[i] : "";
}

static apus_status put_event(apus_writer *w, const event *e)
{
    const uint64_t end_ns = e->end_ns > e->begin_ns ? e->end_ns : e->begin_ns;
    cJSON *o = head(e->name ? e->name : text_of(e->text), "X", e->process, e->row), *args;

    apus_json_add_float(o, "ts", microseconds(e->begin_ns));
    apus_json_add_float(o, "dur", (double)(end_ns - e->begin_ns) / 1000);
    args = cJSON_AddObjectToObject(o, "args");
    if (e->what)
        cJSON_AddStringToObject(args, e->process == HOST ? "what" : "node", text_of(e->what));
    if (e->key)
        cJSON_AddNumberToObject(args, e->key, (double)e->number);
    return put(w, o, ",\n");
}

static apus_status put_name(apus_writer *w, const char *kind, uint32_t process, uint32_t row,
                            const char *name)
{
    cJSON *o = head(kind, "M", process, row);

    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "args"), "name", name);
    return put(w, o, ",\n");
}

static apus_status put_rows(apus_writer *w)
{
    char name[320];

    APUS_FORWARD(put_name(w, "process_name", DEVICE, 0, "device"));
    for (uint32_t i = 0; i < rec.n_queues; i++) {
        snprintf(name, sizeof(name), "%s, queue", rec.texts[rec.queues[i].device]);
        APUS_FORWARD(put_name(w, "thread_name", DEVICE, i + 1, name));
    }
    for (uint32_t i = 0; i < atomic_load(&threads_seen); i++) {
        snprintf(name, sizeof(name), i ? "thread %u" : "main thread", i + 1);
        APUS_FORWARD(put_name(w, "thread_name", HOST, i + 1, name));
    }
    /* The last one has no comma behind it. */
    cJSON *o = head("process_name", "M", HOST, 0);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "args"), "name", "host");
    return put(w, o, "\n], \"otherData\": ");
}

static cJSON *about(uint64_t kept)
{
    cJSON *o = cJSON_CreateObject(), *queues;

    cJSON_AddStringToObject(o, "program", "apus " APUS_VERSION);
    cJSON_AddNumberToObject(o, "events", (double)kept);
    cJSON_AddNumberToObject(o, "events_dropped", (double)(rec.n - kept));
    cJSON_AddNumberToObject(o, "run_us", microseconds(apus_now_ns()));
    queues = cJSON_AddArrayToObject(o, "queues");
    for (uint32_t i = 0; i < rec.n_queues; i++) {
        cJSON *q = cJSON_CreateObject();
        cJSON_AddStringToObject(q, "device", rec.texts[rec.queues[i].device]);
        cJSON_AddStringToObject(q, "clock", rec.queues[i].clock);
        cJSON_AddNumberToObject(q, "max_deviation_ns", (double)rec.queues[i].deviation_ns);
        cJSON_AddItemToArray(queues, q);
    }
    return o;
}

static apus_status write_file(void)
{
    static const char opening[] = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
    const uint64_t kept = rec.n < APUS_TRACE_EVENTS ? rec.n : APUS_TRACE_EVENTS;
    const uint64_t failures = apus_memory_failures();
    apus_writer w = { 0 };
    apus_status st;

    apus_json_begin();
    qsort(rec.events, kept, sizeof(*rec.events), by_begin);
    APUS_TRY(apus_writer_open(&w, rec.path));
    APUS_TRY(apus_writer_add(&w, opening, sizeof(opening) - 1));
    for (uint64_t i = 0; i < kept; i++)
        APUS_TRY(put_event(&w, &rec.events[i]));
    APUS_TRY(put_rows(&w));
    APUS_TRY(put(&w, about(kept), "}\n"));
    if (apus_memory_failures() != failures) /* a part of some value is missing */
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(apus_writer_commit(&w));
fail:
    apus_writer_release(&w);
    return st;
}

static void release(void)
{
    for (uint32_t i = 0; i < rec.n_texts; i++)
        apus_free(rec.texts[i]);
    apus_free(rec.texts);
    apus_free(rec.slots);
    apus_free(rec.events);
    apus_free(rec.path);
    rec = (recorder) { 0 };
}

apus_status apus_trace_open(const char *path)
{
    apus_status st;

    path = path ? path : apus_env_get(APUS_TRACE);
    if (!path[0])
        return APUS_OK;
    if (apus_trace_on())
        return apus_fail(APUS_ERR_ARG, "a trace is being written to %s already", rec.path);
    call_once(&lock_once, make_lock);
    rec.opened_ns = apus_now_ns();
    rec.path = apus_path_absolute(path);
    rec.events = apus_calloc(APUS_TRACE_EVENTS, sizeof(*rec.events));
    rec.slots = apus_calloc(2 * MOST_TEXTS, sizeof(*rec.slots));
    if (!rec.path || !rec.events || !rec.slots)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(apus_grow(&rec.texts, 0, 1, &rec.text_room, sizeof(*rec.texts)));
    rec.texts[0] = apus_strdup("");
    if (!rec.texts[0])
        APUS_TRY(APUS_ERR_MEMORY);
    rec.n_texts = 1;
    st = write_file();
    if (st != APUS_OK)
        APUS_TRY(apus_fail(st, "the trace (APUS_TRACE): %s", apus_error_text()));
    atomic_store(&is_open, true);
    return APUS_OK;

fail:
    release();
    return st;
}

apus_status apus_trace_close(void)
{
    if (!apus_trace_on())
        return APUS_OK;
    atomic_store(&is_open, false);
    const apus_status st = write_file();
    release();
    return st;
}
