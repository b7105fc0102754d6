/* memory.c - buffers: one allocation each, found again by address; reading them.
 *
 * The engine plans its own memory inside a few large buffers, so a Vulkan allocation for each
 * buffer stays far below the 4,096 that drivers allow.  Memory of discrete GPUs is not mapped
 * even where it could be (resizable BAR): reads over the bus are slow, and writes go as fast
 * through stages (upload.c). */
#include <stdio.h>

#include "env.h"
#include "gpu_internal.h"
#include "trace.h"

#define STAGING_BYTES (8ull << 20)

/* Memory types to try, best first; returns how many. */
static uint32_t candidates(const apus_gpu *gpu, uint32_t allowed, apus_memory kind, uint32_t *order)
{
    const VkMemoryPropertyFlags mapped =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const bool shared = gpu->physical.caps.integrated;
    const bool device = kind == APUS_MEMORY_DEVICE;
    int scores[VK_MAX_MEMORY_TYPES];
    uint32_t n = 0;

    for (uint32_t i = 0; i < gpu->memory.memoryTypeCount; i++) {
        const VkMemoryPropertyFlags f = gpu->memory.memoryTypes[i].propertyFlags;
        const bool local = f & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
        const bool maps = (f & mapped) == mapped;
        const bool cached = f & VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
        int score = 1;

        if (!(allowed >> i & 1u) || f & VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT ||
            f & VK_MEMORY_PROPERTY_PROTECTED_BIT)
            continue;
        if (device ? !local && !shared : !maps)
            continue; /* a discrete GPU never falls back to the host's memory unseen */
        if (device)
            score += (local ? 8 : 0) + (maps == shared ? 4 : 0) + (cached && shared ? 2 : 0);
        else
            score += (cached ? 8 : 0) + (local == shared ? 4 : 0);
        uint32_t at = n++;
        while (at > 0 && scores[at - 1] < score) {
            scores[at] = scores[at - 1];
            order[at] = order[at - 1];
            at--;
        }
        scores[at] = score;
        order[at] = i;
    }
    return n;
}

