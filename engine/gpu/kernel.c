/* kernel.c - SPIR-V modules of the build by name, and the pipelines made of them.
 *
 * A pipeline is found by (name, constants, subgroup size) in a table with open addressing; it is
 * made on first use and lives as long as the device. */
#include <stdio.h>

#include "gpu_internal.h"
#include "rng.h"
#include "shaders.h"
#include "trace.h"

static const apus_shader *find_shader(const char *name)
{
    size_t low = 0, high = apus_n_shaders;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(apus_shaders[middle].name, name);

        if (order == 0)
            return &apus_shaders[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool apus_kernel_exists(const char *name)
{
    return find_shader(name) != NULL;
}

uint64_t apus_kernels_hash(void)
{
    uint64_t hash = APUS_HASH_SEED;

    for (size_t i = 0; i < apus_n_shaders; i++) {
        hash = apus_hash(apus_shaders[i].name, strlen(apus_shaders[i].name) + 1, hash);
        hash = apus_hash(apus_shaders[i].words, apus_shaders[i].bytes, hash);
    }
    return hash;
}

apus_status apusi_kernels_init(apus_gpu *gpu)
{
    apus_status st = APUS_OK;
    const VkPushConstantRange range = { .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
                                        .size = APUSI_PUSH_BYTES };
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };

    APUSI_VK(gpu, "vkCreatePipelineLayout",
             gpu->vk.vkCreatePipelineLayout(gpu->device, &info, NULL, &gpu->layout));
fail:
    return st;
}

void apusi_kernels_release(apus_gpu *gpu)
{
    for (uint32_t i = 0; i < gpu->pipeline_slots; i++) {
        if (gpu->pipelines[i].name) {
            gpu->vk.vkDestroyPipeline(gpu->device, gpu->pipelines[i].pipeline, NULL);
            apus_free(gpu->pipelines[i].name);
        }
    }
    apus_free(gpu->pipelines);
    gpu->pipelines = NULL;
    gpu->pipeline_slots = 0;
    gpu->n_pipelines = 0;
    gpu->vk.vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
    gpu->layout = VK_NULL_HANDLE;
}

static uint64_t hash_key(const apus_kernel_key *key)
{
    uint64_t h = apus_hash(key->name, strlen(key->name), APUS_HASH_SEED);

    h = apus_hash(key->spec, key->n_spec * sizeof(key->spec[0]), h);
    return apus_hash(&key->subgroup, sizeof(key->subgroup), h);
}

/* The slot that holds the key, or the empty one where it belongs. */
static apusi_pipeline *find_slot(apusi_pipeline *slots, uint32_t n_slots,
                                 const apus_kernel_key *key, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (n_slots - 1);

    for (;; at = (at + 1) & (n_slots - 1)) {
        apusi_pipeline *slot = &slots[at];

        if (!slot->name)
            return slot;
        if (slot->hash == hash && slot->key.n_spec == key->n_spec &&
            slot->key.subgroup == key->subgroup && strcmp(slot->name, key->name) == 0 &&
            memcmp(slot->key.spec, key->spec, key->n_spec * sizeof(key->spec[0])) == 0)
            return slot;
    }
}

static apus_status make_room(apus_gpu *gpu)
{
    if (gpu->pipeline_slots > 0 && 2 * (gpu->n_pipelines + 1) <= gpu->pipeline_slots)
        return APUS_OK;
    const uint32_t n = gpu->pipeline_slots ? 2 * gpu->pipeline_slots : 128;
    apusi_pipeline *slots = apus_calloc(n, sizeof(*slots));

    if (!slots)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < gpu->pipeline_slots; i++) {
        const apusi_pipeline *old = &gpu->pipelines[i];

        if (old->name) {
            apusi_pipeline *to = find_slot(slots, n, &old->key, old->hash);

            *to = *old;
        }
    }
    apus_free(gpu->pipelines);
    gpu->pipelines = slots;
    gpu->pipeline_slots = n;
    return APUS_OK;
}

/* The subgroup size to require; 0: the driver's own. */
static apus_status subgroup_of(const apus_gpu *gpu, const apus_kernel_key *key, uint32_t *out)
{
    const apus_caps *c = &gpu->physical.caps;

    *out = c->subgroup_pinned ? c->subgroup : 0;
    if (key->subgroup == 0)
        return APUS_OK;
    if (key->subgroup < c->subgroup_min || key->subgroup > c->subgroup_max ||
        (!c->subgroup_pinned && key->subgroup != c->subgroup))
        return apus_fail(APUS_ERR_SUPPORT, "kernel %s: subgroups of %u, %s runs %u to %u%s",
                         key->name, key->subgroup, c->name, c->subgroup_min, c->subgroup_max,
                         c->subgroup_pinned ? "" : " by its own choice");
    if (c->subgroup_pinned)
        *out = key->subgroup;
    return APUS_OK;
}

