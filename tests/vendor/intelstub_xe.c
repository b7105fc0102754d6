/* intelstub_xe.c - the xe kernel interface: Lunar Lake, Battlemage and later.  See intelstub.h. */
#include "intelstub.h"

#include <errno.h>

#define SYSTEM_BYTES (16ull << 30)

static uint32_t engines(struct drm_xe_query_engines *e)
{
    e->num_engines = 5; /* one of each class */
    for (uint32_t i = 0; i < e->num_engines; i++)
        e->engines[i].instance.engine_class = (uint16_t)i;
    return (uint32_t)(sizeof(*e) + e->num_engines * sizeof(e->engines[0]));
}

static uint32_t regions(struct drm_xe_query_mem_regions *m)
{
    m->num_mem_regions = stub->vram_mb ? 2 : 1;
    m->mem_regions[0] = (struct drm_xe_mem_region) {
        .mem_class = DRM_XE_MEM_REGION_CLASS_SYSMEM,
        .min_page_size = 4096,
        .total_size = SYSTEM_BYTES,
    };
    if (stub->vram_mb)
        m->mem_regions[1] = (struct drm_xe_mem_region) {
            .mem_class = DRM_XE_MEM_REGION_CLASS_VRAM,
            .instance = 1,
            .min_page_size = 65536,
            .total_size = (uint64_t)stub->vram_mb << 20,
            .cpu_visible_size = (uint64_t)stub->vram_mb << 20,
        };
    return (uint32_t)(sizeof(*m) + m->num_mem_regions * sizeof(m->mem_regions[0]));
}

static uint32_t config(struct drm_xe_query_config *c)
{
    c->num_params = 5;
    c->info[DRM_XE_QUERY_CONFIG_REV_AND_DEVICE_ID] = stub->id | (uint64_t)stub->revision << 16;
    c->info[DRM_XE_QUERY_CONFIG_FLAGS] = DRM_XE_QUERY_CONFIG_FLAG_HAS_LOW_LATENCY |
                                         (stub->vram_mb ? DRM_XE_QUERY_CONFIG_FLAG_HAS_VRAM : 0);
    c->info[DRM_XE_QUERY_CONFIG_MIN_ALIGNMENT] = stub->vram_mb ? 65536 : 4096;
    c->info[DRM_XE_QUERY_CONFIG_VA_BITS] = 48;
    c->info[DRM_XE_QUERY_CONFIG_MAX_EXEC_QUEUE_PRIORITY] = 1;
    return (uint32_t)(sizeof(*c) + c->num_params * sizeof(c->info[0]));
}

static uint32_t parts(struct drm_xe_query_gt_list *g)
{
    g->num_gt = 1;
    g->gt_list[0] = (struct drm_xe_gt) {
        .reference_clock = stub->ticks,
        .near_mem_regions = stub->vram_mb ? 2 : 1,
        .far_mem_regions = stub->vram_mb ? 1 : 0,
        .ip_ver_major = stub->ip[0],
        .ip_ver_minor = stub->ip[1],
        .ip_ver_rev = stub->ip[2],
    };
    return (uint32_t)(sizeof(*g) + sizeof(g->gt_list[0]));
}

static uint32_t topology(char *to)
{
    const struct {
        uint16_t type;
        int bits;
    } masks[] = {
        { DRM_XE_TOPO_DSS_GEOMETRY, stub->subslices },
        { DRM_XE_TOPO_DSS_COMPUTE, stub->subslices },
        { DRM_XE_TOPO_SIMD16_EU_PER_DSS, stub->units },
        { DRM_XE_TOPO_L3_BANK, 8 },
    };
    char *at = to;

    for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        struct drm_xe_query_topology_mask *m = (void *)at;

        m->type = masks[i].type;
        m->num_bytes = 8;
        for (int k = 0; k < masks[i].bits; k++)
            m->mask[k / 8] |= (uint8_t)(1 << k % 8);
        at += sizeof(*m) + m->num_bytes;
    }
    return (uint32_t)(at - to);
}

