/* gpu_internal.h - what the files of this folder share: the device object and its parts.
 *
 * Instance functions come from volk's globals, which the loader's own dispatch makes right for
 * every instance; device functions always come from the device's own table (gpu->vk). */
#ifndef APUSI_GPU_INTERNAL_H
#define APUSI_GPU_INTERNAL_H

#include <stdatomic.h>
#include <volk.h>

#include "gpu.h"

#define APUSI_PUSH_BYTES 128
#define APUSI_ADDRESS_ALIGN 256

/* Debian 12 has the headers of Vulkan 1.3.239; what is newer is declared here. */
#ifndef VK_KHR_cooperative_matrix
#define VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME "VK_KHR_cooperative_matrix"
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR                          \
    ((VkStructureType)1000506000)
#define VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR ((VkStructureType)1000506001)
typedef int32_t VkComponentTypeKHR;
#define VK_COMPONENT_TYPE_FLOAT16_KHR 0
#define VK_COMPONENT_TYPE_FLOAT32_KHR 1
typedef int32_t VkScopeKHR;
#define VK_SCOPE_SUBGROUP_KHR 3
typedef struct VkCooperativeMatrixPropertiesKHR {
    VkStructureType sType;
    void *pNext;
    uint32_t MSize, NSize, KSize;
    VkComponentTypeKHR AType, BType, CType, ResultType;
    VkBool32 saturatingAccumulation;
    VkScopeKHR scope;
} VkCooperativeMatrixPropertiesKHR;
typedef struct VkPhysicalDeviceCooperativeMatrixFeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
typedef VkResult(VKAPI_PTR *PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)(
    VkPhysicalDevice, uint32_t *, VkCooperativeMatrixPropertiesKHR *);
#endif
#ifndef VK_KHR_shader_bfloat16
#define VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME "VK_KHR_shader_bfloat16"
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR ((VkStructureType)1000141000)
#define VK_COMPONENT_TYPE_BFLOAT16_KHR 1000141000
typedef struct VkPhysicalDeviceShaderBfloat16FeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 shaderBFloat16Type, shaderBFloat16DotProduct, shaderBFloat16CooperativeMatrix;
} VkPhysicalDeviceShaderBfloat16FeaturesKHR;
#endif

/* The feature structures of a device, linked for a query or for vkCreateDevice; only those that the
 * device knows are in the chain. */
typedef struct apusi_features {
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup;
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coop;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bf16;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics;
} apusi_features;

/* Device extensions by bit. */
enum {
    APUSI_EXT_SUBGROUP_SIZE = 1,
    APUSI_EXT_DOT = 2,
    APUSI_EXT_COOP = 4,
    APUSI_EXT_BF16 = 8,
    APUSI_EXT_BUDGET = 16,
    APUSI_EXT_STATISTICS = 32,
    APUSI_EXT_CALIBRATED = 64, /* VK_EXT_calibrated_timestamps */
};

/* How ticks of the device become times of the host: a moment on both clocks (clock.c). */
typedef struct apusi_clock {
    bool traced; /* the trace was open when the device was */
    uint32_t queue;
    PFN_vkGetCalibratedTimestampsEXT read; /* NULL: by when lists are submitted and done */
    bool known;
    uint64_t ticks, host_ns;
    uint64_t deviation_ns; /* how far off it may be */
} apusi_clock;

/* A physical device, looked at. */
typedef struct apusi_physical {
    VkPhysicalDevice handle;
    VkPhysicalDeviceType type;
    uint32_t api;                     /* the version that it is used with */
    uint32_t extensions;              /* APUSI_EXT_* that it lists */
    uint32_t family;                  /* queue family for compute; UINT32_MAX: none */
    uint32_t copy_family, copy_index; /* of a second queue, for uploads; the first where none is */
    uint32_t timestamp_bits;
    bool usable;
    char reason[160];
    apus_caps caps;
    apusi_features features; /* what it has, then what is switched on */
} apusi_physical;

