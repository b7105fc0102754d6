/* faults.c - failures of memory, of kernels and of arguments: a status with its text, no crash, no
 * leak, and the device goes on. */
#include "env.h"
#include "gpu.h"
#include "gpu_test.h"
#include "probe.h"

/* All that a run needs, device memory through staging included. */
static apus_status scenario(void)
{
    apus_status st;
    apus_gpu *gpu = NULL;
    apus_buffer b = { 0 };
    apus_commands *c = NULL;
    uint32_t word = 7;
    uint64_t ticket;

    setenv("APUS_STAGED", "1", 1);
    APUS_TRY(apus_gpu_create(&gpu, NULL));
    APUS_TRY(apus_buffer_create(gpu, &b, 4096, APUS_MEMORY_DEVICE, "b"));
    APUS_TRY(apus_buffer_write(gpu, &b, 0, &word, 4));
    APUS_TRY(apus_commands_create(gpu, &c));
    APUS_TRY(apus_commands_begin(c));
    const struct apus_probe_push push = { .x = b.address, .y = b.address, .n = 64 };
    APUS_TRY(apus_commands_dispatch(
        c, &(apus_kernel_key) { .name = "probe", .n_spec = 1, .spec = { 64 } }, &push, sizeof(push),
        (uint32_t[]) { 1, 1, 1 }));
    APUS_TRY(apus_commands_end(c));
    APUS_TRY(apus_gpu_submit(gpu, &c, 1, &ticket));
    APUS_TRY(apus_gpu_wait(gpu, ticket, 0));
    APUS_TRY(apus_buffer_read(gpu, &b, 0, &word, 4));
fail:
    apus_commands_destroy(&c);
    if (gpu)
        apus_buffer_destroy(gpu, &b);
    gpu_test_close(&gpu);
    unsetenv("APUS_STAGED");
    return st;
}