static apus_status make_module(apus_gpu *gpu, const char *name, VkShaderModule *out)
{
    apus_status st = APUS_OK;
    uint32_t *fresh = NULL;
    VkShaderModuleCreateInfo info = { .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO };

    if (apusi_reload_on()) {
        APUS_TRY(apusi_reload(name, &fresh, &info.codeSize));
        info.pCode = fresh;
    } else {
        const apus_shader *shader = find_shader(name);

        if (!shader)
            return apus_fail(
                APUS_ERR_MISSING,
                "no kernel '%s' in this build (its glslc may have been too old for it; "
                "see `apus devices`)",
                name);
        info.pCode = shader->words;
        info.codeSize = shader->bytes;
    }
    APUSI_VK(gpu, name, gpu->vk.vkCreateShaderModule(gpu->device, &info, NULL, out));
fail:
    apus_free(fresh);
    return st;
}

static apus_status make_pipeline(apus_gpu *gpu, const apus_kernel_key *key, VkPipeline *out)
{
    apus_status st;
    VkShaderModule module = VK_NULL_HANDLE;
    VkSpecializationMapEntry entries[APUS_MAX_SPEC];
    uint32_t subgroup;

    APUS_TRY(subgroup_of(gpu, key, &subgroup));
    APUS_TRY(make_module(gpu, key->name, &module));
    for (uint32_t i = 0; i < key->n_spec; i++)
        entries[i] =
            (VkSpecializationMapEntry) { i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t) };
    const VkSpecializationInfo spec = {
        .mapEntryCount = key->n_spec,
        .pMapEntries = entries,
        .dataSize = key->n_spec * sizeof(uint32_t),
        .pData = key->spec,
    };
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo required = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = subgroup,
    };
    const bool full = subgroup > 0 && key->n_spec > 0 && key->spec[0] % subgroup == 0 &&
                      gpu->physical.features.subgroup.computeFullSubgroups;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .flags =
            (gpu->statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0) |
            (gpu->listings ? VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR : 0),
        .stage = {
            .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
            .pNext = subgroup > 0 ? &required : NULL,
            .flags = full ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
            .stage = VK_SHADER_STAGE_COMPUTE_BIT,
            .module = module,
            .pName = "main",
            .pSpecializationInfo = &spec,
        },
        .layout = gpu->layout,
    };
    const VkResult result =
        gpu->vk.vkCreateComputePipelines(gpu->device, gpu->cache, 1, &info, NULL, out);
    if (result != VK_SUCCESS) {
        char what[128];

        snprintf(what, sizeof(what), "kernel %s does not compile", key->name);
        st = apusi_vk_fail(gpu, result, what);
        goto fail;
    }
    apusi_name(gpu, VK_OBJECT_TYPE_PIPELINE, (uint64_t)*out, key->name);

fail:
    gpu->vk.vkDestroyShaderModule(gpu->device, module, NULL);
    return st;
}

apus_status apusi_kernel_get(apus_gpu *gpu, const apus_kernel_key *key, VkPipeline *out)
{
    APUS_BUG_IF(!key->name || key->n_spec > APUS_MAX_SPEC);
    APUS_FORWARD(make_room(gpu));
    const uint64_t hash = hash_key(key);
    apusi_pipeline *slot = find_slot(gpu->pipelines, gpu->pipeline_slots, key, hash);

    if (!slot->name) {
        VkPipeline pipeline = VK_NULL_HANDLE;

        const uint64_t began = apus_trace_begin();
        APUS_FORWARD(make_pipeline(gpu, key, &pipeline));
        apus_trace_end(began, "pipeline", key->name, NULL, 0);
        slot->name = apus_strdup(key->name);
        if (!slot->name) {
            gpu->vk.vkDestroyPipeline(gpu->device, pipeline, NULL);
            return APUS_ERR_MEMORY;
        }
        slot->key = *key;
        slot->key.name = slot->name;
        slot->hash = hash;
        slot->pipeline = pipeline;
        gpu->n_pipelines++;
        gpu->made_pipeline = true;
    }
    *out = slot->pipeline;
    return APUS_OK;
}