typedef struct apusi_instance {
    VkInstance handle;
    uint32_t api;
    bool validating, gpu_assisted;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkSetDebugUtilsObjectNameEXT set_name;
    atomic_uint messages;
} apusi_instance;

/* A buffer with its memory.  `pub` comes first: apus_gpu_buffer_at points to it. */
typedef struct apusi_buffer {
    apus_buffer pub;
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t allocated; /* bytes of the allocation */
    uint64_t shift;     /* bytes before the aligned address */
    uint32_t heap;
    bool device;
} apusi_buffer;

#define APUSI_STAGES 2
#define APUSI_STAGE_BYTES (8ull << 20)

/* Host memory whose bytes the device copies, and the list that does it. */
typedef struct apusi_stage {
    apus_buffer buffer;
    apus_commands *commands;
    uint64_t ticket; /* of the last copy from it */
} apusi_stage;

typedef struct apusi_upload {
    VkQueue queue;
    VkSemaphore timeline;              /* ticket n is done when it reaches n */
    uint64_t submitted, done, awaited; /* tickets: the last; known to be done; work waits for it */
    apusi_stage stages[APUSI_STAGES];
    uint32_t at;
} apusi_upload;

typedef struct apusi_pipeline {
    char *name; /* NULL: an empty slot */
    apus_kernel_key key;
    uint64_t hash;
    VkPipeline pipeline;
} apusi_pipeline;

struct apus_gpu {
    apusi_instance instance; /* never moves: the messenger holds its address */
    apusi_physical physical;
    VkDevice device;
    struct VolkDeviceTable vk;
    VkQueue queue;
    VkPhysicalDeviceMemoryProperties memory;
    bool count_only;
    apus_addr next_address; /* of a buffer that is only counted */

    /* memory.c */
    apusi_buffer **live; /* sorted by address */
    uint32_t n_live;
    size_t live_room;
    apus_gpu_usage usage;
    uint64_t heap_used[VK_MAX_MEMORY_HEAPS];
    bool staged;         /* device memory is never mapped */
    apus_buffer staging; /* what is read back */
    apus_commands *staging_commands;

    apusi_upload upload;

    /* kernel.c */
    VkPipelineLayout layout;
    apusi_pipeline *pipelines; /* open addressing, a power of two of slots */
    uint32_t n_pipelines, pipeline_slots;

    /* cache.c */
    VkPipelineCache cache;
    char *cache_path;    /* NULL: none is kept */
    uint64_t cache_hash; /* of the data that was read */
    bool made_pipeline;  /* something may have been added */
    bool statistics;     /* pipelines keep what the compiler says of them */
    bool listings;       /* and its texts */

    /* queue.c */
    VkSemaphore timeline;
    uint64_t submitted;
    bool lost;
    char last_kernel[96]; /* of the last list submitted, for the text of a lost device */

    apusi_clock clock;
    const apus_gpu_class *device_class; /* nothing is there, caps are those of a class; or NULL */
};

#define APUSI_STAMPS 512 /* queries of one pool */
#define APUSI_MOST_STAMPS (2 * 8192)

struct apus_commands {
    apus_gpu *gpu;
    VkCommandPool pool;
    VkCommandBuffer buffer;
    bool copies; /* for the queue of uploads: copies and nothing else */
    bool recording;
    apus_status failed; /* of a call that returns nothing; reported by apus_commands_end */
    char failure[160];
    VkPipeline bound;
    bool profile;
    VkQueryPool *stamps; /* made as the list grows, kept */
    uint32_t n_pools;
    uint32_t n_stamps; /* written by this recording */
    bool timed;        /* as a whole, by the two queries of: */
    VkQueryPool whole;
    char last_kernel[96];
};

/* instance.c */
apus_status apusi_instance_open(apusi_instance *instance, bool validate);
void apusi_instance_close(apusi_instance *instance);
/* Every physical device of the instance, looked at; *list is freed with apus_free.
 * Errors: APUS_ERR_MISSING when there is none. */
apus_status apusi_physical_list(const apusi_instance *instance, apusi_physical **list, uint32_t *n);

