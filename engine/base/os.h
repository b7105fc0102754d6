/* os.h - clock, processors, memory of the process. */
#ifndef APUSI_OS_H
#define APUSI_OS_H

#include "base.h"

uint64_t apus_now_ns(void);      /* monotonic */
uint64_t apus_cpu_ns(void);      /* CPU time of the process */
uint64_t apus_peak_rss(void);    /* bytes, high-water mark of the process */
uint64_t apus_host_memory(void); /* bytes of physical memory */
uint64_t apus_host_free(void);   /* bytes that the process can still get; all, if unknown */
uint32_t apus_cpu_count(void);
void apus_sleep_ns(uint64_t ns);
/* Seconds since 1970 and the local time as text by strftime's `fmt`. */
double apus_wall_seconds(void);
void apus_local_time(char *out, size_t room, const char *fmt);
/* Run a program (argv[0] is searched in PATH, argv ends in NULL) with `input` on its stdin, if not
 * NULL, and collect up to 1 MiB of stdout in *output, if not NULL (caller frees).
 * Errors: APUS_ERR_MISSING (no such program), APUS_ERR_IO (it failed; the text holds its stderr),
 * APUS_ERR_MEMORY. */
apus_status apus_run(const char *const *argv, const void *input, size_t input_bytes, char **output);

#endif