/* The first entry of the table whose address is not below `address`. */
static uint32_t lower_bound(const apus_gpu *gpu, apus_addr address)
{
    uint32_t low = 0, high = gpu->n_live;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;

        if (gpu->live[middle]->pub.address < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static apus_status insert_live(apus_gpu *gpu, apusi_buffer *b)
{
    APUS_FORWARD(apus_grow(&gpu->live, gpu->n_live, 1, &gpu->live_room, sizeof(b)));
    const uint32_t at = lower_bound(gpu, b->pub.address);
    memmove(gpu->live + at + 1, gpu->live + at, (gpu->n_live - at) * sizeof(*gpu->live));
    gpu->live[at] = b;
    gpu->n_live++;
    return APUS_OK;
}

const apus_buffer *apus_gpu_buffer_at(const apus_gpu *gpu, apus_addr address, uint64_t bytes)
{
    const uint32_t after = address == UINT64_MAX ? gpu->n_live : lower_bound(gpu, address + 1);

    if (after == 0)
        return NULL;
    const apus_buffer *b = &gpu->live[after - 1]->pub;
    const uint64_t at = address - b->address;
    return at <= b->bytes && bytes <= b->bytes - at ? b : NULL;
}

static void count_usage(apus_gpu *gpu, const apusi_buffer *b, bool add)
{
    apus_gpu_usage *u = &gpu->usage;
    uint64_t *now = b->device ? &u->device : &u->host;
    uint64_t *peak = b->device ? &u->device_peak : &u->host_peak;

    if (add) {
        *now += b->allocated;
        gpu->heap_used[b->heap] += b->allocated;
    } else {
        *now -= b->allocated;
        gpu->heap_used[b->heap] -= b->allocated;
    }
    if (*now > *peak)
        *peak = *now;
}

static void free_buffer(apus_gpu *gpu, apusi_buffer *b)
{
    if (!b)
        return;
    if (gpu->count_only) {
        apus_free(b->pub.host);
    } else {
        gpu->vk.vkDestroyBuffer(gpu->device, b->buffer, NULL);
        gpu->vk.vkFreeMemory(gpu->device, b->memory, NULL); /* unmaps */
    }
    apus_free(b);
}

static apus_status too_large(const apus_gpu *gpu, uint64_t bytes, const char *name)
{
    return apus_fail(APUS_ERR_MEMORY,
                     "buffer '%s' of %.2f MiB: %s allows at most %.2f MiB in one allocation", name,
                     (double)bytes / 1048576.0, gpu->physical.caps.name,
                     (double)gpu->physical.caps.max_alloc / 1048576.0);
}

/* Try the memory types in order.  Sizes are compared with the heap first: NVK crashes on
 * allocations far beyond it, and llvmpipe grants any. */
static apus_status allocate(apus_gpu *gpu, apusi_buffer *b, apus_memory kind, const char *name)
{
    VkMemoryRequirements need;
    uint32_t order[VK_MAX_MEMORY_TYPES];
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    uint64_t most_free = 0;

    gpu->vk.vkGetBufferMemoryRequirements(gpu->device, b->buffer, &need);
    const uint32_t n = candidates(gpu, need.memoryTypeBits, kind, order);
    const bool fault = apus_fault_now(APUS_FAULT_GPU_ALLOC);

    for (uint32_t i = 0; i < n && !fault; i++) {
        const VkMemoryType *type = &gpu->memory.memoryTypes[order[i]];
        const uint64_t heap =
            apusi_heap_bytes(&gpu->physical.caps, gpu->memory.memoryHeaps[type->heapIndex].size);
        const uint64_t used = gpu->heap_used[type->heapIndex];
        const VkMemoryAllocateFlagsInfo flags = {
            .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
            .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
        };
        const VkMemoryAllocateInfo info = {
            .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
            .pNext = &flags,
            .allocationSize = need.size,
            .memoryTypeIndex = order[i],
        };

        if (heap > used && heap - used > most_free)
            most_free = heap - used;
        if (used > heap || need.size > heap - used || need.size > gpu->physical.caps.max_alloc)
            continue;
        result = gpu->vk.vkAllocateMemory(gpu->device, &info, NULL, &b->memory);
        if (result == VK_SUCCESS) {
            b->heap = type->heapIndex;
            b->allocated = need.size;
            if ((type->propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0 ||
                (kind == APUS_MEMORY_DEVICE && gpu->staged))
                return APUS_OK;
            result = gpu->vk.vkMapMemory(gpu->device, b->memory, 0, VK_WHOLE_SIZE, 0, &b->pub.host);
            if (result != VK_SUCCESS)
                return apusi_vk_fail(gpu, result, "vkMapMemory");
            return APUS_OK;
        }
        b->memory = VK_NULL_HANDLE;
    }
    if (need.size > gpu->physical.caps.max_alloc)
        return too_large(gpu, need.size, name);
    return apus_fail(APUS_ERR_MEMORY,
                     "buffer '%s' of %.2f MiB: %s; %.2f MiB of %s memory are in use, %.2f MiB free",
                     name, (double)need.size / 1048576.0, apusi_result_text(result),
                     (double)(kind == APUS_MEMORY_DEVICE ? gpu->usage.device : gpu->usage.host) /
                         1048576.0,
                     kind == APUS_MEMORY_DEVICE ? "device" : "host", (double)most_free / 1048576.0);
}

/* A buffer of a device that only counts: its bytes and an address; host memory is there, since it
 * is small and written to by pointer. */
static apus_status count_buffer(apus_gpu *gpu, apusi_buffer *b, apus_memory memory,
                                const char *name)
{
    b->allocated = apus_round_up(b->pub.bytes, APUSI_ADDRESS_ALIGN);
    if (b->allocated > gpu->physical.caps.max_alloc)
        return too_large(gpu, b->allocated, name);
    if (memory == APUS_MEMORY_HOST && !(b->pub.host = apus_calloc(b->pub.bytes, 1)))
        return APUS_ERR_MEMORY;
    gpu->next_address += APUSI_ADDRESS_ALIGN;
    b->pub.address = gpu->next_address;
    gpu->next_address += b->allocated;
    return APUS_OK;
}

apus_status apus_buffer_create(apus_gpu *gpu, apus_buffer *out, uint64_t bytes, apus_memory memory,
                               const char *name)
{
    apus_status st;
    apusi_buffer *b = NULL;

    memset(out, 0, sizeof(*out));
    name = name ? name : "unnamed";
    if (bytes == 0)
        return apus_fail(APUS_ERR_ARG, "buffer '%s' of 0 bytes", name);
    if (bytes > UINT64_MAX / 2)
        return apus_fail(APUS_ERR_MEMORY, "buffer '%s' is larger than any memory", name);
    b = apus_alloc(sizeof(*b));
    if (!b)
        return APUS_ERR_MEMORY;
    b->pub = (apus_buffer) { .bytes = bytes, .handle = b };
    b->device = memory == APUS_MEMORY_DEVICE;

    const apusi_physical *p = &gpu->physical;
    const uint32_t families[] = { p->family, p->copy_family };
    const bool apart = p->family != p->copy_family;
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .sharingMode = apart ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = apart ? 2 : 0,
        .pQueueFamilyIndices = families,
        /* Whole words, so that fills and 32-bit loads of the last bytes stay inside. */
        .size = apus_round_up(bytes, 4),
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
                 VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
    };
    /* Drivers align allocations to pages; where one does not, the buffer is made a little larger
     * and starts inside. */
    for (int again = 0; again < 2 && !gpu->count_only; again++) {
        APUSI_VK(gpu, name, gpu->vk.vkCreateBuffer(gpu->device, &info, NULL, &b->buffer));
        APUS_TRY(allocate(gpu, b, memory, name));
        APUSI_VK(gpu, name, gpu->vk.vkBindBufferMemory(gpu->device, b->buffer, b->memory, 0));
        const VkBufferDeviceAddressInfo address = {
            .sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = b->buffer
        };
        const uint64_t start = gpu->vk.vkGetBufferDeviceAddress(gpu->device, &address);
        b->pub.address = apus_round_up(start, APUSI_ADDRESS_ALIGN);
        b->shift = b->pub.address - start;
        if (b->shift == 0 || again)
            break;
        gpu->vk.vkDestroyBuffer(gpu->device, b->buffer, NULL);
        gpu->vk.vkFreeMemory(gpu->device, b->memory, NULL);
        b->buffer = VK_NULL_HANDLE;
        b->memory = VK_NULL_HANDLE;
        b->pub.host = NULL;
        info.size += APUSI_ADDRESS_ALIGN;
    }
    if (gpu->count_only)
        APUS_TRY(count_buffer(gpu, b, memory, name));
    else if (b->pub.host)
        b->pub.host = (char *)b->pub.host + b->shift;
    APUS_TRY(insert_live(gpu, b));
    count_usage(gpu, b, true);
    if (!gpu->count_only)
        apusi_name(gpu, VK_OBJECT_TYPE_BUFFER, (uint64_t)b->buffer, name);
    *out = b->pub;
    return APUS_OK;

fail:
    free_buffer(gpu, b);
    return st;
}

void apus_buffer_destroy(apus_gpu *gpu, apus_buffer *buffer)
{
    apusi_buffer *b = buffer->handle;

    if (!b)
        return;
    if (b->device) /* a lost device copies nothing any more */
        (void)apusi_upload_wait(gpu);
    uint32_t at = lower_bound(gpu, b->pub.address);
    while (at < gpu->n_live && gpu->live[at] != b)
        at++;
    APUS_BUG_IF(at == gpu->n_live);
    gpu->n_live--;
    memmove(gpu->live + at, gpu->live + at + 1, (gpu->n_live - at) * sizeof(apusi_buffer *));
    count_usage(gpu, b, false);
    free_buffer(gpu, b);
    memset(buffer, 0, sizeof(*buffer));
}

apus_gpu_usage apus_gpu_memory(const apus_gpu *gpu)
{
    return gpu->usage;
}

uint64_t apus_gpu_host_heap(const apus_gpu *gpu)
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < gpu->memory.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &gpu->memory.memoryHeaps[i];
        const uint64_t bytes = apusi_heap_bytes(&gpu->physical.caps, heap->size);
        if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && bytes > most)
            most = bytes;
    }
    return most ? most : UINT64_MAX;
}

