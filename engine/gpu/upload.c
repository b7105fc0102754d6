/* upload.c - copies from the host into buffers that it cannot write to.
 *
 * They go through two stages in turn: while the device copies one, the host fills the other.  They
 * have a queue of their own where the device has a second one (best one that only copies).  A copy
 * waits for all work that was submitted before it, which may read what it replaces, and for the
 * copy before it; work that is submitted after it waits for the copy.  Work and copies do so by
 * timeline semaphores, which also make the bytes visible. */
#include "gpu_internal.h"
#include "trace.h"

static apus_status open_stage(apus_gpu *gpu, apusi_stage *s)
{
    if (!s->buffer.handle)
        APUS_FORWARD(
            apus_buffer_create(gpu, &s->buffer, APUSI_STAGE_BYTES, APUS_MEMORY_HOST, "stage"));
    return s->commands ? APUS_OK : apusi_commands_create(gpu, &s->commands, true);
}

static apus_status wait_for(apus_gpu *gpu, uint64_t ticket)
{
    apus_status st = APUS_OK;

    if (gpu->lost) /* described when it was seen */
        return APUS_ERR_LOST;
    if (ticket <= gpu->upload.done)
        return APUS_OK;
    APUSI_VK(gpu, "vkWaitSemaphores",
             apusi_wait_for(gpu, gpu->upload.timeline, ticket, UINT64_MAX));
    gpu->upload.done = ticket;
fail:
    return st;
}

/* Record and submit a copy of the stage's bytes, behind all work that was submitted.  The list
 * opens with a barrier, which puts it behind the copy before: that may have written to the same
 * bytes. */
static apus_status copy(apus_gpu *gpu, apusi_stage *s, const apus_buffer *b, uint64_t at,
                        uint64_t bytes)
{
    apus_status st = APUS_OK;
    apusi_upload *u = &gpu->upload;
    const uint64_t value = u->submitted + 1;

    APUS_TRY(apus_commands_begin(s->commands));
    apus_commands_copy(s->commands, &s->buffer, 0, b, at, bytes);
    APUS_TRY(apus_commands_end(s->commands));
    APUSI_VK(gpu, "vkQueueSubmit",
             apusi_submit(gpu, u->queue, &s->commands->buffer, 1, gpu->timeline, gpu->submitted,
                          u->timeline, value));
    u->submitted = s->ticket = value;
fail:
    return st;
}

apus_status apusi_upload_write(apus_gpu *gpu, const apus_buffer *b, uint64_t at, const void *src,
                               uint64_t bytes)
{
    apusi_upload *u = &gpu->upload;
    const char *from = src;

    while (bytes > 0) {
        const uint64_t n = bytes < APUSI_STAGE_BYTES ? bytes : APUSI_STAGE_BYTES;
        const uint64_t began = apus_trace_begin();
        apusi_stage *s = &u->stages[u->at];

        APUS_FORWARD(open_stage(gpu, s));
        APUS_FORWARD(wait_for(gpu, s->ticket));
        memcpy(s->buffer.host, from, n);
        APUS_FORWARD(copy(gpu, s, b, at, n));
        apus_trace_end(began, "upload", NULL, "bytes", n);
        u->at = (u->at + 1) % APUSI_STAGES;
        from += n;
        at += n;
        bytes -= n;
    }
    return APUS_OK;
}

apus_status apusi_upload_wait(apus_gpu *gpu)
{
    return wait_for(gpu, gpu->upload.submitted);
}

void apusi_upload_release(apus_gpu *gpu)
{
    for (uint32_t i = 0; i < APUSI_STAGES; i++) {
        apusi_stage *s = &gpu->upload.stages[i];

        apus_commands_destroy(&s->commands);
        apus_buffer_destroy(gpu, &s->buffer);
        *s = (apusi_stage) { 0 };
    }
}
