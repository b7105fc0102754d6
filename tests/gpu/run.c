/* run.c - kernels on a real device: memory, dispatch, indirect dispatch, copies, fills, barriers,
 * resubmission, profile times, the self-test.  APUS_DEVICE chooses the device. */
#include <stdio.h>

#include "gpu.h"
#include "gpu_test.h"
#include "probe.h"

#define LOCAL 64u

static apus_kernel_key probe_key(void)
{
    return (apus_kernel_key) { .name = "probe", .n_spec = 1, .spec = { LOCAL } };
}

TEST(selftest)
{
    apus_gpu *gpu = gpu_test_open();

    if (!gpu)
        return;
    CHECK_OK(apus_gpu_selftest(gpu));
    gpu_test_close(&gpu);
}

/* Bytes written at odd places come back, in both memories, over several staging chunks. */
TEST(write_and_read_both_memories)
{
    const uint64_t bytes = (40u << 20) + 13;
    apus_gpu *gpu = gpu_test_open();
    uint8_t *src = apus_alloc(bytes), *dst = apus_alloc(bytes);

    if (gpu && CHECK(src && dst)) {
        for (uint64_t i = 0; i < bytes; i++)
            src[i] = (uint8_t)(i * 2654435761u >> 13);
        for (int memory = APUS_MEMORY_DEVICE; memory <= APUS_MEMORY_AWAY; memory++) {
            apus_buffer b;

            REQUIRE_OK(apus_buffer_create(gpu, &b, bytes, (apus_memory)memory, "bytes"));
            CHECK_EQ_U64(b.address % 256, 0);
            CHECK_EQ_U64(b.bytes, bytes);
            CHECK(memory == APUS_MEMORY_DEVICE || b.host);
            memset(dst, 0, bytes);
            CHECK_OK(apus_buffer_write(gpu, &b, 0, src, bytes));
            CHECK_OK(apus_buffer_read(gpu, &b, 0, dst, bytes));
            CHECK(memcmp(src, dst, bytes) == 0);
            CHECK_OK(apus_buffer_write(gpu, &b, 7, src + 100, 5));
            CHECK_OK(apus_buffer_read(gpu, &b, 6, dst, 7));
            CHECK(dst[0] == src[6] && memcmp(dst + 1, src + 100, 5) == 0 && dst[6] == src[12]);
            CHECK_FAILS(apus_buffer_write(gpu, &b, bytes - 4, src, 5), APUS_ERR_ARG,
                        "write 5 bytes");
            CHECK_FAILS(apus_buffer_read(gpu, &b, UINT64_MAX, dst, 2), APUS_ERR_ARG,
                        "read 2 bytes");
            apus_buffer_destroy(gpu, &b);
            CHECK(b.handle == NULL && b.address == 0);
        }
    }
    apus_free(src);
    apus_free(dst);
    gpu_test_close(&gpu);
}

/* y = 2 x + i, then z = 3 y + i by a grid that the first list does not know; z copied, a tail
 * filled. The same lists run twice with other input. */
TEST(dispatch_indirect_copy_fill_and_resubmit)
{
    enum { N = 5000 };
    apus_gpu *gpu = gpu_test_open();
    apus_buffer x = { 0 }, y = { 0 }, z = { 0 }, out = { 0 }, grid = { 0 };
    apus_commands *c[2] = { NULL, NULL };
    static float in[N], got[N + 16];
    uint64_t ticket;

    if (!gpu)
        return;
    REQUIRE_OK(apus_buffer_create(gpu, &x, sizeof(in), APUS_MEMORY_HOST, "x"));
    REQUIRE_OK(apus_buffer_create(gpu, &y, sizeof(in), APUS_MEMORY_DEVICE, "y"));
    REQUIRE_OK(apus_buffer_create(gpu, &z, sizeof(in), APUS_MEMORY_DEVICE, "z"));
    REQUIRE_OK(apus_buffer_create(gpu, &out, sizeof(got), APUS_MEMORY_HOST, "out"));
    REQUIRE_OK(apus_buffer_create(gpu, &grid, 64, APUS_MEMORY_DEVICE, "grid"));
    const apus_kernel_key key = probe_key();
    const struct apus_probe_push first = { .x = x.address, .y = y.address, .n = N, .a = 2.0f };
    const struct apus_probe_push second = { .x = y.address, .y = z.address, .n = N, .a = 3.0f };
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(apus_commands_create(gpu, &c[i]));
        REQUIRE_OK(apus_commands_begin(c[i]));
    }
    CHECK_OK(apus_commands_dispatch(c[0], &key, &first, sizeof(first),
                                    (uint32_t[]) { 7, (N + 7 * LOCAL - 1) / (7 * LOCAL), 1 }));
    /* The second list relies on the order of submission alone. */
    CHECK_OK(apus_commands_dispatch_indirect(c[1], &key, &second, sizeof(second), &grid, 12));
    apus_commands_barrier(c[1]);
    apus_commands_copy(c[1], &z, 0, &out, 0, sizeof(in));
    apus_commands_fill(c[1], &out, sizeof(in), 64, 0x3f800000u);
    for (int i = 0; i < 2; i++)
        REQUIRE_OK(apus_commands_end(c[i]));
    const uint32_t groups[3] = { (N + LOCAL - 1) / LOCAL, 1, 1 };
    REQUIRE_OK(apus_buffer_write(gpu, &grid, 12, groups, sizeof(groups)));
    for (int round = 0; round < 2; round++) {
        uint32_t wrong = 0;

        for (uint32_t i = 0; i < N; i++)
            in[i] = (float)(i % 100) + 1000.0f * (float)round;
        REQUIRE_OK(apus_buffer_write(gpu, &x, 0, in, sizeof(in)));
        REQUIRE_OK(apus_gpu_submit(gpu, c, 2, &ticket));
        REQUIRE_OK(apus_gpu_wait(gpu, ticket, 0));
        REQUIRE_OK(apus_buffer_read(gpu, &out, 0, got, sizeof(got)));
        for (uint32_t i = 0; i < N; i++)
            wrong += got[i] != 6.0f * in[i] + 4.0f * (float)i;
        for (uint32_t i = N; i < N + 16; i++)
            wrong += got[i] != 1.0f;
        CHECK_EQ_U64(wrong, 0);
    }
    for (int i = 0; i < 2; i++)
        apus_commands_destroy(&c[i]);
    apus_buffer_destroy(gpu, &x);
    apus_buffer_destroy(gpu, &y);
    apus_buffer_destroy(gpu, &z);
    apus_buffer_destroy(gpu, &out);
    apus_buffer_destroy(gpu, &grid);
    gpu_test_close(&gpu);
}

