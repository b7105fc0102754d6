/* result.c - Vulkan's result codes as words and as the engine's status codes. */
#include "gpu_internal.h"

const char *apusi_result_text(VkResult result)
{
    switch (result) {
    case VK_SUCCESS:
        return "success";
    case VK_NOT_READY:
        return "not ready";
    case VK_TIMEOUT:
        return "timed out";
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return "out of host memory";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return "out of device memory";
    case VK_ERROR_INITIALIZATION_FAILED:
        return "initialization failed";
    case VK_ERROR_DEVICE_LOST:
        return "the device was lost";
    case VK_ERROR_LAYER_NOT_PRESENT:
        return "a layer is not installed";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
        return "an extension is not there";
    case VK_ERROR_FEATURE_NOT_PRESENT:
        return "a feature is not there";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return "no compatible driver";
    case VK_ERROR_TOO_MANY_OBJECTS:
        return "too many objects";
    case VK_ERROR_INVALID_SHADER_NV:
        return "invalid shader";
    case VK_ERROR_UNKNOWN:
        return "unknown error";
    default:
        return "error";
    }
}

apus_status apusi_vk_fail(apus_gpu *gpu, VkResult result, const char *what)
{
    const char *device = gpu && gpu->physical.caps.name[0] ? gpu->physical.caps.name : "Vulkan";

    if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return apus_fail(APUS_ERR_MEMORY, "%s: %s: %s", device, what, apusi_result_text(result));
    if (result == VK_ERROR_DEVICE_LOST) {
        if (gpu)
            apusi_lost(gpu);
        return apus_fail(APUS_ERR_LOST,
                         "%s: %s: the device was lost%s%s; a dispatch ran too long, or the driver "
                         "failed (see the system log)",
                         device, what,
                         gpu && gpu->last_kernel[0] ? ", last kernel submitted: " : "",
                         gpu ? gpu->last_kernel : "");
    }
    return apus_fail(APUS_ERR_DEVICE, "%s: %s: %s (VkResult %d)", device, what,
                     apusi_result_text(result), (int)result);
}