/* query.c */
apus_status apusi_physical_look(apusi_physical *p, const apusi_instance *instance);
/* Bytes of a heap: the driver's figure, but on a CPU device 2 GiB means the machine's memory:
 * llvmpipe 22.3.6 and SwiftShader say so on every machine and grant more.  At most
 * APUS_HEAP_MIB. */
uint64_t apusi_heap_bytes(const apus_caps *caps, uint64_t reported);
/* Link the structures that the device knows. */
void apusi_features_link(apusi_features *f, const apusi_physical *p);

/* result.c */
const char *apusi_result_text(VkResult result);
/* Describe a failed call and give its status: memory, a lost device, else a device error. */
apus_status apusi_vk_fail(apus_gpu *gpu, VkResult result, const char *what);
#define APUSI_VK(gpu, what, call)                                                                  \
    do {                                                                                           \
        const VkResult vk_result = (call);                                                         \
        if (vk_result != VK_SUCCESS) {                                                             \
            st = apusi_vk_fail((gpu), vk_result, (what));                                          \
            goto fail;                                                                             \
        }                                                                                          \
    } while (0)

/* upload.c: copy into a buffer that is not mapped, behind all work submitted so far and before all
 * that is submitted from now on; `src` may be reused at once. */
apus_status apusi_upload_write(apus_gpu *gpu, const apus_buffer *b, uint64_t at, const void *src,
                               uint64_t bytes);
apus_status apusi_upload_wait(apus_gpu *gpu); /* for all that were submitted */
void apusi_upload_release(apus_gpu *gpu);

/* queue.c: submit behind value `wait` of a semaphore (0: behind nothing); whoever calls describes a
 * failure. */
VkResult apusi_submit(apus_gpu *gpu, VkQueue queue, const VkCommandBuffer *buffers, uint32_t n,
                      VkSemaphore other, uint64_t wait, VkSemaphore timeline, uint64_t value);
/* queue.c: wait until a semaphore reaches the ticket; whoever calls describes a failure. */
VkResult apusi_wait_for(apus_gpu *gpu, VkSemaphore timeline, uint64_t ticket, uint64_t timeout_ns);
/* queue.c: the device is lost; from here on nothing is submitted or waited for. */
void apusi_lost(apus_gpu *gpu);

/* clock.c: once the device is there; before it, whether the extension is to be switched on. */
bool apusi_clock_wanted(const apusi_physical *p, VkInstance instance);
void apusi_clock_init(apus_gpu *gpu);
uint64_t apusi_clock_host_ns(const apus_gpu *gpu, uint64_t ticks);
/* A list that was timed as a whole, submitted after `submitted_ns` and waited for just now. */
void apusi_clock_trace(apus_gpu *gpu, apus_commands *c, const char *name, uint64_t ticket,
                       uint64_t submitted_ns);
/* commands.c: apus_commands_create is this without `copies`. */
apus_status apusi_commands_create(apus_gpu *gpu, apus_commands **out, bool copies);
/* commands.c: the ticks at which the list as a whole began and ended; false: they are not known. */
bool apusi_commands_ticks(apus_commands *c, uint64_t ticks[2]);

/* memory.c */
void apusi_memory_release(apus_gpu *gpu);

/* kernel.c */
apus_status apusi_kernels_init(apus_gpu *gpu);
void apusi_kernels_release(apus_gpu *gpu);
apus_status apusi_kernel_get(apus_gpu *gpu, const apus_kernel_key *key, VkPipeline *out);

/* reload.c: shaders from APUS_SHADER_DIR. */
bool apusi_reload_on(void);
/* SPIR-V of `name` compiled from source; *words is freed with apus_free. */
apus_status apusi_reload(const char *name, uint32_t **words, size_t *bytes);

/* cache.c: the pipeline cache on disk.  Its failures are warnings, never errors. */
apus_status apusi_cache_open(apus_gpu *gpu);
void apusi_cache_close(apus_gpu *gpu);

/* device.c: a name for the messages of the validation layer; does nothing without it. */
void apusi_name(apus_gpu *gpu, VkObjectType type, uint64_t handle, const char *name);

#endif
