/* trace.h - what host and device did when: a Chrome trace; chrome://tracing and Perfetto open it.
 *
 * One recorder for the process, like the log.  The last APUS_TRACE_EVENTS events are kept in memory
 * and written when the trace is closed; older ones are counted in the file.  Times are those of
 * apus_now_ns().  While no trace is open every call returns at once.  Thread-safe, but for open and
 * close: those are called while no other thread records. */
#ifndef APUSI_TRACE_H
#define APUSI_TRACE_H

#include "base.h"

#define APUS_TRACE_EVENTS (1u << 18)

/* Open a trace that is written to `path` (NULL: APUS_TRACE of the environment; nothing is opened
 * where that is empty).  The file is made at once, without events, so that it is whole however the
 * run ends.  Errors: APUS_ERR_ARG (one is open), APUS_ERR_MEMORY, those of apus_file_write. */
apus_status apus_trace_open(const char *path);
/* Write the file; fine where none is open.  Errors: APUS_ERR_MEMORY, those of apus_file_write; the
 * file is then the one without events. */
apus_status apus_trace_close(void);
bool apus_trace_on(void);

/* ---- host: one row a thread ---- */

/* Now, as the beginning of an event of this thread; 0 where no trace is open. */
uint64_t apus_trace_begin(void);
/* The event from `began` until now.  `what` is shown beside the name (NULL: nothing), `number`
 * under `key` (NULL: not shown).  `name` and `key` are literals, `what` is copied. */
void apus_trace_end(uint64_t began, const char *name, const char *what, const char *key,
                    uint64_t number);

/* ---- devices: one row a queue ---- */

typedef struct apus_trace_span {
    uint32_t queue;      /* of apus_trace_queue */
    uint32_t name, what; /* of apus_trace_text */
    uint64_t submission; /* as the events "submit" and "wait" of the host number it */
    uint64_t begin_ns, end_ns;
} apus_trace_span;

/* The row of the queue of the device of that name; the same one where it was opened before. */
uint32_t apus_trace_queue(const char *device);
/* How well that queue's times are known: said in the file. */
void apus_trace_clock(uint32_t queue, const char *how, uint64_t deviation_ns);
/* A number for a text, which is copied; 0 is "" (also without memory). */
uint32_t apus_trace_text(const char *text);
void apus_trace_device(const apus_trace_span *span);

#endif
