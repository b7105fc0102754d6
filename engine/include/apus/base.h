/* base.h - status codes, the text of the last failure, logging, cancellation.
 *
 * Every call of the library that can fail returns an apus_status and hands results out through
 * pointers.  The failure is described once, where it is seen, by apus_fail(); the text stays
 * readable in the same thread until the next failure.
 *
 * Thread-safety: the failure text is per thread; the log sink is one for the process and is set
 * before other threads start. */
#ifndef APUS_BASE_H
#define APUS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define APUS_VERSION "0.1.0"

typedef enum apus_status {
#define X(name, value, text) APUS_##name = value,
#include "apus/status.def"
#undef X
} apus_status;

#if defined(__GNUC__)
#define APUS_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#else
#define APUS_PRINTF(fmt_at, args_at)
#endif

/* The one-line text of a code ("out of memory").  Never NULL. */
const char *apus_status_text(apus_status status);

/* The text that the last apus_fail() of this thread left, or "" if there was none.
 * Borrowed until the next failure of the thread. */
const char *apus_error_text(void);

/* Remember a description of a failure for apus_error_text() and return `status`:
 *     return apus_fail(APUS_ERR_SHAPE, "rms_norm: x (%u,%u)", rows, cols);
 * The text says what, where, and what to do; it has no final newline. */
apus_status apus_fail(apus_status status, const char *fmt, ...) APUS_PRINTF(2, 3);

typedef enum apus_log_level {
    APUS_LOG_ERROR,
    APUS_LOG_WARN,
    APUS_LOG_INFO,
    APUS_LOG_DEBUG
} apus_log_level;

/* Receives one finished line, without a newline. */
typedef void (*apus_log_sink)(void *user, apus_log_level level, const char *line);

/* Send log lines up to `most` to `sink`; NULL drops them.  The library itself never prints. */
void apus_log_set(apus_log_sink sink, void *user, apus_log_level most);
void apus_log(apus_log_level level, const char *fmt, ...) APUS_PRINTF(2, 3);

/* A flag that another thread or a signal handler may set to stop long work; the work ends with
 * APUS_ERR_CANCELLED within one device submission.  Zero-initialised is "go on". */
typedef struct apus_cancel {
    volatile int requested;
} apus_cancel;

#ifdef __cplusplus
}
#endif
#endif