static void fail_each(apus_fault kind, uint32_t least)
{
    uint32_t failures = 0, fine = 0;

    if (scenario() == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    for (uint32_t n = 1; n <= 200 && fine < 10; n++) {
        apus_fault_set(kind, n);
        const apus_status st = scenario();
        apus_fault_set(kind, 0);

        CHECK(st == APUS_OK || st == APUS_ERR_MEMORY);
        failures += st != APUS_OK;
        fine = st == APUS_OK ? fine + 1 : 0; /* the cache may fail unharmed */
    }
    CHECK(failures >= least);
    CHECK(fine == 10);
}

TEST(device_memory_fails_at_each_call)
{
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    fail_each(APUS_FAULT_GPU_ALLOC, 2);
}

TEST(host_memory_fails_at_each_call)
{
    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    fail_each(APUS_FAULT_HOST_ALLOC, 8);
}

/* Each submission and each wait of the scenario loses the device: a status that says so with the
 * kernel, an end without a wait for ever, and a device that can be opened again. */
TEST(device_is_lost_at_each_call)
{
    uint32_t failures = 0;

    setenv("APUS_CACHE_DIR", harness_folder(), 0);
    if (scenario() == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    for (uint32_t n = 1;; n++) {
        apus_fault_set(APUS_FAULT_GPU_LOST, n);
        const apus_status st = scenario();
        const bool fired = !apus_fault_pending(APUS_FAULT_GPU_LOST);

        apus_fault_set(APUS_FAULT_GPU_LOST, 0);
        if (!fired)
            break;
        failures++;
        CHECK_FAILS(st, APUS_ERR_LOST, ": the device was lost");
        if (n > 1) /* before that only a copy was submitted */
            CHECK(strstr(apus_error_text(), "last kernel submitted: probe; "));
        CHECK_OK(scenario());
    }
    CHECK_EQ_U64(failures, 5);
}

/* After a loss nothing is waited for, whatever the ticket. */
TEST(a_lost_device_is_not_waited_for)
{
    apus_gpu *gpu = gpu_test_open();
    apus_commands *c = NULL;
    uint64_t ticket;

    if (!gpu)
        return;
    REQUIRE_OK(apus_commands_create(gpu, &c));
    REQUIRE_OK(apus_commands_begin(c));
    REQUIRE_OK(apus_commands_end(c));
    REQUIRE_OK(apus_gpu_submit(gpu, &c, 1, &ticket));
    REQUIRE_OK(apus_gpu_wait(gpu, ticket, 0));
    apus_fault_set(APUS_FAULT_GPU_LOST, 1);
    CHECK_FAILS(apus_gpu_wait(gpu, ticket, 0), APUS_ERR_LOST, "the device was lost");
    apus_fail(APUS_ERR_ARG, "another");
    CHECK(apus_gpu_wait(gpu, ticket, 0) == APUS_ERR_LOST);
    CHECK(apus_gpu_wait(gpu, ticket + 1, 0) == APUS_ERR_LOST);
    CHECK(apus_gpu_submit(gpu, &c, 1, &ticket) == APUS_ERR_LOST);
    CHECK_EQ_STR(apus_error_text(), "another"); /* the loss was described when it was seen */
    apus_commands_destroy(&c);
    gpu_test_close(&gpu);
}

TEST(usage_and_too_much)
{
    apus_gpu *gpu = gpu_test_open();
    apus_buffer a = { 0 }, b = { 0 };

    if (!gpu)
        return;
    const uint64_t most = apus_gpu_caps(gpu)->max_alloc;
    CHECK_OK(apus_buffer_create(gpu, &a, 1 << 20, APUS_MEMORY_DEVICE, "a"));
    CHECK_OK(apus_buffer_create(gpu, &b, 1 << 20, APUS_MEMORY_DEVICE, "b"));
    apus_buffer_destroy(gpu, &a);
    CHECK_OK(apus_buffer_create(gpu, &a, 4096, APUS_MEMORY_HOST, "a"));
    const apus_gpu_usage u = apus_gpu_memory(gpu);
    CHECK(u.device >= 1u << 20 && u.device < 3u << 19 && u.device_peak >= 2u << 20);
    CHECK(u.host >= 4096 && u.host_peak == u.host);
    CHECK(a.host != NULL);
    apus_buffer_destroy(gpu, &a);
    apus_buffer_destroy(gpu, &b);
    apus_buffer_destroy(gpu, &b);
    CHECK_EQ_U64(apus_gpu_memory(gpu).device + apus_gpu_memory(gpu).host, 0);
    CHECK_FAILS(apus_buffer_create(gpu, &a, 0, APUS_MEMORY_DEVICE, "nothing"), APUS_ERR_ARG,
                "'nothing' of 0 bytes");
    CHECK_FAILS(apus_buffer_create(gpu, &a, UINT64_MAX - 3, APUS_MEMORY_DEVICE, "all"),
                APUS_ERR_MEMORY, "larger than any memory");
    if (most < UINT64_C(1) << 46)
        CHECK_FAILS(apus_buffer_create(gpu, &a, most + 1, APUS_MEMORY_DEVICE, "much"),
                    APUS_ERR_MEMORY, "buffer 'much' of ");
    CHECK(a.handle == NULL);
    gpu_test_close(&gpu);
}

/* 100 buffers, every third destroyed, each address found in its own. */
TEST(find_buffers_by_address)
{
    enum { N = 100 };
    apus_gpu *gpu = gpu_test_open();
    static apus_buffer b[N];
    uint32_t wrong = 0;

    if (!gpu)
        return;
    for (uint32_t i = 0; i < N; i++)
        REQUIRE_OK(apus_buffer_create(gpu, &b[i], 1000 + 64 * i, APUS_MEMORY_DEVICE, "small"));
    for (uint32_t i = 0; i < N; i += 3) {
        const apus_addr was = b[i].address;

        apus_buffer_destroy(gpu, &b[i]);
        wrong += apus_gpu_buffer_at(gpu, was, 4) != NULL;
    }
    for (uint32_t i = 0; i < N; i++) {
        if (!b[i].handle)
            continue;
        const apus_buffer *first = apus_gpu_buffer_at(gpu, b[i].address, b[i].bytes);
        const apus_buffer *inside = apus_gpu_buffer_at(gpu, b[i].address + 500, 100);

        wrong += !first || first->handle != b[i].handle || inside != first;
        wrong += apus_gpu_buffer_at(gpu, b[i].address + 1, b[i].bytes) != NULL;
    }
    CHECK_EQ_U64(wrong, 0);
    CHECK(apus_gpu_buffer_at(gpu, 0, 1) == NULL);
    CHECK(apus_gpu_buffer_at(gpu, UINT64_MAX, 1) == NULL);
    for (uint32_t i = 0; i < N; i++)
        apus_buffer_destroy(gpu, &b[i]);
    gpu_test_close(&gpu);
}

TEST(bad_calls_are_named)
{
    apus_gpu *gpu = gpu_test_open();
    apus_buffer b = { 0 };
    apus_commands *c = NULL;
    const uint32_t one[3] = { 1, 1, 1 }, none[3] = { 1, 0, 1 };
    apus_kernel_key key = { .name = "no_such", .n_spec = 1, .spec = { 64 } };
    struct apus_probe_push push = { .n = 0 };

    if (!gpu)
        return;
    REQUIRE_OK(apus_buffer_create(gpu, &b, 64, APUS_MEMORY_DEVICE, "b"));
    REQUIRE_OK(apus_commands_create(gpu, &c));
    REQUIRE_OK(apus_commands_begin(c));
    CHECK(!apus_kernel_exists("no_such") && apus_kernel_exists("probe"));
    CHECK_FAILS(apus_commands_dispatch(c, &key, &push, sizeof(push), one), APUS_ERR_MISSING,
                "no kernel 'no_such' in this build");
    key.name = "probe";
    CHECK_FAILS(apus_commands_dispatch(c, &key, &push, sizeof(push), none), APUS_ERR_ARG,
                "kernel probe: a grid of 1x0x1");
    CHECK_FAILS(apus_commands_dispatch(c, &key, &push, 132, one), APUS_ERR_ARG,
                "kernel probe: 132 bytes");
    CHECK_FAILS(apus_commands_dispatch_indirect(c, &key, &push, sizeof(push), &b, 56), APUS_ERR_ARG,
                "kernel probe: a grid at 56 of a buffer of 64");
    key.subgroup = 256;
    CHECK_FAILS(apus_commands_dispatch(c, &key, &push, sizeof(push), one), APUS_ERR_SUPPORT,
                "kernel probe: subgroups of 256");
    CHECK_OK(apus_commands_end(c));
    REQUIRE_OK(apus_commands_begin(c));
    apus_commands_fill(c, &b, 2, 8, 0);
    apus_commands_copy(c, &b, 0, &b, 60, 8);
    CHECK_FAILS(apus_commands_end(c), APUS_ERR_ARG, "fill of 8 bytes at 2: not whole words");
    REQUIRE_OK(apus_commands_begin(c));
    apus_commands_copy(c, &b, 0, &b, 60, 8);
    CHECK_FAILS(apus_commands_end(c), APUS_ERR_ARG, "copy of 8 bytes at 60 of a buffer of 64");
    CHECK_FAILS(apus_gpu_wait(gpu, 1u << 30, 0), APUS_ERR_ARG, "wait for submission");
    apus_commands_destroy(&c);
    apus_buffer_destroy(gpu, &b);
    CHECK_OK(apus_gpu_selftest(gpu));
    gpu_test_close(&gpu);
}
