/* os_host.c - what the operating system says of the host. */
#include "os_host.h"

#include <stdio.h>
#include <string.h>

void apusi_cpu_name(char *out, size_t room)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(out, room, "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        const char *value = strstr(line, ": ");

        if (value && !strncmp(line, "model name", 10)) {
            snprintf(out, room, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
            break;
        }
    }
    if (file)
        fclose(file);
}
