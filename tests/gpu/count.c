/* A device that only counts: buffers have bytes and addresses, nothing else; and the limit of
 * APUS_HEAP_MIB. */
#include <stdlib.h>

#include "gpu.h"
#include "harness.h"

static apus_gpu *open_gpu(bool count_only)
{
    apus_gpu *gpu = NULL;
    const apus_status st = apus_gpu_create(&gpu, &(apus_gpu_params) { .count_only = count_only });

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        CHECK_OK(st);
    return gpu;
}

TEST(buffers_are_counted)
{
    apus_gpu *gpu = open_gpu(true);
    apus_buffer a, b, c, away;
    uint32_t words[4] = { 1, 2, 3, 4 };

    if (!gpu)
        return;
    CHECK(apus_gpu_counts(gpu));
    CHECK_OK(apus_buffer_create(gpu, &a, 1 << 20, APUS_MEMORY_DEVICE, "a"));
    CHECK_OK(apus_buffer_create(gpu, &b, 3, APUS_MEMORY_DEVICE, "b"));
    CHECK_OK(apus_buffer_create(gpu, &c, 1024, APUS_MEMORY_HOST, "c"));
    CHECK_EQ_U64(apus_gpu_memory(gpu).device, (1 << 20) + 256);
    CHECK_OK(apus_buffer_create(gpu, &away, 4096, APUS_MEMORY_AWAY, "away"));
    CHECK_EQ_U64(apus_gpu_memory(gpu).host, 1024 + 4096);
    CHECK(!away.host);
    CHECK_OK(apus_buffer_write(gpu, &away, 0, words, sizeof(words)));
    CHECK(a.address % 256 == 0 && b.address >= a.address + a.bytes);
    CHECK(!a.host && c.host);
    CHECK(apus_gpu_buffer_at(gpu, a.address + 100, 4) != NULL);
    CHECK(apus_gpu_buffer_at(gpu, a.address + a.bytes, 4) == NULL);
    /* Memory of the device takes any write and holds zeros; the host's is memory. */
    CHECK_OK(apus_buffer_write(gpu, &a, 0, words, sizeof(words)));
    CHECK_OK(apus_buffer_read(gpu, &a, 0, words, sizeof(words)));
    CHECK_EQ_U64(words[3], 0);
    words[3] = 7;
    CHECK_OK(apus_buffer_write(gpu, &c, 0, words, sizeof(words)));
    CHECK_EQ_U64(((uint32_t *)c.host)[3], 7);
    CHECK_FAILS(apus_buffer_write(gpu, &a, 1 << 20, words, 4), APUS_ERR_ARG, "write 4 bytes");
    apus_buffer_destroy(gpu, &a);
    CHECK_EQ_U64(apus_gpu_memory(gpu).device, 256);
    CHECK_EQ_U64(apus_gpu_memory(gpu).device_peak, (1 << 20) + 256);
    /* More than any machine has is counted too, but no more than one allocation may be. */
    for (int i = 0; i < 100; i++)
        CHECK_OK(apus_buffer_create(gpu, &a, apus_gpu_caps(gpu)->max_alloc / 2, APUS_MEMORY_DEVICE,
                                    "large"));
    CHECK_FAILS(apus_buffer_create(gpu, &a, apus_gpu_caps(gpu)->max_alloc + 1, APUS_MEMORY_DEVICE,
                                   "too large"),
                APUS_ERR_MEMORY, "'too large'");
    apus_gpu_destroy(&gpu); /* with what was not destroyed */
}

TEST(a_heap_is_cut)
{
    apus_gpu *gpu;
    apus_buffer a, b;

    setenv("APUS_HEAP_MIB", "3", 1);
    gpu = open_gpu(false);
    if (gpu) {
        CHECK_EQ_U64(apus_gpu_caps(gpu)->heap, 3 << 20);
        CHECK_OK(apus_buffer_create(gpu, &a, 2 << 20, APUS_MEMORY_DEVICE, "a"));
        CHECK_FAILS(apus_buffer_create(gpu, &b, 2 << 20, APUS_MEMORY_DEVICE, "b"), APUS_ERR_MEMORY,
                    "buffer 'b' of 2.00 MiB");
        apus_buffer_destroy(gpu, &a);
        CHECK_OK(apus_buffer_create(gpu, &b, 2 << 20, APUS_MEMORY_DEVICE, "b"));
        apus_buffer_destroy(gpu, &b);
        apus_gpu_destroy(&gpu);
    }
    unsetenv("APUS_HEAP_MIB");
}
