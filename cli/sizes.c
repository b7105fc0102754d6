/* sizes.c - numbers as people read them. */
#include "sizes.h"

#include <stdio.h>

void apusi_bytes_text(char *out, size_t room, uint64_t bytes)
{
    const double x = (double)bytes;

    if (bytes < 1ull << 20)
        snprintf(out, room, "%.1f KiB", x / 1024);
    else if (bytes < 1ull << 30)
        snprintf(out, room, "%.1f MiB", x / 1048576);
    else
        snprintf(out, room, "%.2f GiB", x / 1073741824);
}

void apusi_millions_text(char *out, size_t room, uint64_t n)
{
    snprintf(out, room, "%.4fM", (double)n / 1e6);
}

void apusi_duration_text(char *out, size_t room, double seconds)
{
    const double s = seconds > 0 && seconds < 1e9 ? seconds : 0;

    if (s < 90)
        snprintf(out, room, "%.0f s", s < 1 ? 1 : s);
    else if (s < 5400)
        snprintf(out, room, "%.0f min", s / 60);
    else
        snprintf(out, room, "%d h %d min", (int)(s / 3600), (int)(s / 60) % 60);
}
