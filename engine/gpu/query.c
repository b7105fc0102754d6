/* query.c - what a physical device can do, by its features and limits, never by its name. */
#include <stdio.h>

#include "env.h"
#include "gpu_internal.h"
#include "os.h"
#include "shaders.h"

static apus_status look_extensions(apusi_physical *p)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } known[] = {
        { VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, APUSI_EXT_SUBGROUP_SIZE },
        { VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, APUSI_EXT_DOT },
        { VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, APUSI_EXT_COOP },
        { VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME, APUSI_EXT_BF16 },
        { VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, APUSI_EXT_BUDGET },
        { VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, APUSI_EXT_STATISTICS },
        { VK_EXT_CALIBRATED_TIMESTAMPS_EXTENSION_NAME, APUSI_EXT_CALIBRATED },
    };
    uint32_t n = 0;

    if (vkEnumerateDeviceExtensionProperties(p->handle, NULL, &n, NULL) != VK_SUCCESS || n == 0)
        return APUS_OK;
    VkExtensionProperties *all = apus_calloc(n, sizeof(*all));
    if (!all)
        return APUS_ERR_MEMORY;
    if (vkEnumerateDeviceExtensionProperties(p->handle, NULL, &n, all) >= VK_SUCCESS)
        for (uint32_t i = 0; i < n; i++)
            for (size_t k = 0; k < APUS_COUNT(known); k++)
                if (strcmp(all[i].extensionName, known[k].name) == 0)
                    p->extensions |= known[k].bit;
    apus_free(all);
    return APUS_OK;
}

