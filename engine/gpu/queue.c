/* queue.c - submission and waiting by one timeline semaphore: ticket n is done when it reaches
 * n. */
#include <stdio.h>

#include "env.h"
#include "gpu_internal.h"
#include "trace.h"

#define SETTLE_NS (10ull * 1000 * 1000 * 1000)

VkResult apusi_submit(apus_gpu *gpu, VkQueue queue, const VkCommandBuffer *buffers, uint32_t n,
                      VkSemaphore other, uint64_t wait, VkSemaphore timeline, uint64_t value)
{
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkTimelineSemaphoreSubmitInfo values = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = wait > 0,
        .pWaitSemaphoreValues = &wait,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value,
    };
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &values,
        .waitSemaphoreCount = wait > 0,
        .pWaitSemaphores = &other,
        .pWaitDstStageMask = &stages,
        .commandBufferCount = n,
        .pCommandBuffers = buffers,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &timeline,
    };

    if (apus_fault_now(APUS_FAULT_GPU_LOST))
        return VK_ERROR_DEVICE_LOST;
    return gpu->vk.vkQueueSubmit(queue, 1, &info, VK_NULL_HANDLE);
}

static apus_status submit_some(apus_gpu *gpu, apus_commands *const *lists, uint32_t n)
{
    apus_status st = APUS_OK;
    VkCommandBuffer buffers[APUS_SUBMIT_LISTS];
    const uint64_t value = gpu->submitted + 1, began = apus_trace_begin();
    /* What was uploaded is waited for once: later submissions stand behind this one. */
    const uint64_t uploads = gpu->upload.submitted;
    const uint64_t wait = gpu->upload.awaited < uploads ? uploads : 0;

    for (uint32_t i = 0; i < n; i++) {
        APUS_BUG_IF(lists[i]->gpu != gpu || lists[i]->recording || lists[i]->copies);
        buffers[i] = lists[i]->buffer;
        if (lists[i]->last_kernel[0])
            snprintf(gpu->last_kernel, sizeof(gpu->last_kernel), "%s", lists[i]->last_kernel);
    }
    APUSI_VK(gpu, "vkQueueSubmit",
             apusi_submit(gpu, gpu->queue, buffers, n, gpu->upload.timeline, wait, gpu->timeline,
                          value));
    gpu->submitted = value;
    gpu->upload.awaited = uploads;
    apus_trace_end(began, "submit", NULL, "submission", value);
fail:
    return st;
}

apus_status apus_gpu_submit(apus_gpu *gpu, apus_commands *const *lists, uint32_t n,
                            uint64_t *ticket)
{
    *ticket = gpu->submitted;
    if (gpu->lost) /* described when it was seen */
        return APUS_ERR_LOST;
    for (uint32_t at = 0; at < n; at += APUS_SUBMIT_LISTS)
        APUS_FORWARD(
            submit_some(gpu, lists + at, n - at < APUS_SUBMIT_LISTS ? n - at : APUS_SUBMIT_LISTS));
    *ticket = gpu->submitted;
    return APUS_OK;
}

VkResult apusi_wait_for(apus_gpu *gpu, VkSemaphore timeline, uint64_t ticket, uint64_t timeout_ns)
{
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &timeline,
        .pValues = &ticket,
    };

    if (apus_fault_now(APUS_FAULT_GPU_LOST))
        return VK_ERROR_DEVICE_LOST;
    return gpu->vk.vkWaitSemaphores(gpu->device, &info, timeout_ns);
}

/* A lost device answers its last wait at once, as it must.  Where a driver has lost a part of it,
 * the rest may still write, and its buffers are freed next: it is given some time, not for ever. */
void apusi_lost(apus_gpu *gpu)
{
    if (gpu->lost)
        return;
    gpu->lost = true;
    if (gpu->timeline)
        apusi_wait_for(gpu, gpu->timeline, gpu->submitted, SETTLE_NS);
    if (gpu->upload.timeline)
        apusi_wait_for(gpu, gpu->upload.timeline, gpu->upload.submitted, SETTLE_NS);
}

/* vkWaitSemaphores, never the counter: drivers that run nothing leave the counter at 0. */
apus_status apus_gpu_wait(apus_gpu *gpu, uint64_t ticket, uint64_t timeout_ns)
{
    apus_status st = APUS_OK;

    if (gpu->lost) /* described when it was seen */
        return APUS_ERR_LOST;
    if (ticket > gpu->submitted)
        return apus_fail(APUS_ERR_ARG, "wait for submission %llu of %llu",
                         (unsigned long long)ticket, (unsigned long long)gpu->submitted);
    const uint64_t began = apus_trace_begin();
    const VkResult result =
        apusi_wait_for(gpu, gpu->timeline, ticket, timeout_ns ? timeout_ns : UINT64_MAX);
    apus_trace_end(began, "wait", NULL, "submission", ticket);
    if (result == VK_TIMEOUT)
        return apus_fail(APUS_ERR_DEVICE, "%s: not done after %.3f s%s%s", gpu->physical.caps.name,
                         (double)timeout_ns * 1e-9, gpu->last_kernel[0] ? ", last kernel: " : "",
                         gpu->last_kernel);
    APUSI_VK(gpu, "vkWaitSemaphores", result);
    if (ticket == gpu->submitted && gpu->upload.done < gpu->upload.awaited)
        gpu->upload.done = gpu->upload.awaited; /* that work waited for it */
    const uint32_t messages = apus_gpu_validation_count(gpu);
    if (messages > 0)
        return apus_fail(APUS_ERR_DEVICE, "%s: %u messages of the validation layer, see the log",
                         gpu->physical.caps.name, messages);
fail:
    return st;
}
