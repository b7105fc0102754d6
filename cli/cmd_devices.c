/* cmd_devices.c - `apus devices`: the Vulkan devices. */
#include "args.h"
#include "base.h"

apus_status apus_cmd_devices(apus_args *args)
{
    (void)args;
    return apus_fail(APUS_ERR_SUPPORT, "not supported yet");
}
