/* caps.h - what a device can do, as plain data.  Planning, choosing and recording take a caps
 * struct and never a device, so that a run can be planned for a GPU that is not there. */
#ifndef APUSI_CAPS_H
#define APUSI_CAPS_H

#include "dtype.h"

typedef enum apus_device_class {
    APUS_CLASS_GPU,
    APUS_CLASS_CPU, /* a CPU driver: no shared memory, small workgroups, long vectors */
} apus_device_class;

/* One cooperative-matrix shape with f32 sums, subgroup scope: C (m, n) += A (m, k) B (k, n). */
typedef struct apus_coop_shape {
    uint32_t m, n, k;
    apus_dtype in; /* APUS_F16 or APUS_BF16 */
} apus_coop_shape;

#define APUS_MAX_COOP 16

typedef struct apus_caps {
    char name[256];
    char driver[320]; /* driver name and version text */
    uint8_t uuid[16];
    uint32_t vendor_id, device_id, driver_version, api_version;
    apus_device_class device_class;
    bool integrated; /* shares the host's memory */

    uint32_t subgroup; /* size that kernels run with (pinned where the device lets us) */
    uint32_t subgroup_min, subgroup_max;
    bool subgroup_pinned; /* the size can be required for compute pipelines */
    bool subgroup_arith, subgroup_shuffle;
    bool uniform_loads; /* CPU class: loads from a uniform address cost one scalar load */
    bool f16, bf16;     /* arithmetic in shaders */
    bool small_ints;    /* integers of 8 and 16 bits, in memory and in shaders */
    bool int8_dot;      /* products of four signed bytes in a shader, */
    bool int8_fast;     /* which are one instruction */
    uint32_t max_invocations, max_shared, max_push;
    uint32_t max_groups[3];
    uint64_t max_alloc; /* bytes of one allocation */
    uint64_t heap;      /* bytes of the largest device-local heap */
    bool timestamps;
    double ns_per_tick;
    bool coop_built; /* this build holds the cooperative-matrix shaders */
    uint32_t n_coop;
    apus_coop_shape coop[APUS_MAX_COOP];
} apus_caps;

/* The shape that suits inputs of type `in` best (the largest m*n*k), or NULL. */
const apus_coop_shape *apus_caps_coop(const apus_caps *caps, apus_dtype in);

#endif
