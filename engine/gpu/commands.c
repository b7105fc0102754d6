/* commands.c - recording: dispatches, barriers, copies, fills, timestamps.
 *
 * A list opens with a barrier against everything before it on the queue and closes with one that
 * shows its writes to the host, so lists can be submitted in any order and again and again. */
#include <stdarg.h>
#include <stdio.h>

#include "gpu_internal.h"

apus_status apusi_commands_create(apus_gpu *gpu, apus_commands **out, bool copies)
{
    apus_status st = APUS_OK;
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .queueFamilyIndex = copies ? gpu->physical.copy_family : gpu->physical.family,
    };
    apus_commands *c = apus_alloc(sizeof(*c));

    *out = NULL;
    if (!c)
        return APUS_ERR_MEMORY;
    c->gpu = gpu;
    c->copies = copies;
    APUSI_VK(gpu, "vkCreateCommandPool",
             gpu->vk.vkCreateCommandPool(gpu->device, &pool, NULL, &c->pool));
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = c->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    APUSI_VK(gpu, "vkAllocateCommandBuffers",
             gpu->vk.vkAllocateCommandBuffers(gpu->device, &info, &c->buffer));
    *out = c;
    return APUS_OK;

fail:
    apus_commands_destroy(&c);
    return st;
}

apus_status apus_commands_create(apus_gpu *gpu, apus_commands **out)
{
    return apusi_commands_create(gpu, out, false);
}

void apus_commands_destroy(apus_commands **c_at)
{
    apus_commands *c = c_at ? *c_at : NULL;

    if (!c)
        return;
    for (uint32_t i = 0; i < c->n_pools; i++)
        c->gpu->vk.vkDestroyQueryPool(c->gpu->device, c->stamps[i], NULL);
    c->gpu->vk.vkDestroyQueryPool(c->gpu->device, c->whole, NULL);
    apus_free(c->stamps);
    c->gpu->vk.vkDestroyCommandPool(c->gpu->device, c->pool, NULL);
    apus_free(c);
    *c_at = NULL;
}

/* What writes: a queue that only copies knows no other stage. */
static void barrier(apus_commands *c, VkPipelineStageFlags stages, VkAccessFlags access)
{
    const VkMemoryBarrier memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask =
            (c->copies ? 0 : VK_ACCESS_SHADER_WRITE_BIT) | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = access,
    };
    const VkPipelineStageFlags from =
        (c->copies ? 0 : VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT) | VK_PIPELINE_STAGE_TRANSFER_BIT;

    c->gpu->vk.vkCmdPipelineBarrier(c->buffer, from, stages, 0, 1, &memory, 0, NULL, 0, NULL);
}

void apus_commands_barrier(apus_commands *c)
{
    VkPipelineStageFlags stages = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkAccessFlags access = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;

    if (!c->copies) {
        stages |= VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT;
        access |= VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                  VK_ACCESS_INDIRECT_COMMAND_READ_BIT;
    }
    barrier(c, stages, access);
}

static void stamp(apus_commands *c, VkQueryPool pool, uint32_t at)
{
    /* Both at the end of the pipe: the time from the end of what ran before to the end of this. */
    if (pool)
        c->gpu->vk.vkCmdWriteTimestamp(c->buffer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, at);
}

/* Without a pool the list is simply not timed. */
static void begin_whole(apus_commands *c)
{
    apus_gpu *gpu = c->gpu;
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = 2,
    };

    c->timed =
        c->timed && gpu->physical.caps.timestamps &&
        (c->whole || gpu->vk.vkCreateQueryPool(gpu->device, &info, NULL, &c->whole) == VK_SUCCESS);
    if (!c->timed)
        return;
    gpu->vk.vkCmdResetQueryPool(c->buffer, c->whole, 0, 2);
    stamp(c, c->whole, 0);
}

