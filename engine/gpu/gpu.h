/* gpu.h - a Vulkan compute device: memory, kernels, command lists, submission.  Private; the only
 * layer in which a Vulkan name is written.
 *
 * Buffers are used by device address; there are no descriptor sets.  All kernels share one pipeline
 * layout (128 bytes of push constants).  One engine thread owns a device: not thread-safe.  Several
 * devices can be open in one process (function tables per device). */
#ifndef APUSI_GPU_H
#define APUSI_GPU_H

#include "apus/gpu.h" /* apus_gpu, its parameters, create and destroy */
#include "caps.h"

typedef uint64_t apus_addr; /* device address; 0 is none */

const apus_caps *apus_gpu_caps(const apus_gpu *gpu);
/* Opened with count_only: buffers have addresses that were made up, of those for the device writes
 * are dropped and zeros are read; nothing may be recorded or submitted. */
bool apus_gpu_counts(const apus_gpu *gpu);
/* The class that it was opened as; NULL: it is a device. */
const apus_gpu_class *apus_gpu_class_of(const apus_gpu *gpu);
/* Messages of the validation layer so far (errors and warnings; 0 when it is off). */
uint32_t apus_gpu_validation_count(const apus_gpu *gpu);

/* All devices the loader offers, also those that cannot be used (`usable` false and why). */
typedef struct apus_gpu_listing {
    apus_caps caps;
    bool usable;
    char reason[160];
} apus_gpu_listing;
/* *list is freed with apus_free. */
apus_status apus_gpu_list(apus_gpu_listing **list, uint32_t *n);

/* "KIND-UUID-DRIVER.END" in the user's cache folder, a file of this device and driver; NULL: no
 * folder is known, or no memory.  Freed with apus_free. */
char *apus_cache_path(const apus_caps *caps, const char *kind, const char *end);

/* ---- memory ---- */

typedef enum apus_memory {
    /* Fast for the device; `host` is set too where the device shares the host's memory. */
    APUS_MEMORY_DEVICE,
    /* Host-visible, coherent, cached if there is such: staging, step ring, read-back. */
    APUS_MEMORY_HOST,
    /* The host's, for much that the device reads over a bus: as APUS_MEMORY_HOST, but a device that
     * only counts has no bytes of it (`host` is NULL). */
    APUS_MEMORY_AWAY,
} apus_memory;

typedef struct apus_buffer {
    apus_addr address;
    uint64_t bytes;
    void *host;   /* mapped, or NULL */
    void *handle; /* of this layer */
} apus_buffer;

/* A buffer usable for storage, transfer and indirect dispatch; its address is a multiple of 256.
 * Contents are undefined.
 * Errors: APUS_ERR_MEMORY (with what is free), APUS_ERR_ARG (bytes is 0). */
apus_status apus_buffer_create(apus_gpu *gpu, apus_buffer *out, uint64_t bytes, apus_memory memory,
                               const char *name);
/* Safe on {0}.  The device must not be using it: callers wait for their submissions first. */
void apus_buffer_destroy(apus_gpu *gpu, apus_buffer *buffer);
/* Copies between host memory and a buffer.  A mapped one is written at once, so nothing on the
 * device may be using the bytes; for another the bytes are taken now, and copied behind all work
 * and all copies that were submitted and before all that will be.  Reading waits for them. */
apus_status apus_buffer_write(apus_gpu *gpu, const apus_buffer *b, uint64_t at, const void *src,
                              uint64_t bytes);
apus_status apus_buffer_read(apus_gpu *gpu, const apus_buffer *b, uint64_t at, void *dst,
                             uint64_t bytes);
/* Bytes of device and of host-visible memory held by buffers now, and the most ever. */
typedef struct apus_gpu_usage {
    uint64_t device, device_peak, host, host_peak;
} apus_gpu_usage;
apus_gpu_usage apus_gpu_memory(const apus_gpu *gpu);
/* Bytes of the host's memory that buffers can have by the driver's word; UINT64_MAX: nothing is
 * known of it. */
uint64_t apus_gpu_host_heap(const apus_gpu *gpu);

/* ---- kernels ---- */

#define APUS_MAX_SPEC 20

/* A kernel is a SPIR-V module of this build, by name ("matmul_nt"), with specialization constants
 * 0 .. n_spec-1 (all 32-bit; constant 0 is the workgroup size in x of every kernel).  Pipelines are
 * made on first use and kept. */
typedef struct apus_kernel_key {
    const char *name;
    uint32_t n_spec;
    uint32_t spec[APUS_MAX_SPEC];
    uint32_t subgroup; /* required subgroup size; 0: the caps' own where it can be pinned */
} apus_kernel_key;

/* Whether this build holds the module. */
bool apus_kernel_exists(const char *name);
/* Over names and code of all modules of the build. */
uint64_t apus_kernels_hash(void);

/* One number that the driver's compiler gives for a kernel ("Spilled VGPRs", 0). */
typedef struct apus_statistic {
    const apus_kernel_key *kernel;
    uint32_t index;   /* of the number, from 0 in each kernel */
    const char *name; /* as the driver says it */
    double value;
} apus_statistic;
/* Call back for each number of each kernel made so far, kernel by kernel; a device that was opened
 * without statistics, or has none, calls nothing.
 * Errors: APUS_ERR_MEMORY, APUS_ERR_DEVICE. */
