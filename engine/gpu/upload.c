/* upload.c - copies from the host into buffers that it cannot write to.
 *
 * They go through two stages in turn: while the device copies one, the host fills the other.  They
 * have a queue of their own where the device has a second one (best one that only copies).  A copy
 * waits for all work that was submitted before it, which may read what it replaces, and for the
 * copy before it; work that is submitted after it waits for the copy.  Work and copies do so by
 * timeline semaphores, which also make the bytes visible. */
#include "env.h"
#include "gpu_internal.h"
#include "trace.h"

static apus_status open_stage(apus_gpu *gpu, apusi_stage *s)
{
    apus_status st = APUS_OK;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = gpu->physical.copy_family,
    };

    if (!s->buffer.handle)
        APUS_TRY(apus_buffer_create(gpu, &s->buffer, APUSI_STAGE_BYTES, APUS_MEMORY_HOST, "stage"));
    if (!s->pool)
        APUSI_VK(gpu, "vkCreateCommandPool",
                 gpu->vk.vkCreateCommandPool(gpu->device, &pool, NULL, &s->pool));
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = s->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    if (!s->commands)
        APUSI_VK(gpu, "vkAllocateCommandBuffers",
                 gpu->vk.vkAllocateCommandBuffers(gpu->device, &info, &s->commands));
fail:
    return st;
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

static apus_status record(apus_gpu *gpu, const apusi_stage *s, const apus_buffer *b, uint64_t at,
                          uint64_t bytes)
{
    apus_status st = APUS_OK;
    const apusi_buffer *from = s->buffer.handle, *to = b->handle;
    const VkCommandBufferBeginInfo begin = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
        .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
    };
    /* Behind the copy before, which may have written to the same bytes. */
    const VkMemoryBarrier behind = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
    };
    const VkBufferCopy region = { .srcOffset = from->shift,
                                  .dstOffset = to->shift + at,
                                  .size = bytes };

    APUSI_VK(gpu, "vkResetCommandPool", gpu->vk.vkResetCommandPool(gpu->device, s->pool, 0));
    APUSI_VK(gpu, "vkBeginCommandBuffer", gpu->vk.vkBeginCommandBuffer(s->commands, &begin));
    gpu->vk.vkCmdPipelineBarrier(s->commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                                 VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &behind, 0, NULL, 0, NULL);
    gpu->vk.vkCmdCopyBuffer(s->commands, from->buffer, to->buffer, 1, &region);
    APUSI_VK(gpu, "vkEndCommandBuffer", gpu->vk.vkEndCommandBuffer(s->commands));
fail:
    return st;
}

/* Behind all work that was submitted. */
static apus_status submit(apus_gpu *gpu, apusi_stage *s)
{
    apus_status st = APUS_OK;
    apusi_upload *u = &gpu->upload;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
    const uint64_t value = u->submitted + 1, work = gpu->submitted;
    const VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = work > 0,
        .pWaitSemaphoreValues = &work,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = work > 0,
        .pWaitSemaphores = &gpu->timeline,
        .pWaitDstStageMask = &stage,
        .commandBufferCount = 1,
        .pCommandBuffers = &s->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &u->timeline,
    };

    if (apus_fault_now(APUS_FAULT_GPU_LOST))
        APUSI_VK(gpu, "vkQueueSubmit", VK_ERROR_DEVICE_LOST);
    APUSI_VK(gpu, "vkQueueSubmit", gpu->vk.vkQueueSubmit(u->queue, 1, &info, VK_NULL_HANDLE));
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
        APUS_FORWARD(record(gpu, s, b, at, n));
        APUS_FORWARD(submit(gpu, s));
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

        if (s->pool)
            gpu->vk.vkDestroyCommandPool(gpu->device, s->pool, NULL);
        apus_buffer_destroy(gpu, &s->buffer);
        *s = (apusi_stage) { 0 };
    }
}