/* Answers that are filled in where they lie, since the question is there too. */
static int query_in_place(struct drm_xe_device_query *q)
{
    const bool firmware = q->query == DRM_XE_DEVICE_QUERY_UC_FW_VERSION;
    struct drm_xe_query_uc_fw_version *v = stub_pointer(q->data);
    struct drm_xe_query_engine_cycles *c = stub_pointer(q->data);
    const uint32_t bytes = firmware ? sizeof(*v) : sizeof(*c);

    if (q->size == 0) {
        q->size = bytes;
        return 0;
    }
    if (q->size != bytes)
        return EINVAL;
    if (firmware) {
        v->branch_ver = v->patch_ver = 0;
        v->major_ver = 70;
        v->minor_ver = 30;
    } else {
        c->width = 36;
        c->engine_cycles = stub_ticks();
        c->cpu_timestamp = stub_nanoseconds();
        c->cpu_delta = 100;
    }
    return 0;
}

static int query(struct drm_xe_device_query *q)
{
    uint64_t answer[1024] = { 0 };
    uint32_t bytes = 0;

    switch (q->query) {
    case DRM_XE_DEVICE_QUERY_ENGINES:
        bytes = engines((void *)answer);
        break;
    case DRM_XE_DEVICE_QUERY_MEM_REGIONS:
        bytes = regions((void *)answer);
        break;
    case DRM_XE_DEVICE_QUERY_CONFIG:
        bytes = config((void *)answer);
        break;
    case DRM_XE_DEVICE_QUERY_GT_LIST:
        bytes = parts((void *)answer);
        break;
    case DRM_XE_DEVICE_QUERY_GT_TOPOLOGY:
        bytes = topology((void *)answer);
        break;
    case DRM_XE_DEVICE_QUERY_UC_FW_VERSION:
    case DRM_XE_DEVICE_QUERY_ENGINE_CYCLES:
        return query_in_place(q);
    case DRM_XE_DEVICE_QUERY_HWCONFIG:
        q->size = 0;
        return 0;
    default:
        return ENODEV;
    }
    if (q->size != 0 && q->size != bytes)
        return EINVAL;
    if (q->size != 0)
        memcpy(stub_pointer(q->data), answer, bytes);
    q->size = bytes;
    return 0;
}

static int signal_syncs(uint64_t address, uint32_t n)
{
    const struct drm_xe_sync *s = stub_pointer(address);

    for (uint32_t i = 0; i < n; i++) {
        if (!(s[i].flags & DRM_XE_SYNC_FLAG_SIGNAL))
            continue;
        if (s[i].type == DRM_XE_SYNC_TYPE_SYNCOBJ)
            stub_signal(s[i].handle, 1);
        else if (s[i].type == DRM_XE_SYNC_TYPE_TIMELINE_SYNCOBJ)
            stub_signal(s[i].handle, s[i].timeline_value);
        else if (s[i].addr)
            *(volatile uint64_t *)stub_pointer(s[i].addr) = s[i].timeline_value;
    }
    return 0;
}

static int map_offset(struct drm_xe_gem_mmap_offset *m)
{
    const stub_buffer *b = stub_buffer_of(m->handle);

    if (m->flags & DRM_XE_MMAP_OFFSET_FLAG_PCI_BARRIER) {
        m->offset = 0;
        return 0;
    }
    if (b)
        m->offset = b->offset;
    return b ? 0 : ENOENT;
}

int stub_xe(unsigned nr, void *arg)
{
    switch (nr) {
    case DRM_XE_DEVICE_QUERY:
        return query(arg);
    case DRM_XE_GEM_CREATE: {
        struct drm_xe_gem_create *c = arg;
        c->handle = stub_buffer_new(c->size);
        return c->handle ? 0 : ENOMEM;
    }
    case DRM_XE_GEM_MMAP_OFFSET:
        return map_offset(arg);
    case DRM_XE_VM_CREATE:
        ((struct drm_xe_vm_create *)arg)->vm_id = stub_next_id();
        return 0;
    case DRM_XE_VM_BIND: {
        const struct drm_xe_vm_bind *b = arg;
        return signal_syncs(b->syncs, b->num_syncs);
    }
    case DRM_XE_EXEC_QUEUE_CREATE:
        ((struct drm_xe_exec_queue_create *)arg)->exec_queue_id = stub_next_id();
        return 0;
    case DRM_XE_EXEC_QUEUE_GET_PROPERTY:
        ((struct drm_xe_exec_queue_get_property *)arg)->value = 0;
        return 0;
    case DRM_XE_EXEC: {
        const struct drm_xe_exec *e = arg;
        return signal_syncs(e->syncs, e->num_syncs);
    }
    case DRM_XE_VM_DESTROY:
    case DRM_XE_EXEC_QUEUE_DESTROY:
    case DRM_XE_WAIT_USER_FENCE:
        return 0;
    default: /* memory advice, counters */
        return ENODEV;
    }
}
