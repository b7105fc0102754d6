/* fenced.c - is the fence of fence.c up?  A byte past the end of a buffer cannot be read. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu.h"
#include "harness.h"

/* In a process of its own, since the fence kills; the exit code is what was found. */
static int look(uint64_t past)
{
    const uint64_t bytes = 1 << 16;
    apus_gpu *gpu = NULL;
    apus_buffer b;

    if (apus_gpu_create(&gpu, NULL) != APUS_OK ||
        apus_buffer_create(gpu, &b, bytes, APUS_MEMORY_DEVICE, "fenced") != APUS_OK || !b.host)
        return 2;
    memset(b.host, 7, bytes);
    return ((volatile const char *)b.host)[bytes - 1 + past] == 7 ? 0 : 1;
}

static int status_of_look(uint64_t past)
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0)
        _exit(look(past));
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return status;
}

TEST(memory_ends_at_the_fence)
{
    int status = status_of_look(0);

    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = status_of_look(4096); /* drivers round up to pages */
    harness_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, __FILE__, __LINE__,
                  "a page past the end of a buffer can be read (status %x)", status);
}