static apus_status open_staging(apus_gpu *gpu)
{
    apus_status st = APUS_OK;

    if (!gpu->staging.handle)
        APUS_TRY(
            apus_buffer_create(gpu, &gpu->staging, STAGING_BYTES, APUS_MEMORY_HOST, "staging"));
    if (!gpu->staging_commands)
        APUS_TRY(apus_commands_create(gpu, &gpu->staging_commands));
fail:
    return st;
}

/* One chunk of `b` into the staging buffer, waited for. */
static apus_status fetch_chunk(apus_gpu *gpu, const apus_buffer *b, uint64_t at, uint64_t bytes)
{
    apus_commands *c = gpu->staging_commands;
    const uint64_t began = apus_trace_begin();
    uint64_t ticket;

    apus_commands_time(c, gpu->clock.traced);
    APUS_FORWARD(apus_commands_begin(c));
    apus_commands_copy(c, b, at, &gpu->staging, 0, bytes);
    APUS_FORWARD(apus_commands_end(c));
    APUS_FORWARD(apus_gpu_submit(gpu, &c, 1, &ticket));
    APUS_FORWARD(apus_gpu_wait(gpu, ticket, 0));
    apusi_clock_trace(gpu, c, "copy", ticket, began);
    apus_trace_end(began, "read back", NULL, "bytes", bytes);
    return APUS_OK;
}

