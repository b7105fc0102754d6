/* gpu_test.h - opening and closing the device of a test.  A test is skipped where no device can be
 * had, and fails on a message of the validation layer. */
#ifndef GPU_TEST_H
#define GPU_TEST_H

#include "gpu.h"
#include "harness.h"

static inline apus_gpu *gpu_test_open(void)
{
    apus_gpu *gpu = NULL;

    setenv("APUS_CACHE_DIR", harness_folder(), 0); /* not the user's */
    const apus_status st = apus_gpu_create(&gpu, NULL);

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return gpu;
}

static inline void gpu_test_close(apus_gpu **gpu)
{
    if (*gpu)
        CHECK_EQ_U64(apus_gpu_validation_count(*gpu), 0);
    apus_gpu_destroy(gpu);
    CHECK(*gpu == NULL);
}

#endif