apus_status apus_commands_begin(apus_commands *c)
{
    apus_status st = APUS_OK;
    const VkCommandBufferBeginInfo info = { .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO };

    c->recording = false;
    APUSI_VK(c->gpu, "vkResetCommandPool",
             c->gpu->vk.vkResetCommandPool(c->gpu->device, c->pool, 0));
    APUSI_VK(c->gpu, "vkBeginCommandBuffer", c->gpu->vk.vkBeginCommandBuffer(c->buffer, &info));
    c->recording = true;
    c->failed = APUS_OK;
    c->bound = VK_NULL_HANDLE;
    c->n_stamps = 0;
    c->last_kernel[0] = 0;
    apus_commands_barrier(c);
    begin_whole(c);
fail:
    return st;
}

apus_status apus_commands_end(apus_commands *c)
{
    apus_status st = APUS_OK;

    APUS_BUG_IF(!c->recording);
    c->recording = false;
    if (c->timed)
        stamp(c, c->whole, 1);
    barrier(c, VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT);
    APUSI_VK(c->gpu, "vkEndCommandBuffer", c->gpu->vk.vkEndCommandBuffer(c->buffer));
    if (c->failed != APUS_OK)
        return apus_fail(c->failed, "%s", c->failure);
fail:
    return st;
}

/* Remember the first failure of a call that returns nothing. */
static void poison(apus_commands *c, const char *fmt, ...) APUS_PRINTF(2, 3);
static void poison(apus_commands *c, const char *fmt, ...)
{
    va_list args;

    if (c->failed != APUS_OK)
        return;
    c->failed = APUS_ERR_ARG;
    va_start(args, fmt);
    vsnprintf(c->failure, sizeof(c->failure), fmt, args);
    va_end(args);
}

/* The buffer behind a range, or NULL with the list poisoned. */
static const apusi_buffer *range(apus_commands *c, const apus_buffer *b, uint64_t at,
                                 uint64_t bytes, const char *what)
{
    if (!b || !b->handle || at > b->bytes || bytes > b->bytes - at) {
        poison(c, "%s of %llu bytes at %llu of a buffer of %llu", what, (unsigned long long)bytes,
               (unsigned long long)at, b ? (unsigned long long)b->bytes : 0ull);
        return NULL;
    }
    return b->handle;
}

/* The next two queries, in a pool that was reset by this recording; or VK_NULL_HANDLE. */
static VkQueryPool next_stamps(apus_commands *c, uint32_t *at)
{
    apus_gpu *gpu = c->gpu;
    const uint32_t pool_at = c->n_stamps / APUSI_STAMPS;

    if (!c->profile || !gpu->physical.caps.timestamps || c->n_stamps >= APUSI_MOST_STAMPS)
        return VK_NULL_HANDLE;
    if (pool_at == c->n_pools) {
        const VkQueryPoolCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
            .queryType = VK_QUERY_TYPE_TIMESTAMP,
            .queryCount = APUSI_STAMPS,
        };
        VkQueryPool *grown = apus_realloc(c->stamps, (c->n_pools + 1) * sizeof(VkQueryPool));

        if (!grown)
            return VK_NULL_HANDLE;
        c->stamps = grown;
        if (gpu->vk.vkCreateQueryPool(gpu->device, &info, NULL, &c->stamps[pool_at]) != VK_SUCCESS)
            return VK_NULL_HANDLE;
        c->n_pools++;
    }
    *at = c->n_stamps % APUSI_STAMPS;
    if (*at == 0)
        gpu->vk.vkCmdResetQueryPool(c->buffer, c->stamps[pool_at], 0, APUSI_STAMPS);
    return c->stamps[pool_at];
}