/* Mesa's llvmpipe 22.3.6 lets an invocation run 65,535 iterations of all its loops together and
 * then leaves them without an error; kernels stay below that, and every other driver counts on. */
static void check_loops(uint32_t loops)
{
    apus_gpu *gpu = gpu_test_open();
    apus_buffer y = { 0 };
    apus_commands *c = NULL;
    float got[LOCAL];
    uint64_t ticket;

    if (!gpu)
        return;
    REQUIRE_OK(apus_buffer_create(gpu, &y, sizeof(got), APUS_MEMORY_HOST, "y"));
    REQUIRE_OK(apus_commands_create(gpu, &c));
    REQUIRE_OK(apus_commands_begin(c));
    const apus_kernel_key key = probe_key();
    const struct apus_probe_push push = {
        .x = y.address, .y = y.address, .n = LOCAL, .loops = loops
    };
    CHECK_OK(apus_commands_dispatch(c, &key, &push, sizeof(push), (uint32_t[]) { 1, 1, 1 }));
    REQUIRE_OK(apus_commands_end(c));
    REQUIRE_OK(apus_gpu_submit(gpu, &c, 1, &ticket));
    REQUIRE_OK(apus_gpu_wait(gpu, ticket, 0));
    REQUIRE_OK(apus_buffer_read(gpu, &y, 0, got, sizeof(got)));
    const apus_caps *caps = apus_gpu_caps(gpu);
    if (loops > 65535 && caps->device_class == APUS_CLASS_CPU && !caps->uniform_loads &&
        got[0] == 65535.0f)
        harness_skip("%s ends loops after 65,535 iterations", caps->driver);
    else
        CHECK_NEAR((double)got[0], (double)loops, 0);
    CHECK_NEAR((double)got[LOCAL - 1], (double)got[0], 0);
    apus_commands_destroy(&c);
    apus_buffer_destroy(gpu, &y);
    gpu_test_close(&gpu);
}

TEST(loops_of_60000)
{
    check_loops(60000);
}

TEST(loops_of_200000)
{
    check_loops(200000);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* More dispatches than one pool of timestamps holds; a long one takes longer than most. */
TEST(profile_times)
{
    enum { DISPATCHES = 600, LONG = 555 };
    apus_gpu *gpu = gpu_test_open();
    apus_buffer y = { 0 };
    apus_commands *c = NULL;
    static double ns[DISPATCHES + 1];
    uint64_t ticket;
    uint32_t n = 99;

    if (!gpu)
        return;
    REQUIRE_OK(apus_buffer_create(gpu, &y, 64 * LOCAL * 4, APUS_MEMORY_DEVICE, "y"));
    REQUIRE_OK(apus_commands_create(gpu, &c));
    const apus_kernel_key key = probe_key();
    for (int round = 0; round < 3; round++) {
        apus_commands_profile(c, round != 1);
        REQUIRE_OK(apus_commands_begin(c));
        for (uint32_t i = 0; i < DISPATCHES; i++) {
            const bool is_long = i == LONG;
            const struct apus_probe_push push = {
                .x = y.address, .y = y.address, .n = 64 * LOCAL, .loops = is_long ? 60000 : 1
            };

            REQUIRE_OK(apus_commands_dispatch(c, &key, &push, sizeof(push),
                                              (uint32_t[]) { is_long ? 64 : 1, 1, 1 }));
            apus_commands_barrier(c);
        }
        REQUIRE_OK(apus_commands_end(c));
        REQUIRE_OK(apus_gpu_submit(gpu, &c, 1, &ticket));
        REQUIRE_OK(apus_gpu_wait(gpu, ticket, 0));
        CHECK_OK(apus_commands_times(c, ns, DISPATCHES + 1, &n));
        CHECK_EQ_U64(n, round != 1 && apus_gpu_caps(gpu)->timestamps ? DISPATCHES : 0);
        if (n == DISPATCHES) {
            const double longest = ns[LONG];

            qsort(ns, n, sizeof(*ns), by_value);
            CHECK(ns[0] >= 0 && ns[n / 2] < longest);
        }
    }
    CHECK_OK(apus_commands_times(c, ns, 5, &n));
    CHECK(n == 5 || !apus_gpu_caps(gpu)->timestamps);
    apus_commands_destroy(&c);
    apus_buffer_destroy(gpu, &y);
    gpu_test_close(&gpu);
}