void apusi_features_link(apusi_features *f, const apusi_physical *p)
{
    const bool v13 = p->api >= VK_API_VERSION_1_3;
    void **tail = &f->core.pNext;

#define LINK(field, type)                                                                          \
    do {                                                                                           \
        f->field.sType = (type);                                                                   \
        f->field.pNext = NULL;                                                                     \
        *tail = &f->field;                                                                         \
        tail = &f->field.pNext;                                                                    \
    } while (0)
    f->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    f->core.pNext = NULL;
    LINK(v11, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES);
    LINK(v12, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    if (v13 || p->extensions & APUSI_EXT_SUBGROUP_SIZE)
        LINK(subgroup, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES);
    if (v13 || p->extensions & APUSI_EXT_DOT)
        LINK(dot, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES);
    if (p->extensions & APUSI_EXT_COOP)
        LINK(coop, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR);
    if (p->extensions & APUSI_EXT_BF16)
        LINK(bf16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR);
    if (p->extensions & APUSI_EXT_STATISTICS)
        LINK(statistics,
             VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR);
#undef LINK
}

/* Keep of what the device has only what kernels use; the rest stays off. */
static void choose_features(apusi_physical *p)
{
    const apusi_features has = p->features;
    apusi_features *f = &p->features;

    memset(f, 0, sizeof(*f));
    f->core.features.shaderInt16 = has.core.features.shaderInt16;
    f->core.features.shaderInt64 = has.core.features.shaderInt64; /* GPU-assisted validation */
    f->core.features.fragmentStoresAndAtomics = has.core.features.fragmentStoresAndAtomics;
    f->core.features.vertexPipelineStoresAndAtomics =
        has.core.features.vertexPipelineStoresAndAtomics;
    f->v11.storageBuffer16BitAccess = has.v11.storageBuffer16BitAccess;
    f->v12.storageBuffer8BitAccess = has.v12.storageBuffer8BitAccess;
    f->v12.shaderFloat16 = has.v12.shaderFloat16;
    f->v12.shaderInt8 = has.v12.shaderInt8;
    f->v12.scalarBlockLayout = has.v12.scalarBlockLayout;
    f->v12.bufferDeviceAddress = has.v12.bufferDeviceAddress;
    f->v12.timelineSemaphore = has.v12.timelineSemaphore;
    f->v12.vulkanMemoryModel = has.v12.vulkanMemoryModel;
    f->v12.vulkanMemoryModelDeviceScope = has.v12.vulkanMemoryModelDeviceScope;
    f->v12.shaderSubgroupExtendedTypes = has.v12.shaderSubgroupExtendedTypes;
    f->subgroup.subgroupSizeControl = has.subgroup.subgroupSizeControl;
    f->subgroup.computeFullSubgroups = has.subgroup.computeFullSubgroups;
    f->dot.shaderIntegerDotProduct = has.dot.shaderIntegerDotProduct;
    f->coop.cooperativeMatrix = has.coop.cooperativeMatrix && has.v12.vulkanMemoryModel;
    f->statistics.pipelineExecutableInfo = has.statistics.pipelineExecutableInfo;
    f->bf16.shaderBFloat16Type = has.bf16.shaderBFloat16Type;
    f->bf16.shaderBFloat16CooperativeMatrix =
        has.bf16.shaderBFloat16CooperativeMatrix && f->coop.cooperativeMatrix;
}

/* Which cooperative-matrix shapes have f32 sums.  The feature bit decides, not the extension:
 * llvmpipe lists both extension and shapes at vector widths where the feature is off.  Of a CPU
 * driver only shapes whose rows fill its lanes are taken: llvmpipe of Mesa 26.2.6 with 16 lanes
 * lists one of 8 x 8 x 8, and ends the process when it compiles a kernel that uses it. */
static apus_status look_coop(apusi_physical *p, VkInstance instance)
{
    const PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR get =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)vkGetInstanceProcAddr(
            instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    apus_caps *c = &p->caps;
    uint32_t n = 0;

    if (!p->features.coop.cooperativeMatrix || !get || get(p->handle, &n, NULL) < 0 || n == 0)
        return APUS_OK;
    VkCooperativeMatrixPropertiesKHR *all = apus_calloc(n, sizeof(*all));
    if (!all)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++)
        all[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (get(p->handle, &n, all) < 0)
        n = 0;
    for (uint32_t i = 0; i < n && c->n_coop < APUS_MAX_COOP; i++) {
        const VkCooperativeMatrixPropertiesKHR *s = &all[i];
        const bool f16 = s->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && c->f16;
        const bool bf16 = (int32_t)s->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR &&
                          p->features.bf16.shaderBFloat16CooperativeMatrix;

        if (c->device_class == APUS_CLASS_CPU && s->NSize != c->subgroup)
            continue;
        if ((f16 || bf16) && s->BType == s->AType && s->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
            s->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && s->scope == VK_SCOPE_SUBGROUP_KHR)
            c->coop[c->n_coop++] = (apus_coop_shape) {
                .m = s->MSize, .n = s->NSize, .k = s->KSize, .in = f16 ? APUS_F16 : APUS_BF16
            };
    }
    apus_free(all);
    return APUS_OK;
}

/* Returns how many there are.  The number is asked for first: SwiftShader writes as many as there
 * is room for. */
static uint32_t families_of(const apusi_physical *p, VkQueueFamilyProperties *families,
                            uint32_t room)
{
    uint32_t n = 0;

    vkGetPhysicalDeviceQueueFamilyProperties(p->handle, &n, NULL);
    if (n > room)
        n = room;
    vkGetPhysicalDeviceQueueFamilyProperties(p->handle, &n, families);
    return n;
}

/* A queue family for compute; one without graphics where there is such, because the desktop's
 * frames wait behind long dispatches otherwise. */
static void look_queues(apusi_physical *p)
{
    VkQueueFamilyProperties families[32];
    const uint32_t n = families_of(p, families, APUS_COUNT(families));
    int best = -1;

    p->family = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        const VkQueueFlags flags = families[i].queueFlags;
        const int score = ((flags & VK_QUEUE_GRAPHICS_BIT) ? 0 : 2) +
                          (families[i].timestampValidBits > 0 ? 4 : 0);

        if (families[i].queueCount == 0 || !(flags & VK_QUEUE_COMPUTE_BIT) || score <= best)
            continue;
        best = score;
        p->family = i;
        p->timestamp_bits = families[i].timestampValidBits;
    }
}

/* A second queue: of a family that only copies (a GPU has engines for that), else of the same
 * family, else of any other; the first queue again where there is none. */
