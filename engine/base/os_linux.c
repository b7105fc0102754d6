/* os_linux.c - clock, processors and memory of Linux. */
#include "os.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t = { 0 };

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t apus_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t apus_cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t apus_peak_rss(void)
{
    struct rusage usage = { 0 };

    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

uint64_t apus_host_memory(void)
{
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* The number behind `key` in a file of the kernel; UINT64_MAX if there is none ("max" is none). */
static uint64_t read_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    char line[128];
    uint64_t n = UINT64_MAX;
    const size_t skip = strlen(key);

    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, key, skip) && strpbrk(line + skip, "0123456789"))
            n = strtoull(strpbrk(line + skip, "0123456789"), NULL, 10);
    if (f)
        fclose(f);
    return n;
}

uint64_t apus_host_free(void)
{
    const uint64_t all = apus_host_memory();
    const uint64_t kib = read_number("/proc/meminfo", "MemAvailable:");
    const uint64_t group = read_number("/sys/fs/cgroup/memory.max", "");
    const uint64_t used = read_number("/sys/fs/cgroup/memory.stat", "anon ");
    uint64_t n = kib < all >> 10 ? kib << 10 : all;

    /* A container's limit counts what its processes wrote; pages of files it gives back. */
    if (group != UINT64_MAX && used != UINT64_MAX && group - (used < group ? used : group) < n)
        n = group - (used < group ? used : group);
    return n;
}

uint32_t apus_cpu_count(void)
{
    cpu_set_t set;

    /* Counts what this process may use, which in a container is less than the machine has. */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

void apus_sleep_ns(uint64_t ns)
{
    struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u),
                          .tv_nsec = (long)(ns % 1000000000u) };

    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
}

double apus_wall_seconds(void)
{
    return (double)clock_ns(CLOCK_REALTIME) * 1e-9;
}

void apus_local_time(char *out, size_t room, const char *fmt)
{
    const time_t now = time(NULL);
    struct tm parts;

    if (!room)
        return;
    if (!localtime_r(&now, &parts) || strftime(out, room, fmt, &parts) == 0)
        out[0] = 0;
}
