/* gpu.h - choosing and opening a Vulkan compute device.
 *
 * A device belongs to one thread at a time; several can be open in one process. */
#ifndef APUS_GPU_H
#define APUS_GPU_H

#include "apus/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct apus_gpu apus_gpu;

typedef struct apus_gpu_params {
    /* Index, part of the name, or uuid in hex; NULL or "": APUS_DEVICE, else the first discrete,
     * integrated, then CPU device that has what is needed. */
    const char *device;
    bool validate;   /* enable VK_LAYER_KHRONOS_validation; APUS_VALIDATE does the same */
    bool count_only; /* nothing is opened: buffers are counted, not allocated, and nothing runs */
    bool statistics; /* kernels keep what the compiler says of them (APUS_STATISTICS) */
    bool listings;   /* and what it made of them, as text; with `statistics` */
    /* A class of apus_gpu_classes in place of a device, which need not be there, nor a driver:
     * counted only. */
    const char *device_class;
    uint64_t class_memory; /* bytes of its memory; 0: the example's */
} apus_gpu_params;

/* Open a device.  *out is NULL on failure.
 * Errors: APUS_ERR_MISSING (no Vulkan loader, no driver, no such device: the text lists what there
 * is), APUS_ERR_SUPPORT (the device lacks buffer addresses, ...: which), APUS_ERR_DEVICE. */
apus_status apus_gpu_create(apus_gpu **out, const apus_gpu_params *params);
void apus_gpu_destroy(apus_gpu **gpu); /* waits for the device; accepts &(apus_gpu *){NULL} */

/* A class of devices that runs can be planned for, with the peaks of one of them. */
typedef struct apus_gpu_class {
    const char *name;                   /* "ada" */
    const char *example;                /* "GeForce RTX 4090" */
    double f32_flops_s, matrix_flops_s; /* multiply-adds; products of 16-bit matrices, 0: none */
    double bytes_s;
    double dispatch_s; /* what a dispatch costs besides its work */
    double bus_s;      /* bytes a second from the host's memory; 0: it is the device's too */
    uint64_t memory;   /* bytes */
} apus_gpu_class;
const apus_gpu_class *apus_gpu_classes(size_t *n);

/* What is worth printing about a device. */
typedef struct apus_device_row {
    uint32_t index; /* in the loader's order; APUS_DEVICE and --device take it */
    char name[256];
    char driver[320];
    char uuid[33];    /* hex */
    char kind[12];    /* "discrete", "integrated", "virtual", "cpu" or "other" */
    char reason[160]; /* why it cannot be used; "" where it can */
    bool usable;
    bool f16, bf16, timestamps;
    bool int8_dot;        /* has an instruction for products of four bytes */
    uint32_t api_version; /* as Vulkan packs it */
    uint32_t subgroup, subgroup_min, subgroup_max;
    uint32_t max_shared; /* bytes of shared memory of a workgroup */
    uint64_t heap;       /* bytes of device-local memory */
    uint64_t max_alloc;  /* bytes of one allocation */
    char coop[96];       /* cooperative-matrix shapes with f32 sums: "16x16x16 f16, ..." or "" */
    bool coop_built;     /* this build holds the shaders that use them */
} apus_device_row;

/* All devices the loader offers, in its order, also those that cannot be used.  *rows is freed with
 * apus_device_rows_free.  Errors: APUS_ERR_MISSING (no loader or no driver), APUS_ERR_DEVICE. */
apus_status apus_device_rows(apus_device_row **rows, uint32_t *n);
void apus_device_rows_free(apus_device_row **rows);

/* Run a small kernel on the device and compare every number it writes.
 * Errors: APUS_ERR_DEVICE (the device failed or computed wrongly: where). */
apus_status apus_gpu_selftest(apus_gpu *gpu);
/* The name of the open device.  Borrowed until apus_gpu_destroy. */
const char *apus_gpu_name(const apus_gpu *gpu);

#ifdef __cplusplus
}
#endif
#endif