static void look_copy_queue(apusi_physical *p)
{
    const VkQueueFlags work = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT;
    VkQueueFamilyProperties families[32];
    const uint32_t n = families_of(p, families, APUS_COUNT(families));
    int best = 0;

    p->copy_family = p->family;
    p->copy_index = 0;
    for (uint32_t i = 0; i < n; i++) {
        const VkQueueFlags flags = families[i].queueFlags;
        const bool copies = flags & (work | VK_QUEUE_TRANSFER_BIT), own = i == p->family;
        const int score = !copies || families[i].queueCount <= own ? 0
                          : !(flags & work)                        ? 3
                          : own                                    ? 2
                                                                   : 1;

        if (score <= best)
            continue;
        best = score;
        p->copy_family = i;
        p->copy_index = own;
    }
}

uint64_t apusi_heap_bytes(const apus_caps *caps, uint64_t reported)
{
    const uint64_t mib = strtoull(apus_env_get(APUS_HEAP_MIB), NULL, 10);

    if (caps->device_class == APUS_CLASS_CPU && reported == UINT64_C(2) << 30)
        reported = apus_host_memory();
    return mib > 0 && mib < reported >> 20 ? mib << 20 : reported;
}

static void look_heap(apusi_physical *p)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT
    };
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
        .pNext = p->extensions & APUSI_EXT_BUDGET ? &budget : NULL,
    };

    vkGetPhysicalDeviceMemoryProperties2(p->handle, &memory);
    for (uint32_t i = 0; i < memory.memoryProperties.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &memory.memoryProperties.memoryHeaps[i];
        uint64_t bytes = apusi_heap_bytes(&p->caps, heap->size);

        if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT))
            continue;
        if (p->extensions & APUSI_EXT_BUDGET && budget.heapBudget[i] > 0 &&
            budget.heapBudget[i] < bytes)
            bytes = budget.heapBudget[i];
        if (bytes > p->caps.heap)
            p->caps.heap = bytes;
    }
}

/* The size that kernels run with.  A CPU driver has one size.  A GPU is pinned to the smallest
 * size it allows from 8 up: 32 on AMD (32..64); 8 or 16 on Intel (8..32, from Battlemage on
 * 16..32), where the lanes of a subgroup share the register file: this way a lane has 128
 * registers, with twice the lanes half the kernels spill. */
static void choose_subgroup(apus_caps *c, const VkPhysicalDeviceSubgroupSizeControlProperties *size,
                            bool control)
{
    c->subgroup_pinned = control && size->requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
    if (control && size->minSubgroupSize > 0) {
        c->subgroup_min = size->minSubgroupSize;
        c->subgroup_max = size->maxSubgroupSize;
    } else {
        c->subgroup_min = c->subgroup;
        c->subgroup_max = c->subgroup;
    }
    if (!c->subgroup_pinned || c->device_class == APUS_CLASS_CPU)
        return;
    uint32_t pin = 8;
    if (pin < c->subgroup_min)
        pin = c->subgroup_min;
    if (pin > c->subgroup_max)
        pin = c->subgroup_max;
    c->subgroup = pin;
}