static apus_status check_range(const apus_buffer *b, uint64_t at, uint64_t bytes, const char *what)
{
    if (!b->handle || at > b->bytes || bytes > b->bytes - at)
        return apus_fail(APUS_ERR_ARG, "%s %llu bytes at %llu of a buffer of %llu", what,
                         (unsigned long long)bytes, (unsigned long long)at,
                         (unsigned long long)b->bytes);
    return APUS_OK;
}

apus_status apus_buffer_write(apus_gpu *gpu, const apus_buffer *b, uint64_t at, const void *src,
                              uint64_t bytes)
{
    APUS_FORWARD(check_range(b, at, bytes, "write"));
    if (bytes == 0)
        return APUS_OK;
    if (b->host) {
        memcpy((char *)b->host + at, src, bytes);
        return APUS_OK;
    }
    return gpu->count_only ? APUS_OK : apusi_upload_write(gpu, b, at, src, bytes);
}

apus_status apus_buffer_read(apus_gpu *gpu, const apus_buffer *b, uint64_t at, void *dst,
                             uint64_t bytes)
{
    char *to = dst;

    APUS_FORWARD(check_range(b, at, bytes, "read"));
    if (bytes == 0)
        return APUS_OK;
    if (b->host) {
        memcpy(dst, (const char *)b->host + at, bytes);
        return APUS_OK;
    }
    if (gpu->count_only) {
        memset(dst, 0, bytes);
        return APUS_OK;
    }
    APUS_FORWARD(open_staging(gpu));
    while (bytes > 0) {
        const uint64_t n = bytes < STAGING_BYTES ? bytes : STAGING_BYTES;

        APUS_FORWARD(fetch_chunk(gpu, b, at, n));
        memcpy(to, gpu->staging.host, n);
        to += n;
        at += n;
        bytes -= n;
    }
    return APUS_OK;
}

void apusi_memory_release(apus_gpu *gpu)
{
    apusi_upload_release(gpu);
    apus_commands_destroy(&gpu->staging_commands);
    apus_buffer_destroy(gpu, &gpu->staging);
    while (gpu->n_live > 0) { /* what the owner forgot; the device must not outlive it */
        apus_buffer b = gpu->live[gpu->n_live - 1]->pub;

        apus_buffer_destroy(gpu, &b);
    }
    apus_free(gpu->live);
    gpu->live = NULL;
}
