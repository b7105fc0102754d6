/* intelstub_core.c - buffers, synchronization objects and the ioctls that every DRM driver has.
 * See intelstub.h.
 *
 * A submission signals at once: what is waited for has been signalled or never will be. */
#include "intelstub.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 65536
#define ALIGN 65536ull /* of buffers: the largest page that a driver asks for */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static stub_buffer buffers[MOST];
static uint32_t n_buffers = 1; /* handles start at 1 */
static uint64_t end_of_file;
static struct object {
    uint64_t point;
    bool used;
} objects[MOST];
static uint32_t n_objects = 1, last_id;

uint32_t stub_next_id(void)
{
    return ++last_id;
}

uint64_t stub_nanoseconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t stub_ticks(void)
{
    return stub_nanoseconds() * (stub->ticks / 100000) / 10000;
}

uint32_t stub_buffer_new(uint64_t size)
{
    uint32_t h = 1;

    pthread_mutex_lock(&mutex);
    while (h < n_buffers && buffers[h].used)
        h++;
    if (h < MOST) {
        n_buffers = h == n_buffers ? h + 1 : n_buffers;
        size = (size + ALIGN - 1) / ALIGN * ALIGN;
        buffers[h] = (stub_buffer) { .size = size, .offset = end_of_file, .used = true };
        end_of_file += size;
        if (syscall(SYS_ftruncate, stub_file, end_of_file) != 0)
            fprintf(stderr, "intelstub: no room for a buffer\n");
    }
    pthread_mutex_unlock(&mutex);
    return h < MOST ? h : 0;
}

const stub_buffer *stub_buffer_of(uint32_t handle)
{
    return handle > 0 && handle < n_buffers && buffers[handle].used ? &buffers[handle] : NULL;
}

static int buffer_close(uint32_t handle)
{
    const stub_buffer *b = stub_buffer_of(handle);

    if (!b)
        return EINVAL;
    pthread_mutex_lock(&mutex);
    syscall(SYS_fallocate, stub_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, b->offset,
            b->size);
    buffers[handle].used = false;
    pthread_mutex_unlock(&mutex);
    return 0;
}

/* ---- synchronization objects ---- */

static uint64_t point_of(uint32_t handle)
{
    return handle < n_objects && objects[handle].used ? objects[handle].point : 0;
}

void stub_signal(uint32_t handle, uint64_t point)
{
    point = point > 0 ? point : 1;
    if (handle < n_objects && objects[handle].used && objects[handle].point < point)
        objects[handle].point = point;
}

static int object_create(struct drm_syncobj_create *c)
{
    uint32_t h = 1;

    pthread_mutex_lock(&mutex);
    while (h < n_objects && objects[h].used)
        h++;
    if (h < MOST) {
        n_objects = h == n_objects ? h + 1 : n_objects;
        objects[h] = (struct object) { (c->flags & DRM_SYNCOBJ_CREATE_SIGNALED) ? 1 : 0, true };
        c->handle = h;
    }
    pthread_mutex_unlock(&mutex);
    return h < MOST ? 0 : ENOMEM;
}

static int wait_for(const uint32_t *handles, const uint64_t *points, uint32_t n, bool all,
                    uint32_t *first)
{
    uint32_t reached = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t want = points && points[i] > 0 ? points[i] : 1;
        if (point_of(handles[i]) >= want) {
            *first = i;
            reached++;
        }
    }
    return (all ? reached == n : reached > 0 || n == 0) ? 0 : ETIME;
}

static int wait_plain(struct drm_syncobj_wait *w)
{
    return wait_for(stub_pointer(w->handles), NULL, w->count_handles,
                    w->flags & DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL, &w->first_signaled);
}

static int wait_timeline(struct drm_syncobj_timeline_wait *w)
{
    return wait_for(stub_pointer(w->handles), stub_pointer(w->points), w->count_handles,
                    w->flags & DRM_SYNCOBJ_WAIT_FLAGS_WAIT_ALL, &w->first_signaled);
}

static int set_all(const struct drm_syncobj_array *a, bool signalled)
{
    const uint32_t *handles = stub_pointer(a->handles);

    for (uint32_t i = 0; i < a->count_handles; i++)
        if (signalled)
            stub_signal(handles[i], 1);
        else if (handles[i] < n_objects)
            objects[handles[i]].point = 0;
    return 0;
}

