/* cache.c - the pipeline cache on disk, one file a device and driver version.
 *
 * File: 8 bytes "APUSPC1\n", u64 bytes of data, u64 FNV-1a of the data (both little-endian as
 * the host's), then what vkGetPipelineCacheData gave.  The hash stands before the data because
 * drivers check the head of their own data only.  Nothing here is an error for the caller:
 * without a cache the kernels are compiled again. */
#include <stdio.h>

#include "env.h"
#include "file.h"
#include "gpu_internal.h"
#include "rng.h"

#define MAGIC "APUSPC1\n"
#define MOST_BYTES (256u << 20)

typedef struct cache_head {
    char magic[8];
    uint64_t bytes;
    uint64_t hash;
} cache_head;

/* The folder, or NULL: none is known. */
static char *cache_folder(void)
{
    const char *own = apus_env_get(APUS_CACHE_DIR);
    const char *user = apus_env_get(XDG_CACHE_HOME);
    const char *home = apus_env_get(HOME);

    if (own[0])
        return apus_strdup(own);
    if (user[0] == '/')
        return apus_path_join(user, "apus");
    return home[0] == '/' ? apus_path_join(home, ".cache/apus") : NULL;
}

char *apus_cache_path(const apus_caps *caps, const char *kind, const char *end)
{
    char uuid[33];
    char *folder = cache_folder();
    char *path = NULL;

    if (!folder)
        return NULL;
    for (int i = 0; i < 16; i++)
        snprintf(uuid + 2 * i, 3, "%02x", caps->uuid[i]);
    char *name = apus_format("%s-%s-%08x.%s", kind, uuid, caps->driver_version, end);
    if (name)
        path = apus_path_join(folder, name);
    apus_free(name);
    apus_free(folder);
    return path;
}

/* *data points into *text; *bytes is 0 where there is nothing to use. */
static void read_cache(const char *path, char **text, const void **data, size_t *bytes,
                       uint64_t *hash)
{
    cache_head head;
    size_t all = 0;

    *text = NULL;
    *data = NULL;
    *bytes = 0;
    *hash = 0;
    if (!apus_path_exists(path))
        return;
    if (apus_file_read(text, &all, path, MOST_BYTES) != APUS_OK) {
        apus_log(APUS_LOG_WARN, "pipeline cache: %s", apus_error_text());
        return;
    }
    if (all >= sizeof(head)) {
        memcpy(&head, *text, sizeof(head));
        if (memcmp(head.magic, MAGIC, sizeof(head.magic)) == 0 &&
            head.bytes == all - sizeof(head) &&
            head.hash == apus_hash(*text + sizeof(head), all - sizeof(head), APUS_HASH_SEED)) {
            *data = *text + sizeof(head);
            *bytes = all - sizeof(head);
            *hash = head.hash;
            return;
        }
    }
    apus_log(APUS_LOG_WARN, "pipeline cache %s is damaged and is not used", path);
}

apus_status apusi_cache_open(apus_gpu *gpu)
{
    char *text = NULL;
    const void *data = NULL;
    size_t bytes = 0;

    gpu->cache_path = apus_cache_path(&gpu->physical.caps, "pipelines", "bin");
    if (gpu->cache_path)
        read_cache(gpu->cache_path, &text, &data, &bytes, &gpu->cache_hash);
    VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = bytes,
        .pInitialData = data,
    };
    VkResult result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->cache);
    if (result != VK_SUCCESS && bytes > 0) {
        info.initialDataSize = 0;
        info.pInitialData = NULL;
        gpu->cache_hash = 0;
        result = gpu->vk.vkCreatePipelineCache(gpu->device, &info, NULL, &gpu->cache);
    }
    apus_free(text);
    if (result != VK_SUCCESS) {
        gpu->cache = VK_NULL_HANDLE;
        return apusi_vk_fail(gpu, result, "vkCreatePipelineCache");
    }
    return APUS_OK;
}

static void save_cache(apus_gpu *gpu)
{
    size_t bytes = 0;
    char *folder = NULL;
    char *text = NULL;

    if (gpu->vk.vkGetPipelineCacheData(gpu->device, gpu->cache, &bytes, NULL) != VK_SUCCESS ||
        bytes == 0 || bytes > MOST_BYTES - sizeof(cache_head))
        return;
    text = apus_alloc(sizeof(cache_head) + bytes);
    folder =
        apus_strndup(gpu->cache_path, (size_t)(apus_path_base(gpu->cache_path) - gpu->cache_path));
    if (text && folder &&
        gpu->vk.vkGetPipelineCacheData(gpu->device, gpu->cache, &bytes,
                                       text + sizeof(cache_head)) == VK_SUCCESS) {
        cache_head head = { .bytes = bytes };

        memcpy(head.magic, MAGIC, sizeof(head.magic));
        head.hash = apus_hash(text + sizeof(head), bytes, APUS_HASH_SEED);
        memcpy(text, &head, sizeof(head));
        if (head.hash != gpu->cache_hash &&
            (apus_dir_create(folder) != APUS_OK ||
             apus_file_write(gpu->cache_path, text, sizeof(head) + bytes) != APUS_OK))
            apus_log(APUS_LOG_WARN, "pipeline cache not kept: %s", apus_error_text());
    }
    apus_free(folder);
    apus_free(text);
}

void apusi_cache_close(apus_gpu *gpu)
{
    if (!gpu->cache)
        return;
    if (gpu->cache_path && !gpu->lost && gpu->made_pipeline)
        save_cache(gpu);
    gpu->vk.vkDestroyPipelineCache(gpu->device, gpu->cache, NULL);
    gpu->cache = VK_NULL_HANDLE;
    apus_free(gpu->cache_path);
    gpu->cache_path = NULL;
}