static void look_properties(apusi_physical *p)
{
    const bool v13 = p->api >= VK_API_VERSION_1_3;
    VkPhysicalDeviceSubgroupSizeControlProperties size = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES
    };
    VkPhysicalDeviceShaderIntegerDotProductProperties dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES
    };
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES
    };
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12
    };
    VkPhysicalDeviceProperties2 core = { .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                         .pNext = &v11 };
    VkPhysicalDeviceMaintenance4Properties maintenance4 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES
    };
    void **tail = &v12.pNext;
    apus_caps *c = &p->caps;

    if (v13) {
        *tail = &maintenance4;
        tail = &maintenance4.pNext;
    }
    if (v13 || p->extensions & APUSI_EXT_SUBGROUP_SIZE) {
        *tail = &size;
        tail = &size.pNext;
    }
    if (v13 || p->extensions & APUSI_EXT_DOT)
        *tail = &dot;
    vkGetPhysicalDeviceProperties2(p->handle, &core);

    const VkPhysicalDeviceLimits *limits = &core.properties.limits;
    snprintf(c->driver, sizeof(c->driver), "%s%s%.60s", v12.driverName,
             v12.driverInfo[0] ? ", " : "", v12.driverInfo);
    memcpy(c->uuid, v11.deviceUUID, sizeof(c->uuid));
    c->subgroup = v11.subgroupSize;
    c->subgroup_arith = v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT &&
                        v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
    c->subgroup_shuffle = v11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT &&
                          v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
    choose_subgroup(c, &size, p->features.subgroup.subgroupSizeControl);
    c->int8_dot = p->features.dot.shaderIntegerDotProduct;
    c->int8_fast = c->int8_dot && dot.integerDotProduct4x8BitPackedSignedAccelerated;
    c->max_invocations = limits->maxComputeWorkGroupInvocations;
    c->max_shared = limits->maxComputeSharedMemorySize;
    c->max_push = limits->maxPushConstantsSize;
    memcpy(c->max_groups, limits->maxComputeWorkGroupCount, sizeof(c->max_groups));
    c->max_alloc = v11.maxMemoryAllocationSize; /* and a buffer fills an allocation */
    if (maintenance4.maxBufferSize > 0 && maintenance4.maxBufferSize < c->max_alloc)
        c->max_alloc = maintenance4.maxBufferSize;
    c->timestamps = p->timestamp_bits > 0;
    c->ns_per_tick = (double)limits->timestampPeriod;
}

static void judge(apusi_physical *p)
{
    const VkPhysicalDeviceVulkan12Features *f = &p->features.v12;
    const char *lacks = !f->bufferDeviceAddress   ? "buffer device addresses (bufferDeviceAddress)"
                        : !f->timelineSemaphore   ? "timeline semaphores (timelineSemaphore)"
                        : p->family == UINT32_MAX ? "a queue for compute"
                                                  : NULL;

    p->usable = !lacks;
    if (lacks)
        snprintf(p->reason, sizeof(p->reason), "it lacks %s", lacks);
}

apus_status apusi_physical_look(apusi_physical *p, const apusi_instance *instance)
{
    VkPhysicalDeviceProperties props;
    apus_caps *c = &p->caps;

    vkGetPhysicalDeviceProperties(p->handle, &props);
    snprintf(c->name, sizeof(c->name), "%s", props.deviceName);
    c->vendor_id = props.vendorID;
    c->device_id = props.deviceID;
    c->driver_version = props.driverVersion;
    c->api_version = props.apiVersion;
    p->api = props.apiVersion < instance->api ? props.apiVersion : instance->api;
    c->device_class =
        props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU ? APUS_CLASS_CPU : APUS_CLASS_GPU;
    c->integrated = props.deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ||
                    props.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    c->coop_built = apus_shaders_coop != 0;
    p->type = props.deviceType;
    if (props.apiVersion < VK_API_VERSION_1_2) {
        snprintf(p->reason, sizeof(p->reason), "it has Vulkan %u.%u, 1.2 is needed",
                 VK_API_VERSION_MAJOR(props.apiVersion), VK_API_VERSION_MINOR(props.apiVersion));
        return APUS_OK;
    }
    APUS_FORWARD(look_extensions(p));
    look_queues(p);
    look_copy_queue(p);
    apusi_features_link(&p->features, p);
    vkGetPhysicalDeviceFeatures2(p->handle, &p->features.core);
    choose_features(p);
    c->f16 = p->features.v12.shaderFloat16;
    c->bf16 = p->features.bf16.shaderBFloat16Type;
    c->small_ints = p->features.core.features.shaderInt16 &&
                    p->features.v11.storageBuffer16BitAccess && p->features.v12.shaderInt8 &&
                    p->features.v12.storageBuffer8BitAccess;
    look_properties(p);
    look_heap(p);
    APUS_FORWARD(look_coop(p, instance->handle));
    /* Mesa's llvmpipe turns loads from an address that is uniform over the subgroup into one
     * scalar load since the releases that also brought cooperative matrices; matrix kernels that
     * read one operand so are 2 to 4 times faster there and slower on older releases.  The
     * extension is listed by exactly those releases, at every vector width, also where its
     * feature is off. */
    c->uniform_loads = c->device_class == APUS_CLASS_CPU && p->extensions & APUSI_EXT_COOP;
    judge(p);
    return APUS_OK;
}
