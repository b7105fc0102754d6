/* list.c - listing devices, and the self-test of an open one. */
#include <stdio.h>

#include "gpu_internal.h"
#include "probe.h"

/* An array with an element for each device, of `each` bytes, filled by `fill`. */
static apus_status list_devices(void **list, uint32_t *n, size_t each,
                                void (*fill)(void *element, uint32_t i, const apusi_physical *p))
{
    apus_status st;
    apusi_instance *instance = apus_alloc(sizeof(*instance));
    apusi_physical *all = NULL;
    uint32_t count = 0;

    *list = NULL;
    *n = 0;
    if (!instance)
        return APUS_ERR_MEMORY;
    APUS_TRY(apusi_instance_open(instance, false));
    APUS_TRY(apusi_physical_list(instance, &all, &count));
    *list = apus_calloc(count, each);
    if (!*list) {
        st = APUS_ERR_MEMORY;
        goto fail;
    }
    for (uint32_t i = 0; i < count; i++)
        fill((char *)*list + i * each, i, &all[i]);
    *n = count;

fail:
    apus_free(all);
    apusi_instance_close(instance);
    apus_free(instance);
    return st;
}

static void fill_listing(void *element, uint32_t i, const apusi_physical *p)
{
    apus_gpu_listing *listing = element;

    (void)i;
    listing->caps = p->caps;
    listing->usable = p->usable;
    memcpy(listing->reason, p->reason, sizeof(p->reason));
}

apus_status apus_gpu_list(apus_gpu_listing **list, uint32_t *n)
{
    void *all;
    const apus_status st = list_devices(&all, n, sizeof(**list), fill_listing);

    *list = all;
    return st;
}

static const char *kind_of(const apus_caps *c, VkPhysicalDeviceType type)
{
    if (c->device_class == APUS_CLASS_CPU)
        return "cpu";
    return type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU     ? "discrete"
           : type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU ? "integrated"
           : type == VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU    ? "virtual"
                                                            : "other";
}

static void fill_row(void *element, uint32_t index, const apusi_physical *p)
{
    apus_device_row *row = element;
    const apus_caps *c = &p->caps;
    size_t at = 0;

    row->index = index;
    memcpy(row->name, c->name, sizeof(row->name));
    memcpy(row->driver, c->driver, sizeof(row->driver));
    memcpy(row->reason, p->reason, sizeof(row->reason));
    for (int i = 0; i < 16; i++)
        snprintf(row->uuid + 2 * i, 3, "%02x", c->uuid[i]);
    snprintf(row->kind, sizeof(row->kind), "%s", kind_of(c, p->type));
    row->usable = p->usable;
    row->f16 = c->f16;
    row->bf16 = c->bf16;
    row->int8_dot = c->int8_fast;
    row->timestamps = c->timestamps;
    row->api_version = c->api_version;
    row->subgroup = c->subgroup;
    row->subgroup_min = c->subgroup_min;
    row->subgroup_max = c->subgroup_max;
    row->max_shared = c->max_shared;
    row->heap = c->heap;
    row->max_alloc = c->max_alloc;
    row->coop_built = c->coop_built;
    for (uint32_t i = 0; i < c->n_coop && at + 24 < sizeof(row->coop); i++)
        at += (size_t)snprintf(row->coop + at, sizeof(row->coop) - at, "%s%ux%ux%u %s",
                               i ? ", " : "", c->coop[i].m, c->coop[i].n, c->coop[i].k,
                               c->coop[i].in == APUS_F16 ? "f16" : "bf16");
}

apus_status apus_device_rows(apus_device_row **rows, uint32_t *n)
{
    void *all;
    const apus_status st = list_devices(&all, n, sizeof(**rows), fill_row);

    *rows = all;
    return st;
}

void apus_device_rows_free(apus_device_row **rows)
{
    apus_free(*rows);
    *rows = NULL;
}

/* y = a x + i over more elements than a workgroup and a row of workgroups hold. */
apus_status apus_gpu_selftest(apus_gpu *gpu)
{
    enum { N = 10000, LOCAL = 64, ROW = 37 };
    apus_status st;
    apus_buffer x = { 0 }, y = { 0 };
    apus_commands *c = NULL;
    uint64_t ticket;
    float *values = apus_calloc(N, sizeof(*values));

    if (!values)
        return APUS_ERR_MEMORY;
    for (uint32_t i = 0; i < N; i++)
        values[i] = (float)(i % 251) - 125.0f;
    APUS_TRY(apus_buffer_create(gpu, &x, N * sizeof(float), APUS_MEMORY_DEVICE, "selftest x"));
    APUS_TRY(apus_buffer_create(gpu, &y, N * sizeof(float), APUS_MEMORY_DEVICE, "selftest y"));
    APUS_TRY(apus_buffer_write(gpu, &x, 0, values, N * sizeof(float)));
    APUS_TRY(apus_commands_create(gpu, &c));
    APUS_TRY(apus_commands_begin(c));
    const struct apus_probe_push push = { .x = x.address, .y = y.address, .n = N, .a = 0.5f };
    const uint32_t groups[3] = { ROW, (N + LOCAL * ROW - 1) / (LOCAL * ROW), 1 };
    APUS_TRY(apus_commands_dispatch(
        c, &(apus_kernel_key) { .name = "probe", .n_spec = 1, .spec = { LOCAL } }, &push,
        sizeof(push), groups));
    APUS_TRY(apus_commands_end(c));
    APUS_TRY(apus_gpu_submit(gpu, &c, 1, &ticket));
    APUS_TRY(apus_gpu_wait(gpu, ticket, UINT64_C(30000000000)));
    APUS_TRY(apus_buffer_read(gpu, &y, 0, values, N * sizeof(float)));
    for (uint32_t i = 0; i < N; i++) {
        const float want = 0.5f * ((float)(i % 251) - 125.0f) + (float)i; /* exact in f32 */

        if (values[i] != want) {
            st = apus_fail(APUS_ERR_DEVICE,
                           "%s failed its self-test: element %u is %g, not %g; the driver computes "
                           "wrongly",
                           gpu->physical.caps.name, i, (double)values[i], (double)want);
            break;
        }
    }

fail:
    if (gpu->device && st != APUS_OK)
        gpu->vk.vkDeviceWaitIdle(gpu->device); /* the buffers may still be in use */
    apus_commands_destroy(&c);
    apus_buffer_destroy(gpu, &x);
    apus_buffer_destroy(gpu, &y);
    apus_free(values);
    return st;
}
