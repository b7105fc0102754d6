/* as_device.c - --as CAPS.json: everything above the gpu layer is told that the device is the one
 * that was recorded, and so takes the algorithms that it would take there.
 *
 * What must be true for the real device to run them stays true: widths of subgroups, shapes of
 * cooperative matrices, number formats; limits are the smaller of both.  The program is linked with
 * apus_gpu_caps wrapped (ld --wrap). */
#include <stdio.h>

#include "golden.h"
#include "gpu.h"

const apus_caps *__real_apus_gpu_caps(const apus_gpu *gpu);
const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu);

static const cJSON *recorded; /* NULL: the device is itself */

static uint32_t number(const char *key)
{
    return (uint32_t)apus_json_number(recorded, key, 0);
}

static uint32_t least(const char *key, uint32_t real)
{
    return number(key) < real ? number(key) : real;
}

/* The real shapes in those formats that the recorded device has shapes in. */
static void keep_coop(apus_caps *c)
{
    const cJSON *shape, *shapes = apus_json_get(recorded, "coop");
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->n_coop; i++) {
        bool has = false;
        cJSON_ArrayForEach(shape, shapes)
        {
            const char *format = strchr(shape->valuestring, ' ');
            has = has || (format && !strcmp(format + 1, apus_dtype_of(c->coop[i].in)->name));
        }
        if (has)
            c->coop[n++] = c->coop[i];
    }
    c->n_coop = n;
}

const apus_caps *__wrap_apus_gpu_caps(const apus_gpu *gpu)
{
    static apus_caps c; /* made anew each time, always the same */

    if (!recorded)
        return __real_apus_gpu_caps(gpu);
    c = *__real_apus_gpu_caps(gpu);
    c.device_class = apus_json_bool(recorded, "cpu", true) ? APUS_CLASS_CPU : APUS_CLASS_GPU;
    c.vendor_id = number("vendor_id");
    c.subgroup_min = number("subgroup_min");
    c.subgroup_max = number("subgroup_max");
    c.subgroup_arith = c.subgroup_arith && apus_json_bool(recorded, "subgroup_arith", false);
    c.subgroup_shuffle = c.subgroup_shuffle && apus_json_bool(recorded, "subgroup_shuffle", false);
    c.uniform_loads = apus_json_bool(recorded, "uniform_loads", false);
    c.f16 = c.f16 && apus_json_bool(recorded, "f16", false);
    c.bf16 = c.bf16 && apus_json_bool(recorded, "bf16", false);
    c.small_ints = c.small_ints && apus_json_bool(recorded, "small_ints", false);
    c.int8_dot = c.int8_dot && apus_json_bool(recorded, "int8_dot", false);
    c.int8_fast = c.int8_dot && apus_json_bool(recorded, "int8_fast", false);
    c.max_invocations = least("max_invocations", c.max_invocations);
    c.max_shared = least("max_shared", c.max_shared);
    keep_coop(&c);
    snprintf(c.name, sizeof(c.name), "%s", apus_json_string(recorded, "name", "?"));
    return &c;
}

apus_status golden_as(const cJSON *caps)
{
    recorded = caps;
    if (caps && (!number("subgroup_min") || !number("max_invocations") || !number("max_shared")))
        return apus_fail(APUS_ERR_FORMAT, "--as: not the caps of a device");
    return APUS_OK;
}
