/* device.c - choosing a physical device, opening and closing it. */
#include <ctype.h>
#include <stdio.h>

#include "classes.h"
#include "env.h"
#include "gpu_internal.h"
#include "str.h"

/* How much a device is preferred when none was named; higher is better. */
static int rank(const apusi_physical *p)
{
    switch (p->type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 0;
    default:
        return 1;
    }
}

static bool contains_nocase(const char *text, const char *part)
{
    const size_t n = strlen(part);

    for (; *text; text++) {
        size_t i = 0;

        while (i < n && text[i] &&
               tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n)
            return true;
    }
    return false;
}

/* "0123abcd-..." with or without dashes against the 16 bytes of a uuid. */
static bool is_uuid(const char *text, const uint8_t uuid[16])
{
    char hex[33];
    size_t n = 0;

    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
    for (; *text; text++) {
        if (*text == '-')
            continue;
        if (n >= 32 || tolower((unsigned char)*text) != hex[n])
            return false;
        n++;
    }
    return n == 32;
}

static bool is_index(const char *text, uint32_t *index)
{
    const size_t n = strlen(text);

    if (n == 0 || n > 4 || strspn(text, "0123456789") != n)
        return false;
    *index = (uint32_t)strtoul(text, NULL, 10);
    return true;
}

static apus_status no_such_device(const char *wanted, const apusi_physical *all, uint32_t n)
{
    apus_str have = { 0 };

    for (uint32_t i = 0; i < n; i++)
        apus_str_addf(&have, "%s%u: %s", i ? "; " : "", i, all[i].caps.name);
    const apus_status st = apus_fail(APUS_ERR_MISSING, "no device '%s'; there is %s", wanted,
                                     have.data && !have.failed ? have.data : "nothing");
    apus_str_release(&have);
    return st;
}

/* *at is the chosen one; a device that was named but cannot be used is an error. */
static apus_status choose(const char *wanted, const apusi_physical *all, uint32_t n, uint32_t *at)
{
    const bool named = wanted && wanted[0];
    uint32_t index = 0;
    int best = -1;

    if (named && is_index(wanted, &index)) {
        if (index >= n)
            return no_such_device(wanted, all, n);
        best = (int)index;
    }
    for (uint32_t i = 0; named && best < 0 && i < n; i++)
        if (is_uuid(wanted, all[i].caps.uuid))
            best = (int)i;
    /* Of several that have the words in their names, one that can be used. */
    for (uint32_t i = 0; named && i < n; i++)
        if (contains_nocase(all[i].caps.name, wanted) &&
            (best < 0 || (!all[best].usable && all[i].usable && !is_index(wanted, &index))))
            best = (int)i;
    for (uint32_t i = 0; !named && i < n; i++)
        if (best < 0 || all[i].usable > all[best].usable ||
            (all[i].usable == all[best].usable && rank(&all[i]) > rank(&all[best])))
            best = (int)i;
    if (best < 0)
        return no_such_device(wanted, all, n);
    if (!all[best].usable)
        return apus_fail(APUS_ERR_SUPPORT, "device %d, %s, cannot be used: %s", best,
                         all[best].caps.name, all[best].reason);
    *at = (uint32_t)best;
    return APUS_OK;
}

