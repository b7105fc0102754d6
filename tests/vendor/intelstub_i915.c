/* intelstub_i915.c - the i915 kernel interface: Skylake to Meteor Lake.  See intelstub.h. */
#include "intelstub.h"

#include <errno.h>
#include <sys/mman.h>

#define SYSTEM_BYTES (16ull << 30)

static int parameter(drm_i915_getparam_t *g)
{
    switch (g->param) {
    case I915_PARAM_CHIPSET_ID:
        *g->value = stub->id;
        return 0;
    case I915_PARAM_REVISION:
        *g->value = stub->revision;
        return 0;
    case I915_PARAM_HAS_LLC:
        *g->value = stub->llc;
        return 0;
    case I915_PARAM_NUM_FENCES_AVAIL:
        *g->value = 32;
        return 0;
    case I915_PARAM_HAS_ALIASING_PPGTT:
        *g->value = 3;
        return 0;
    case I915_PARAM_SUBSLICE_TOTAL:
        *g->value = stub->subslices;
        return 0;
    case I915_PARAM_EU_TOTAL:
        *g->value = stub->subslices * stub->units;
        return 0;
    case I915_PARAM_SUBSLICE_MASK:
        *g->value = (int)((1ull << stub->subslices) - 1);
        return 0;
    case I915_PARAM_MMAP_GTT_VERSION:
        *g->value = 4;
        return 0;
    case I915_PARAM_CMD_PARSER_VERSION:
        *g->value = 10;
        return 0;
    case I915_PARAM_CS_TIMESTAMP_FREQUENCY:
    case I915_PARAM_OA_TIMESTAMP_FREQUENCY:
        *g->value = (int)stub->ticks;
        return 0;
    case I915_PARAM_HAS_SCHEDULER:
    case I915_PARAM_HAS_CONTEXT_ISOLATION:
        *g->value = 0x1f;
        return 0;
    case I915_PARAM_HAS_POOLED_EU:
    case I915_PARAM_HUC_STATUS:
    case I915_PARAM_PERF_REVISION:
        *g->value = 0;
        return 0;
    case I915_PARAM_PXP_STATUS:
        return ENODEV;
    default:
        break;
    }
    /* The rest that a driver asks for are abilities, and this kernel has them all. */
    *g->value = 1;
    return 0;
}

/* ---- queries ---- */

static int topology(struct drm_i915_query_topology_info *t)
{
    const int subslice_bytes = (stub->subslices + 7) / 8, unit_bytes = (stub->units + 7) / 8;

    t->max_slices = 1;
    t->max_subslices = stub->subslices;
    t->max_eus_per_subslice = stub->units;
    t->subslice_offset = 1;
    t->subslice_stride = (uint16_t)subslice_bytes;
    t->eu_offset = (uint16_t)(1 + subslice_bytes);
    t->eu_stride = (uint16_t)unit_bytes;
    t->data[0] = 1;
    for (int i = 0; i < stub->subslices; i++) {
        uint8_t *units = &t->data[1 + subslice_bytes + i * unit_bytes];

        t->data[1 + i / 8] |= (uint8_t)(1 << i % 8);
        for (int k = 0; k < stub->units; k++)
            units[k / 8] |= (uint8_t)(1 << k % 8);
    }
    return (int)sizeof(*t) + 1 + subslice_bytes + stub->subslices * unit_bytes;
}

static int engines(struct drm_i915_query_engine_info *q)
{
    const bool compute = (stub->id >= 0x5690 && stub->id <= 0x56ff) || stub->ip[0] > 0;

    q->num_engines = compute ? 5 : 4;
    for (uint32_t i = 0; i < q->num_engines; i++)
        q->engines[i].engine.engine_class = (uint16_t)i;
    return (int)(sizeof(*q) + q->num_engines * sizeof(q->engines[0]));
}

static int regions(struct drm_i915_query_memory_regions *q)
{
    q->num_regions = stub->vram_mb ? 2 : 1;
    q->regions[0].region.memory_class = I915_MEMORY_CLASS_SYSTEM;
    q->regions[0].probed_size = q->regions[0].unallocated_size = SYSTEM_BYTES;
    if (stub->vram_mb) {
        struct drm_i915_memory_region_info *r = &q->regions[1];

        r->region.memory_class = I915_MEMORY_CLASS_DEVICE;
        r->probed_size = r->unallocated_size = (uint64_t)stub->vram_mb << 20;
        r->probed_cpu_visible_size = r->unallocated_cpu_visible_size = r->probed_size;
    }
    return (int)(sizeof(*q) + q->num_regions * sizeof(q->regions[0]));
}

static void query(struct drm_i915_query_item *item)
{
    uint64_t answer[512] = { 0 };
    int length;

    switch (item->query_id) {
    case DRM_I915_QUERY_TOPOLOGY_INFO:
    case DRM_I915_QUERY_GEOMETRY_SUBSLICES:
        length = topology((void *)answer);
        break;
    case DRM_I915_QUERY_ENGINE_INFO:
        length = engines((void *)answer);
        break;
    case DRM_I915_QUERY_MEMORY_REGIONS:
        length = regions((void *)answer);
        break;
    default:
        length = -EINVAL;
        break;
    }
    if (length > 0 && item->length > 0 && item->length < length)
        length = -EINVAL;
    if (length > 0 && item->length > 0)
        memcpy(stub_pointer(item->data_ptr), answer, (size_t)length);
    item->length = length;
}

/* ---- buffers and submissions ---- */

