/* statistics.c - what the driver's compiler says of kernels: registers, spills, bytes of code; its
 * listings. */
#include "gpu_internal.h"

typedef struct receiver {
    void (*each)(void *user, const apus_statistic *s);
    void (*text)(void *user, const apus_listing *x);
    void *user;
    uint32_t index; /* of the next number of this kernel */
} receiver;

static double value_of(const VkPipelineExecutableStatisticKHR *s)
{
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        return s->value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        return (double)s->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        return (double)s->value.u64;
    default:
        return s->value.f64;
    }
}

static apus_status report(apus_gpu *gpu, const apusi_pipeline *p, uint32_t executable, receiver *to)
{
    apus_status st = APUS_OK;
    const VkPipelineExecutableInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = p->pipeline,
        .executableIndex = executable,
    };
    VkPipelineExecutableStatisticKHR *all = NULL;
    uint32_t n = 0;

    APUSI_VK(gpu, "vkGetPipelineExecutableStatisticsKHR",
             gpu->vk.vkGetPipelineExecutableStatisticsKHR(gpu->device, &info, &n, NULL));
    all = apus_calloc((size_t)n + 1, sizeof(*all));
    if (!all)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++)
        all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    APUSI_VK(gpu, "vkGetPipelineExecutableStatisticsKHR",
             gpu->vk.vkGetPipelineExecutableStatisticsKHR(gpu->device, &info, &n, all));
    for (uint32_t i = 0; i < n; i++)
        to->each(to->user,
                 &(apus_statistic) { &p->key, to->index++, all[i].name, value_of(&all[i]) });
fail:
    apus_free(all);
    return st;
}

/* A second call fills the texts that the first gave the sizes of. */
static apus_status list(apus_gpu *gpu, const apusi_pipeline *p, uint32_t executable, receiver *to)
{
    apus_status st = APUS_OK;
    const VkPipelineExecutableInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
        .pipeline = p->pipeline,
        .executableIndex = executable,
    };
    const char *call = "vkGetPipelineExecutableInternalRepresentationsKHR";
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR get =
        gpu->vk.vkGetPipelineExecutableInternalRepresentationsKHR;
    VkPipelineExecutableInternalRepresentationKHR *all = NULL;
    uint32_t n = 0;

    APUSI_VK(gpu, call, get(gpu->device, &info, &n, NULL));
    all = apus_calloc((size_t)n + 1, sizeof(*all));
    if (!all)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++)
        all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    APUSI_VK(gpu, call, get(gpu->device, &info, &n, all));
    for (uint32_t i = 0; i < n; i++)
        if (!(all[i].pData = apus_calloc(all[i].dataSize + 1, 1)))
            APUS_TRY(APUS_ERR_MEMORY);
    APUSI_VK(gpu, call, get(gpu->device, &info, &n, all));
    for (uint32_t i = 0; i < n; i++)
        if (all[i].isText)
            to->text(to->user, &(apus_listing) { &p->key, all[i].name, all[i].pData });
fail:
    for (uint32_t i = 0; all && i < n; i++)
        apus_free(all[i].pData);
    apus_free(all);
    return st;
}

/* Call `visit` for each executable of each pipeline. */
static apus_status each_executable(apus_gpu *gpu,
                                   apus_status (*visit)(apus_gpu *gpu, const apusi_pipeline *p,
                                                        uint32_t executable, receiver *to),
                                   receiver to)
{
    apus_status st = APUS_OK;

    for (uint32_t i = 0; i < gpu->pipeline_slots; i++) {
        const apusi_pipeline *p = &gpu->pipelines[i];
        const VkPipelineInfoKHR info = { .sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                                         .pipeline = p->pipeline };
        receiver one = to;
        uint32_t n = 0;

        if (!p->name)
            continue;
        APUSI_VK(gpu, "vkGetPipelineExecutablePropertiesKHR",
                 gpu->vk.vkGetPipelineExecutablePropertiesKHR(gpu->device, &info, &n, NULL));
        for (uint32_t k = 0; k < n; k++)
            APUS_TRY(visit(gpu, p, k, &one));
    }
fail:
    return st;
}

apus_status apus_gpu_kernel_statistics(apus_gpu *gpu,
                                       void (*each)(void *user, const apus_statistic *s),
                                       void *user)
{
    return gpu->statistics ? each_executable(gpu, report, (receiver) { .each = each, .user = user })
                           : APUS_OK;
}

apus_status apus_gpu_kernel_listings(apus_gpu *gpu, void (*each)(void *user, const apus_listing *x),
                                     void *user)
{
    return gpu->listings ? each_executable(gpu, list, (receiver) { .text = each, .user = user })
                         : APUS_OK;
}