apus_status apus_gpu_kernel_statistics(apus_gpu *gpu,
                                       void (*each)(void *user, const apus_statistic *s),
                                       void *user);

/* One of the texts that a driver's compiler made of a kernel on its way to code. */
typedef struct apus_listing {
    const apus_kernel_key *kernel;
    const char *name; /* as the driver says it: "Assembly" */
    const char *text;
} apus_listing;
/* As apus_gpu_kernel_statistics, for the texts; nothing without `listings`. */
apus_status apus_gpu_kernel_listings(apus_gpu *gpu, void (*each)(void *user, const apus_listing *x),
                                     void *user);

/* ---- command lists ---- */

typedef struct apus_commands apus_commands;

apus_status apus_commands_create(apus_gpu *gpu, apus_commands **out);
void apus_commands_destroy(apus_commands **c);
/* Forget what was recorded and start anew; the last submission of the list must be done. */
apus_status apus_commands_begin(apus_commands *c);
/* Errors: APUS_ERR_ARG (a copy or fill since begin was outside its buffer: which),
 * APUS_ERR_MEMORY. */
apus_status apus_commands_end(apus_commands *c);
/* Dispatch `groups` workgroups.  push_bytes <= 128, a multiple of 4.
 * Errors: APUS_ERR_MISSING (no such kernel in this build), APUS_ERR_SUPPORT (the subgroup size),
 * APUS_ERR_ARG (an empty or too large grid), APUS_ERR_DEVICE (it does not compile). */
apus_status apus_commands_dispatch(apus_commands *c, const apus_kernel_key *key, const void *push,
                                   uint32_t push_bytes, const uint32_t groups[3]);
/* The grid is read from three u32 at `at` of `grids` when it runs. */
apus_status apus_commands_dispatch_indirect(apus_commands *c, const apus_kernel_key *key,
                                            const void *push, uint32_t push_bytes,
                                            const apus_buffer *grids, uint64_t at);
/* All earlier work is done, and its writes are seen by all later work (compute, copies,
 * indirect).  A list begins with one: what was submitted before it is done. */
void apus_commands_barrier(apus_commands *c);
void apus_commands_copy(apus_commands *c, const apus_buffer *from, uint64_t from_at,
                        const apus_buffer *to, uint64_t to_at, uint64_t bytes);
void apus_commands_fill(apus_commands *c, const apus_buffer *b, uint64_t at, uint64_t bytes,
                        uint32_t word);
/* Timestamps are written around each dispatch when profiling was asked for before begin; read after
 * the submission is done: ns of the i-th dispatch, in order.  *n is 0 where there are none. */
void apus_commands_profile(apus_commands *c, bool on);
apus_status apus_commands_times(apus_commands *c, double *ns, uint32_t room, uint32_t *n);

/* The list as a whole has two timestamps of its own when that was asked for before begin; read
 * after the submission is done.  False where there are none. */
void apus_commands_time(apus_commands *c, bool on);
bool apus_commands_ns(apus_commands *c, double *ns);

/* When something ran, by apus_now_ns(), for the trace. */
typedef struct apus_span {
    uint64_t begin_ns, end_ns;
} apus_span;
/* Whether the trace was open when the device was opened, and the device's row there. */
bool apus_gpu_traced(apus_gpu *gpu, uint32_t *queue);
/* Bring the clocks of device and host together: by calibrated timestamps, or where the device has
 * none by this: of two lists that were timed as a whole, `first` did not begin before
 * `submitted_ns`, and `last` had ended by `done_ns`. */
void apus_gpu_clock_sync(apus_gpu *gpu, apus_commands *first, apus_commands *last,
                         uint64_t submitted_ns, uint64_t done_ns);
/* The whole list, and its dispatches like apus_commands_times. */
bool apus_commands_span(apus_commands *c, apus_span *out);
apus_status apus_commands_spans(apus_commands *c, apus_span *spans, uint32_t room, uint32_t *n);

#define APUS_SUBMIT_LISTS 512 /* of one submission; more make several */

/* Submit lists in order.  A list may be submitted again once its last submission is done.
 * *ticket is waited for with apus_gpu_wait.  Errors: APUS_ERR_LOST (with the kernel submitted last;
 * a lost device can only be destroyed), APUS_ERR_DEVICE, APUS_ERR_MEMORY. */
apus_status apus_gpu_submit(apus_gpu *gpu, apus_commands *const *lists, uint32_t n,
                            uint64_t *ticket);
/* Wait at most `timeout_ns` (0: for ever); a lost device is not waited for.
 * Errors: APUS_ERR_LOST, APUS_ERR_DEVICE (also after a message of the validation layer). */
apus_status apus_gpu_wait(apus_gpu *gpu, uint64_t ticket, uint64_t timeout_ns);
/* Buffers are found by address for copies, fills and indirect dispatches of address ranges. */
const apus_buffer *apus_gpu_buffer_at(const apus_gpu *gpu, apus_addr address, uint64_t bytes);

#endif