/* Bind, push; the dispatch follows. */
static apus_status prepare(apus_commands *c, const apus_kernel_key *key, const void *push,
                           uint32_t push_bytes)
{
    apus_gpu *gpu = c->gpu;
    VkPipeline pipeline;

    APUS_BUG_IF(!c->recording);
    if (push_bytes > APUSI_PUSH_BYTES || push_bytes % 4 != 0)
        return apus_fail(APUS_ERR_ARG, "kernel %s: %u bytes of arguments", key->name, push_bytes);
    APUS_FORWARD(apusi_kernel_get(gpu, key, &pipeline));
    if (pipeline != c->bound) {
        gpu->vk.vkCmdBindPipeline(c->buffer, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
        c->bound = pipeline;
    }
    if (push_bytes > 0)
        gpu->vk.vkCmdPushConstants(c->buffer, gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                   push_bytes, push);
    snprintf(c->last_kernel, sizeof(c->last_kernel), "%s", key->name);
    return APUS_OK;
}

apus_status apus_commands_dispatch(apus_commands *c, const apus_kernel_key *key, const void *push,
                                   uint32_t push_bytes, const uint32_t groups[3])
{
    const uint32_t *most = c->gpu->physical.caps.max_groups;
    uint32_t at = 0;

    for (int i = 0; i < 3; i++)
        if (groups[i] == 0 || groups[i] > most[i])
            return apus_fail(APUS_ERR_ARG,
                             "kernel %s: a grid of %ux%ux%u workgroups, %s allows "
                             "1 to %ux%ux%u",
                             key->name, groups[0], groups[1], groups[2], c->gpu->physical.caps.name,
                             most[0], most[1], most[2]);
    APUS_FORWARD(prepare(c, key, push, push_bytes));
    const VkQueryPool pool = next_stamps(c, &at);
    stamp(c, pool, at);
    c->gpu->vk.vkCmdDispatch(c->buffer, groups[0], groups[1], groups[2]);
    stamp(c, pool, at + 1);
    c->n_stamps += pool ? 2 : 0;
    return APUS_OK;
}

apus_status apus_commands_dispatch_indirect(apus_commands *c, const apus_kernel_key *key,
                                            const void *push, uint32_t push_bytes,
                                            const apus_buffer *grids, uint64_t at)
{
    const apusi_buffer *b = grids->handle;
    uint32_t first = 0;

    if (!b || at % 4 != 0 || grids->bytes < 12 || at > grids->bytes - 12)
        return apus_fail(APUS_ERR_ARG, "kernel %s: a grid at %llu of a buffer of %llu bytes",
                         key->name, (unsigned long long)at, (unsigned long long)grids->bytes);
    APUS_FORWARD(prepare(c, key, push, push_bytes));
    const VkQueryPool pool = next_stamps(c, &first);
    stamp(c, pool, first);
    c->gpu->vk.vkCmdDispatchIndirect(c->buffer, b->buffer, b->shift + at);
    stamp(c, pool, first + 1);
    c->n_stamps += pool ? 2 : 0;
    return APUS_OK;
}

void apus_commands_copy(apus_commands *c, const apus_buffer *from, uint64_t from_at,
                        const apus_buffer *to, uint64_t to_at, uint64_t bytes)
{
    if (bytes == 0)
        return;
    const apusi_buffer *src = range(c, from, from_at, bytes, "copy");
    const apusi_buffer *dst = range(c, to, to_at, bytes, "copy");

    if (!src || !dst)
        return;
    const VkBufferCopy region = { src->shift + from_at, dst->shift + to_at, bytes };
    c->gpu->vk.vkCmdCopyBuffer(c->buffer, src->buffer, dst->buffer, 1, &region);
}

void apus_commands_fill(apus_commands *c, const apus_buffer *b, uint64_t at, uint64_t bytes,
                        uint32_t word)
{
    if (bytes == 0)
        return;
    const apusi_buffer *dst = range(c, b, at, bytes, "fill");

    if (!dst)
        return;
    if (at % 4 != 0 || bytes % 4 != 0) {
        poison(c, "fill of %llu bytes at %llu: not whole words", (unsigned long long)bytes,
               (unsigned long long)at);
        return;
    }
    c->gpu->vk.vkCmdFillBuffer(c->buffer, dst->buffer, dst->shift + at, bytes, word);
}

void apus_commands_profile(apus_commands *c, bool on)
{
    c->profile = on;
}

void apus_commands_time(apus_commands *c, bool on)
{
    c->timed = on;
}

static uint64_t mask_of(const apus_gpu *gpu)
{
    const uint32_t bits = gpu->physical.timestamp_bits;

    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* Without WAIT: a device that never writes them is then 'no times', not a hang. */
static VkResult read_ticks(apus_commands *c, VkQueryPool pool, uint32_t n, uint64_t *ticks)
{
    return c->gpu->vk.vkGetQueryPoolResults(c->gpu->device, pool, 0, n, n * sizeof(uint64_t), ticks,
                                            sizeof(uint64_t), VK_QUERY_RESULT_64_BIT);
}

bool apusi_commands_ticks(apus_commands *c, uint64_t ticks[2])
{
    return c->timed && read_ticks(c, c->whole, 2, ticks) == VK_SUCCESS;
}

bool apus_commands_ns(apus_commands *c, double *ns)
{
    uint64_t ticks[2];

    if (!apusi_commands_ticks(c, ticks))
        return false;
    *ns = (double)((ticks[1] - ticks[0]) & mask_of(c->gpu)) * c->gpu->physical.caps.ns_per_tick;
    return true;
}

bool apus_commands_span(apus_commands *c, apus_span *out)
{
    uint64_t ticks[2];

    if (!c->gpu->clock.known || !apusi_commands_ticks(c, ticks))
        return false;
    out->begin_ns = apusi_clock_host_ns(c->gpu, ticks[0]);
    out->end_ns = apusi_clock_host_ns(c->gpu, ticks[1]);
    return true;
}

/* Call back with the two ticks of each dispatch, in order, at most `room`; *n of them. */
static apus_status each_dispatch(apus_commands *c, uint32_t room, uint32_t *n,
                                 void (*take)(apus_commands *c, void *to, uint32_t at,
                                              const uint64_t ticks[2]),
                                 void *to)
{
    apus_status st = APUS_OK;
    uint64_t ticks[APUSI_STAMPS];

    *n = 0;
    for (uint32_t first = 0; first < c->n_stamps; first += APUSI_STAMPS) {
        const uint32_t count =
            c->n_stamps - first < APUSI_STAMPS ? c->n_stamps - first : APUSI_STAMPS;
        const VkResult result = read_ticks(c, c->stamps[first / APUSI_STAMPS], count, ticks);

        if (result == VK_NOT_READY) {
            *n = 0;
            return APUS_OK;
        }
        APUSI_VK(c->gpu, "vkGetQueryPoolResults", result);
        for (uint32_t i = 0; i + 1 < count && *n < room; i += 2)
            take(c, to, (*n)++, ticks + i);
    }
fail:
    return st;
}

static void take_ns(apus_commands *c, void *to, uint32_t at, const uint64_t ticks[2])
{
    double *ns = to;

    ns[at] = (double)((ticks[1] - ticks[0]) & mask_of(c->gpu)) * c->gpu->physical.caps.ns_per_tick;
}

apus_status apus_commands_times(apus_commands *c, double *ns, uint32_t room, uint32_t *n)
{
    return each_dispatch(c, room, n, take_ns, ns);
}

static void take_span(apus_commands *c, void *to, uint32_t at, const uint64_t ticks[2])
{
    apus_span *spans = to;

    spans[at].begin_ns = apusi_clock_host_ns(c->gpu, ticks[0]);
    spans[at].end_ns = apusi_clock_host_ns(c->gpu, ticks[1]);
}

apus_status apus_commands_spans(apus_commands *c, apus_span *spans, uint32_t room, uint32_t *n)
{
    *n = 0;
    return c->gpu->clock.known ? each_dispatch(c, room, n, take_span, spans) : APUS_OK;
}
