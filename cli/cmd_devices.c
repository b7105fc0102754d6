/* cmd_devices.c - `apus devices`: what Vulkan devices there are, and what they can. */
#include <stdio.h>

#include "apus/gpu.h"
#include "args.h"
#include "base.h"
#include "sizes.h"

static void show(const apus_device_row *r)
{
    char heap[32], most[32];

    apusi_bytes_text(heap, sizeof(heap), r->heap);
    apusi_bytes_text(most, sizeof(most), r->max_alloc);
    printf("device %u  %s\n", r->index, r->name);
    printf("  driver    %s, Vulkan %u.%u\n", r->driver, r->api_version >> 22,
           r->api_version >> 12 & 0x3ff);
    printf("  uuid      %s\n", r->uuid);
    if (!r->usable) {
        printf("  not usable: %s\n", r->reason);
        return;
    }
    printf("  kind      %s, %s of memory, one allocation up to %s\n", r->kind, heap, most);
    printf("  subgroup  %u (%u to %u), shared memory %u bytes\n", r->subgroup, r->subgroup_min,
           r->subgroup_max, r->max_shared);
    printf("  types     f32%s%s%s\n", r->f16 ? ", f16" : "", r->bf16 ? ", bf16" : "",
           r->int8_dot ? ", int8 dot" : "");
    printf("  matrices  %s%s\n", r->coop[0] ? r->coop : "none",
           r->coop[0] && !r->coop_built ? " (this build's glslc was too old for them)" : "");
    printf("  matmul    %s\n",
           !strcmp(r->kind, "cpu") ? "register tile (cpu, vec_cpu)"
           : r->coop[0] && r->coop_built
               ? "cooperative matrix where 16 bits are allowed, shared-memory tile"
               : "shared-memory tile");
}

apus_status apus_cmd_devices(apus_args *args)
{
    apus_device_row *rows = NULL;
    uint32_t n = 0;

    (void)args;
    APUS_FORWARD(apus_device_rows(&rows, &n));
    for (uint32_t i = 0; i < n; i++)
        show(&rows[i]);
    apus_device_rows_free(&rows);
    return APUS_OK;
}
