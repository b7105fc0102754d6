/* instance.c - the loader, the instance, the validation layer and its messages. */
#include <stdio.h>
#include <threads.h>

#include "env.h"
#include "gpu_internal.h"

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

static once_flag loader_once = ONCE_FLAG_INIT;
static bool loader_found;

static void load_loader(void)
{
    loader_found = volkInitialize() == VK_SUCCESS;
}

/* Messages that say nothing about the program: advice of the performance kind, and the layer's
 * notes on its own settings (that GPU-assisted validation switched features on or reserved a
 * slot). */
static bool is_chatter(VkDebugUtilsMessageTypeFlagsEXT types, const char *id)
{
    static const char *const settings[] = {
        "VALIDATION-SETTINGS",             /* 1.4: GPU-assisted together with core checks */
        "WARNING-Setting-",                /* 1.4: limits and checks that it adjusts */
        "WARNING-GPU-Assisted-Validation", /* 1.3.239: the features it switches on */
        "UNASSIGNED-GPU-Assisted Validation Warning", /* 1.3.239: no shaderInt64, and the like */
        "WARNING-CreateDevice-extension-not-found",   /* the layer's wishes for itself */
        "UNASSIGNED-khronos-validation-createinstance-status-message",
    };

    if (!(types & VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT))
        return true; /* the loader's general messages, and performance advice */
    for (size_t i = 0; id && i < APUS_COUNT(settings); i++)
        if (strncmp(id, settings[i], strlen(settings[i])) == 0)
            return true;
    return false;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user)
{
    apusi_instance *instance = user;

    if (is_chatter(types, data->pMessageIdName)) {
        apus_log(APUS_LOG_DEBUG, "validation note: %s", data->pMessage);
        return VK_FALSE;
    }
    atomic_fetch_add(&instance->messages, 1u);
    apus_log(APUS_LOG_ERROR, "validation (%s, %s): %s",
             severity & VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT ? "error" : "warning",
             data->pMessageIdName ? data->pMessageIdName : "no id", data->pMessage);
    return VK_FALSE;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(apusi_instance *instance)
{
    return (VkDebugUtilsMessengerCreateInfoEXT) {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = instance,
    };
}

static apus_status need_layer(const char *name)
{
    uint32_t n = 0;
    bool found = false;

    if (vkEnumerateInstanceLayerProperties(&n, NULL) == VK_SUCCESS && n > 0) {
        VkLayerProperties *all = apus_calloc(n, sizeof(*all));

        if (!all)
            return APUS_ERR_MEMORY;
        if (vkEnumerateInstanceLayerProperties(&n, all) >= VK_SUCCESS)
            for (uint32_t i = 0; i < n; i++)
                found = found || strcmp(all[i].layerName, name) == 0;
        apus_free(all);
    }
    if (!found)
        return apus_fail(APUS_ERR_MISSING,
                         "validation was asked for, but %s is not installed "
                         "(Debian: vulkan-validationlayers)",
                         name);
    return APUS_OK;
}

static apus_status create_instance(apusi_instance *instance)
{
    const char *const layer = VALIDATION_LAYER;
    const char *const extension = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    /* Beside the core checks; one or the other, each slows what it looks at. */
    const VkValidationFeatureEnableEXT synchronization[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT,
    };
    const VkValidationFeatureEnableEXT assisted[] = {
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_EXT,
        VK_VALIDATION_FEATURE_ENABLE_GPU_ASSISTED_RESERVE_BINDING_SLOT_EXT,
    };
    VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(instance);
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount =
            instance->gpu_assisted ? APUS_COUNT(assisted) : APUS_COUNT(synchronization),
        .pEnabledValidationFeatures = instance->gpu_assisted ? assisted : synchronization,
    };
    const VkApplicationInfo app = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "apus",
        .pEngineName = "apus",
        .apiVersion = instance->api,
    };
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &app,
    };

    if (instance->validating) {
        info.pNext = &features;
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &layer;
        info.enabledExtensionCount = 1;
        info.ppEnabledExtensionNames = &extension;
    }
    const VkResult result = vkCreateInstance(&info, NULL, &instance->handle);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
        instance->handle = VK_NULL_HANDLE;
        return apus_fail(APUS_ERR_MISSING, "no Vulkan driver found: install the one of your GPU "
                                           "(Debian: mesa-vulkan-drivers, which also has a driver "
                                           "for the CPU)");
    }
    if (result != VK_SUCCESS) {
        instance->handle = VK_NULL_HANDLE;
        return apusi_vk_fail(NULL, result, "vkCreateInstance");
    }
    volkLoadInstanceOnly(instance->handle);
    if (!instance->validating)
        return APUS_OK;

    /* By name: volk's globals of an extension are those of the last instance, which may lack it. */
    const PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(instance->handle,
                                                                  "vkCreateDebugUtilsMessengerEXT");
    instance->set_name = (PFN_vkSetDebugUtilsObjectNameEXT)vkGetInstanceProcAddr(
        instance->handle, "vkSetDebugUtilsObjectNameEXT");
    if (create && create(instance->handle, &messenger, NULL, &instance->messenger) != VK_SUCCESS)
        instance->messenger = VK_NULL_HANDLE;
    return APUS_OK;
}

