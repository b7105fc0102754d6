/* os_host.h - what the operating system says of the host. */
#ifndef APUSI_OS_HOST_H
#define APUSI_OS_HOST_H

#include <stddef.h>

/* Name of the processor; "unknown" where it is not told. */
void apusi_cpu_name(char *out, size_t room);

#endif
