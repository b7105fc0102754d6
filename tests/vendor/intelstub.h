/* intelstub.h - a kernel driver for Intel GPUs that does nothing, in a library to preload.
 *
 * Mesa's ANV driver then opens a GPU that is not there, compiles for it, records and submits.
 * Nothing is executed; every submission is finished at once.  What the calls mean is taken from the
 * kernel's own headers (drm/drm.h, drm/i915_drm.h, drm/xe_drm.h).
 *
 *   intelstub.c       the device's files and the system calls that see them
 *   intelstub_core.c  buffers, synchronization objects, what all DRM drivers have in common
 *   intelstub_i915.c  the older kernel interface
 *   intelstub_xe.c    the newer kernel interface */
#ifndef VENDOR_INTELSTUB_H
#define VENDOR_INTELSTUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <drm/drm.h>
#include <drm/i915_drm.h>
#include <drm/xe_drm.h>

typedef struct stub_gpu {
    const char *name;
    uint16_t id; /* PCI */
    uint8_t revision;
    bool xe;                  /* the kernel interface */
    uint8_t subslices, units; /* execution units in each subslice */
    uint32_t vram_mb;         /* 0: integrated */
    bool llc;                 /* shares the CPU's last cache */
    uint32_t ticks;           /* of the timestamp, a second */
    uint8_t ip[3];            /* graphics version, from Meteor Lake on */
} stub_gpu;

/* One buffer: a range of the file that stands for the device, so that mmap needs no wrapper. */
typedef struct stub_buffer {
    uint64_t size, offset;
    bool used;
} stub_buffer;

extern const stub_gpu *stub; /* APUS_INTEL_GPU */
extern int stub_file;        /* the device's file */

/* A handle, 0 if there is none left. */
uint32_t stub_buffer_new(uint64_t size);
/* NULL: no such buffer. */
const stub_buffer *stub_buffer_of(uint32_t handle);
uint32_t stub_next_id(void);
/* A synchronization object reaches a point; 0 stands for one without points. */
void stub_signal(uint32_t handle, uint64_t point);
uint64_t stub_nanoseconds(void);
/* What the GPU's clock shows. */
uint64_t stub_ticks(void);
static inline void *stub_pointer(uint64_t address)
{
    return (void *)(uintptr_t)address;
}

/* ioctl by number; 0 or an errno. */
int stub_core(unsigned nr, void *arg);
int stub_i915(unsigned nr, void *arg);
int stub_xe(unsigned nr, void *arg);

#endif