apus_status apusi_instance_open(apusi_instance *instance, bool validate)
{
    call_once(&loader_once, load_loader);
    if (!loader_found)
        return apus_fail(APUS_ERR_MISSING, "no Vulkan loader (libvulkan.so.1) found: install it "
                                           "(Debian: libvulkan1 and mesa-vulkan-drivers)");
    const uint32_t loader = volkGetInstanceVersion();
    if (loader < VK_API_VERSION_1_2)
        return apus_fail(APUS_ERR_MISSING, "the Vulkan loader has version %u.%u, 1.2 is needed",
                         VK_API_VERSION_MAJOR(loader), VK_API_VERSION_MINOR(loader));
    instance->api = loader < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3;
    instance->gpu_assisted = strcmp(apus_env_get(APUS_VALIDATE), "gpu") == 0;
    instance->validating = validate || apus_env_on(APUS_VALIDATE);
    if (instance->validating)
        APUS_FORWARD(need_layer(VALIDATION_LAYER));
    return create_instance(instance);
}

void apusi_instance_close(apusi_instance *instance)
{
    if (!instance->handle)
        return;
    if (instance->messenger) {
        const PFN_vkDestroyDebugUtilsMessengerEXT destroy =
            (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
                instance->handle, "vkDestroyDebugUtilsMessengerEXT");

        if (destroy)
            destroy(instance->handle, instance->messenger, NULL);
    }
    vkDestroyInstance(instance->handle, NULL);
    instance->handle = VK_NULL_HANDLE;
    instance->messenger = VK_NULL_HANDLE;
}

apus_status apusi_physical_list(const apusi_instance *instance, apusi_physical **list, uint32_t *n)
{
    apus_status st;
    VkPhysicalDevice *handles = NULL;
    apusi_physical *all = NULL;
    uint32_t count = 0;

    *list = NULL;
    *n = 0;
    const char *most = apus_env_get(APUS_HEAP_MIB);
    if (most[strspn(most, "0123456789")])
        return apus_fail(APUS_ERR_ARG, "APUS_HEAP_MIB is '%s'; it must be a whole number of MiB",
                         most);
    VkResult result = vkEnumeratePhysicalDevices(instance->handle, &count, NULL);
    if (result == VK_SUCCESS && count > 0) {
        handles = apus_calloc(count, sizeof(*handles));
        all = apus_calloc(count, sizeof(*all));
        if (!handles || !all) {
            st = APUS_ERR_MEMORY;
            goto fail;
        }
        result = vkEnumeratePhysicalDevices(instance->handle, &count, handles);
    }
    if (result < 0 || count == 0) {
        st = apus_fail(APUS_ERR_MISSING,
                       "no Vulkan device found (%s): install the driver of your GPU (Debian: "
                       "mesa-vulkan-drivers, which also has a driver for the CPU)",
                       apusi_result_text(result));
        goto fail;
    }
    for (uint32_t i = 0; i < count; i++) {
        all[i].handle = handles[i];
        APUS_TRY(apusi_physical_look(&all[i], instance));
    }
    apus_free(handles);
    *list = all;
    *n = count;
    return APUS_OK;

fail:
    apus_free(handles);
    apus_free(all);
    return st;
}