static int timeline(const struct drm_syncobj_timeline_array *a, bool signal)
{
    const uint32_t *handles = stub_pointer(a->handles);
    uint64_t *points = stub_pointer(a->points);

    for (uint32_t i = 0; i < a->count_handles; i++)
        if (signal)
            stub_signal(handles[i], points[i]);
        else
            points[i] = point_of(handles[i]);
    return 0;
}

static int transfer(const struct drm_syncobj_transfer *t)
{
    if (point_of(t->src_handle) > 0)
        stub_signal(t->dst_handle, t->dst_point);
    return 0;
}

/* A file stands for the object; what is read back from it is a finished fence. */
static int export_object(struct drm_syncobj_handle *h)
{
    h->fd = fcntl(stub_file, F_DUPFD_CLOEXEC, 3);
    return h->fd < 0 ? EMFILE : 0;
}

static int import_object(const struct drm_syncobj_handle *h)
{
    if (!(h->flags & DRM_SYNCOBJ_FD_TO_HANDLE_FLAGS_IMPORT_SYNC_FILE))
        return EINVAL;
    stub_signal(h->handle, 1);
    return 0;
}

/* ---- the rest ---- */

static void answer(char *to, __kernel_size_t *length, const char *text)
{
    const size_t n = strlen(text);

    if (to && *length > 0)
        memcpy(to, text, *length < n ? *length : n);
    *length = n;
}

static int version(struct drm_version *v)
{
    v->version_major = 1;
    v->version_minor = stub->xe ? 1 : 6;
    v->version_patchlevel = 0;
    answer(v->name, &v->name_len, stub->xe ? "xe" : "i915");
    answer(v->date, &v->date_len, "20250101");
    answer(v->desc, &v->desc_len, "stub");
    return 0;
}

static int capability(struct drm_get_cap *c)
{
    switch (c->capability) {
    case DRM_CAP_SYNCOBJ:
    case DRM_CAP_SYNCOBJ_TIMELINE:
    case DRM_CAP_TIMESTAMP_MONOTONIC:
        c->value = 1;
        return 0;
    case DRM_CAP_PRIME:
        c->value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT;
        return 0;
    default:
        c->value = 0;
        return 0;
    }
}

static int export_buffer(struct drm_prime_handle *p)
{
    if (!stub_buffer_of(p->handle))
        return ENOENT;
    p->fd = fcntl(stub_file, F_DUPFD_CLOEXEC, 3);
    return p->fd < 0 ? EMFILE : 0;
}

#define IS(request) _IOC_NR(DRM_IOCTL_##request)

int stub_core(unsigned nr, void *arg)
{
    switch (nr) {
    case IS(VERSION):
        return version(arg);
    case IS(GET_UNIQUE):
        ((struct drm_unique *)arg)->unique_len = 0;
        return 0;
    case IS(GEM_CLOSE):
        return buffer_close(((struct drm_gem_close *)arg)->handle);
    case IS(GET_CAP):
        return capability(arg);
    case IS(SET_CLIENT_CAP):
        return 0;
    case IS(PRIME_HANDLE_TO_FD):
        return export_buffer(arg);
    case IS(SYNCOBJ_CREATE):
        return object_create(arg);
    case IS(SYNCOBJ_DESTROY):
        objects[((struct drm_syncobj_destroy *)arg)->handle % MOST].used = false;
        return 0;
    case IS(SYNCOBJ_HANDLE_TO_FD):
        return export_object(arg);
    case IS(SYNCOBJ_FD_TO_HANDLE):
        return import_object(arg);
    case IS(SYNCOBJ_WAIT):
        return wait_plain(arg);
    case IS(SYNCOBJ_TIMELINE_WAIT):
        return wait_timeline(arg);
    case IS(SYNCOBJ_RESET):
    case IS(SYNCOBJ_SIGNAL):
        return set_all(arg, nr == IS(SYNCOBJ_SIGNAL));
    case IS(SYNCOBJ_QUERY):
    case IS(SYNCOBJ_TIMELINE_SIGNAL):
        return timeline(arg, nr == IS(SYNCOBJ_TIMELINE_SIGNAL));
    case IS(SYNCOBJ_TRANSFER):
        return transfer(arg);
    case IS(SET_CLIENT_NAME):
        return 0;
    default:
        return EINVAL;
    }
}