static apus_status create_device(apus_gpu *gpu)
{
    apusi_physical *p = &gpu->physical;
    const float priorities[2] = { 1.0f, 1.0f };
    const bool apart = p->copy_family != p->family;
    const VkDeviceQueueCreateInfo queues[2] = {
        { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
          .queueFamilyIndex = p->family,
          .queueCount = apart ? 1 : p->copy_index + 1,
          .pQueuePriorities = priorities },
        { .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
          .queueFamilyIndex = p->copy_family,
          .queueCount = 1,
          .pQueuePriorities = priorities },
    };
    const char *extensions[8];
    uint32_t n = 0;

    if (p->api < VK_API_VERSION_1_3) { /* core in 1.3 */
        if (p->extensions & APUSI_EXT_SUBGROUP_SIZE)
            extensions[n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
        if (p->extensions & APUSI_EXT_DOT)
            extensions[n++] = VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME;
    }
    /* Without their features the extensions stay off, and their structures out of the chain. */
    if (!p->features.coop.cooperativeMatrix)
        p->extensions &= ~(uint32_t)APUSI_EXT_COOP;
    if (!p->features.bf16.shaderBFloat16Type)
        p->extensions &= ~(uint32_t)APUSI_EXT_BF16;
    if (!gpu->statistics || !p->features.statistics.pipelineExecutableInfo)
        p->extensions &= ~(uint32_t)APUSI_EXT_STATISTICS;
    gpu->statistics = p->extensions & APUSI_EXT_STATISTICS;
    gpu->listings &= gpu->statistics;
    if (gpu->statistics)
        extensions[n++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    if (p->extensions & APUSI_EXT_COOP)
        extensions[n++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    if (p->extensions & APUSI_EXT_BF16)
        extensions[n++] = VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME;
    if (p->extensions & APUSI_EXT_BUDGET)
        extensions[n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (!apusi_clock_wanted(p, gpu->instance.handle))
        p->extensions &= ~(uint32_t)APUSI_EXT_CALIBRATED;
    if (p->extensions & APUSI_EXT_CALIBRATED)
        extensions[n++] = VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME;
    apusi_features_link(&p->features, p);
    if (!gpu->instance.gpu_assisted) {
        p->features.core.features.shaderInt64 = VK_FALSE;
        p->features.core.features.fragmentStoresAndAtomics = VK_FALSE;
        p->features.core.features.vertexPipelineStoresAndAtomics = VK_FALSE;
    }
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &p->features.core,
        .queueCreateInfoCount = apart ? 2 : 1,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = n,
        .ppEnabledExtensionNames = extensions,
    };
    const VkResult result = vkCreateDevice(p->handle, &info, NULL, &gpu->device);
    if (result != VK_SUCCESS) {
        gpu->device = VK_NULL_HANDLE;
        return apusi_vk_fail(gpu, result, "vkCreateDevice");
    }
    volkLoadDeviceTable(&gpu->vk, gpu->device);
    gpu->vk.vkGetDeviceQueue(gpu->device, p->family, 0, &gpu->queue);
    gpu->vk.vkGetDeviceQueue(gpu->device, p->copy_family, p->copy_index, &gpu->upload.queue);
    return APUS_OK;
}

static apus_status create_timeline(apus_gpu *gpu, VkSemaphore *out)
{
    apus_status st = APUS_OK;
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                         .pNext = &type };

    APUSI_VK(gpu, "vkCreateSemaphore", gpu->vk.vkCreateSemaphore(gpu->device, &info, NULL, out));
fail:
    return st;
}

/* A class in place of a device: no loader, no driver. */
static apus_status pretend(apus_gpu *gpu, const apus_gpu_params *params)
{
    gpu->count_only = true;
    APUS_FORWARD(apus_gpu_class_find(&gpu->device_class, params->device_class));
    return apusi_class_caps(&gpu->physical.caps, gpu->device_class, params->class_memory);
}

apus_status apus_gpu_create(apus_gpu **out, const apus_gpu_params *params)
{
    apus_status st;
    apusi_physical *all = NULL;
    uint32_t n = 0, at = 0;
    const char *wanted =
        params && params->device && params->device[0] ? params->device : apus_env_get(APUS_DEVICE);
    apus_gpu *gpu = apus_alloc(sizeof(*gpu));

    *out = NULL;
    if (!gpu)
        return APUS_ERR_MEMORY;
    if (params && params->device_class) {
        APUS_TRY(pretend(gpu, params));
        *out = gpu;
        return APUS_OK;
    }
    APUS_TRY(apusi_instance_open(&gpu->instance, params && params->validate));
    APUS_TRY(apusi_physical_list(&gpu->instance, &all, &n));
    APUS_TRY(choose(wanted, all, n, &at));
    gpu->physical = all[at];
    vkGetPhysicalDeviceMemoryProperties(gpu->physical.handle, &gpu->memory);
    gpu->staged = !gpu->physical.caps.integrated || apus_env_on(APUS_STAGED);
    if (!gpu->staged) { /* nothing is uploaded */
        gpu->physical.copy_family = gpu->physical.family;
        gpu->physical.copy_index = 0;
    }
    gpu->statistics = (params && params->statistics) || apus_env_get(APUS_STATISTICS)[0] == '1';
    gpu->listings = params && params->listings;
    apus_free(all);
    all = NULL;
    if (params && params->count_only) {
        gpu->count_only = true;
        *out = gpu;
        return APUS_OK;
    }
    APUS_TRY(create_device(gpu));
    APUS_TRY(create_timeline(gpu, &gpu->timeline));
    APUS_TRY(create_timeline(gpu, &gpu->upload.timeline));
    apusi_clock_init(gpu);
    APUS_TRY(apusi_cache_open(gpu));
    APUS_TRY(apusi_kernels_init(gpu));
    apus_log(APUS_LOG_DEBUG, "device %u: %s (%s), subgroup %u%s", at, gpu->physical.caps.name,
             gpu->physical.caps.driver, gpu->physical.caps.subgroup,
             gpu->physical.caps.subgroup_pinned ? ", pinned" : "");
    *out = gpu;
    return APUS_OK;

fail:
    apus_free(all);
    apus_gpu_destroy(&gpu);
    return st;
}

void apus_gpu_destroy(apus_gpu **gpu_at)
{
    apus_gpu *gpu = gpu_at ? *gpu_at : NULL;

    if (!gpu)
        return;
    if (gpu->device) {
        if (!gpu->lost) /* a lost device is never waited for without a limit */
            gpu->vk.vkDeviceWaitIdle(gpu->device);
        apusi_memory_release(gpu);
        apusi_kernels_release(gpu);
        apusi_cache_close(gpu);
        gpu->vk.vkDestroySemaphore(gpu->device, gpu->timeline, NULL);
        gpu->vk.vkDestroySemaphore(gpu->device, gpu->upload.timeline, NULL);
        gpu->vk.vkDestroyDevice(gpu->device, NULL);
    }
    if (gpu->count_only)
        apusi_memory_release(gpu);
    apusi_instance_close(&gpu->instance);
    apus_free(gpu);
    *gpu_at = NULL;
}

const apus_caps *apus_gpu_caps(const apus_gpu *gpu)
{
    return &gpu->physical.caps;
}

bool apus_gpu_counts(const apus_gpu *gpu)
{
    return gpu->count_only;
}

const apus_gpu_class *apus_gpu_class_of(const apus_gpu *gpu)
{
    return gpu->device_class;
}

const char *apus_gpu_name(const apus_gpu *gpu)
{
    return gpu->physical.caps.name;
}

uint32_t apus_gpu_validation_count(const apus_gpu *gpu)
{
    return atomic_load(&gpu->instance.messages);
}

void apusi_name(apus_gpu *gpu, VkObjectType type, uint64_t handle, const char *name)
{
    const VkDebugUtilsObjectNameInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
        .objectType = type,
        .objectHandle = handle,
        .pObjectName = name,
    };

    if (name && gpu->instance.set_name)
        gpu->instance.set_name(gpu->device, &info);
}