static int create(uint64_t size, uint32_t *handle)
{
    *handle = size ? stub_buffer_new(size) : 0;
    return *handle ? 0 : size ? ENOMEM : EINVAL;
}

static int map_buffer(struct drm_i915_gem_mmap *m)
{
    const stub_buffer *b = stub_buffer_of(m->handle);

    if (!b)
        return ENOENT;
    void *p = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED, stub_file,
                   (off_t)(b->offset + m->offset));
    if (p == MAP_FAILED)
        return errno;
    m->addr_ptr = (uintptr_t)p;
    return 0;
}

static int map_offset(struct drm_i915_gem_mmap_offset *m)
{
    const stub_buffer *b = stub_buffer_of(m->handle);

    if (b)
        m->offset = b->offset;
    return b ? 0 : ENOENT;
}

static int context_parameter(struct drm_i915_gem_context_param *p)
{
    switch (p->param) {
    case I915_CONTEXT_PARAM_GTT_SIZE:
        p->value = 1ull << 48;
        return 0;
    case I915_CONTEXT_PARAM_VM:
        p->value = stub_next_id();
        return 0;
    case I915_CONTEXT_PARAM_PRIORITY:
    case I915_CONTEXT_PARAM_RECOVERABLE:
    case I915_CONTEXT_PARAM_BANNABLE:
        p->value = 0;
        return 0;
    default:
        return EINVAL;
    }
}

static void signal_fences(const struct drm_i915_gem_exec_fence *f, const uint64_t *points,
                          uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        if (f[i].flags & I915_EXEC_FENCE_SIGNAL)
            stub_signal(f[i].handle, points ? points[i] : 1);
}

static int execute(const struct drm_i915_gem_execbuffer2 *e)
{
    if (e->flags & I915_EXEC_USE_EXTENSIONS) {
        const struct i915_user_extension *x = stub_pointer(e->cliprects_ptr);

        for (; x; x = stub_pointer(x->next_extension)) {
            const struct drm_i915_gem_execbuffer_ext_timeline_fences *t = (const void *)x;
            if (x->name == DRM_I915_GEM_EXECBUFFER_EXT_TIMELINE_FENCES)
                signal_fences(stub_pointer(t->handles_ptr), stub_pointer(t->values_ptr),
                              t->fence_count);
        }
    } else if (e->flags & I915_EXEC_FENCE_ARRAY) {
        signal_fences(stub_pointer(e->cliprects_ptr), NULL, e->num_cliprects);
    }
    return 0;
}

static int queries(const struct drm_i915_query *q)
{
    struct drm_i915_query_item *items = stub_pointer(q->items_ptr);

    for (uint32_t i = 0; i < q->num_items; i++)
        query(&items[i]);
    return 0;
}

int stub_i915(unsigned nr, void *arg)
{
    switch (nr) {
    case DRM_I915_GETPARAM:
        return parameter(arg);
    case DRM_I915_QUERY:
        return queries(arg);
    case DRM_I915_GEM_CREATE: {
        struct drm_i915_gem_create *c = arg;
        return create(c->size, &c->handle);
    }
    case DRM_I915_GEM_CREATE_EXT: {
        struct drm_i915_gem_create_ext *c = arg;
        return create(c->size, &c->handle);
    }
    case DRM_I915_GEM_USERPTR:
        return create(4096, &((struct drm_i915_gem_userptr *)arg)->handle);
    case DRM_I915_GEM_MMAP:
        return map_buffer(arg);
    case DRM_I915_GEM_MMAP_GTT:
        return map_offset(arg);
    case DRM_I915_GEM_CONTEXT_CREATE:
        ((struct drm_i915_gem_context_create *)arg)->ctx_id = stub_next_id();
        return 0;
    case DRM_I915_GEM_CONTEXT_GETPARAM:
        return context_parameter(arg);
    case DRM_I915_GEM_VM_CREATE:
        ((struct drm_i915_gem_vm_control *)arg)->vm_id = stub_next_id();
        return 0;
    case DRM_I915_GEM_BUSY:
        ((struct drm_i915_gem_busy *)arg)->busy = 0;
        return 0;
    case DRM_I915_GEM_MADVISE:
        ((struct drm_i915_gem_madvise *)arg)->retained = 1;
        return 0;
    case DRM_I915_GEM_GET_APERTURE: {
        struct drm_i915_gem_get_aperture *a = arg;
        a->aper_size = a->aper_available_size = 4ull << 30;
        return 0;
    }
    case DRM_I915_GEM_GET_TILING: {
        struct drm_i915_gem_get_tiling *t = arg;
        t->tiling_mode = t->swizzle_mode = 0;
        return 0;
    }
    case DRM_I915_GET_RESET_STATS: {
        struct drm_i915_reset_stats *r = arg;
        r->reset_count = r->batch_active = r->batch_pending = 0;
        return 0;
    }
    case DRM_I915_REG_READ:
        ((struct drm_i915_reg_read *)arg)->val = stub_ticks();
        return 0;
    case DRM_I915_GEM_EXECBUFFER2:
        return execute(arg);
    case DRM_I915_GEM_CONTEXT_DESTROY:
    case DRM_I915_GEM_CONTEXT_SETPARAM:
    case DRM_I915_GEM_VM_DESTROY:
    case DRM_I915_GEM_SET_DOMAIN:
    case DRM_I915_GEM_SET_CACHING:
    case DRM_I915_GEM_SET_TILING:
    case DRM_I915_GEM_PWRITE:
    case DRM_I915_GEM_WAIT:
        return 0;
    default: /* performance counters, among others */
        return EINVAL;
    }
}
