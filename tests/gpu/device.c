/* device.c - listing, choosing and opening devices; what happens where something is missing. */
#include <stdio.h>

#include "env.h"
#include "gpu.h"
#include "gpu_test.h"

TEST(list)
{
    apus_gpu_listing *list = NULL;
    apus_device_row *rows = NULL;
    uint32_t n = 0, n_rows = 0;
    const apus_status st = apus_gpu_list(&list, &n);

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    REQUIRE_OK(st);
    CHECK(n > 0);
    REQUIRE_OK(apus_device_rows(&rows, &n_rows));
    CHECK_EQ_U64(n_rows, n);
    for (uint32_t i = 0; i < n; i++) {
        const apus_caps *c = &list[i].caps;

        CHECK(c->name[0] && c->driver[0]);
        CHECK_EQ_STR(rows[i].name, c->name);
        CHECK_EQ_U64(rows[i].index, i);
        CHECK_EQ_U64(strlen(rows[i].uuid), 32);
        CHECK(list[i].usable == (list[i].reason[0] == 0));
        if (!list[i].usable)
            continue;
        CHECK(c->subgroup >= c->subgroup_min && c->subgroup <= c->subgroup_max);
        CHECK(c->subgroup > 0 && (c->subgroup & (c->subgroup - 1)) == 0);
        CHECK(c->max_push >= 128 && c->max_shared >= 16384 && c->max_invocations >= 128);
        CHECK(c->max_groups[0] >= 65535 && c->heap > 0 && c->max_alloc > 0);
        CHECK(c->device_class != APUS_CLASS_CPU || strcmp(rows[i].kind, "cpu") == 0);
    }
    apus_free(list);
    apus_device_rows_free(&rows);
    CHECK(rows == NULL);
}

TEST(destroy_nothing)
{
    apus_gpu *none = NULL;
    apus_commands *no_list = NULL;

    apus_gpu_destroy(&none);
    apus_commands_destroy(&no_list);
    CHECK(!none && !no_list);
}

/* By index, by a part of the name in any case, by uuid; unknown ones name what there is. */
TEST(choose)
{
    apus_gpu *gpu = gpu_test_open(), *again = NULL;
    char part[8], uuid[40];
    size_t at = 0;

    if (!gpu)
        return;
    const apus_caps *caps = apus_gpu_caps(gpu);
    snprintf(part, sizeof(part), "%.7s", caps->name);
    for (char *p = part; *p; p++)
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
    CHECK_OK(apus_gpu_create(&again, &(apus_gpu_params) { .device = part }));
    if (again)
        CHECK_EQ_STR(apus_gpu_name(again), caps->name);
    apus_gpu_destroy(&again);
    for (int i = 0; i < 16; i++)
        at += (size_t)snprintf(uuid + at, sizeof(uuid) - at, i == 4 ? "-%02X" : "%02X",
                               caps->uuid[i]);
    CHECK_OK(apus_gpu_create(&again, &(apus_gpu_params) { .device = uuid }));
    if (again)
        CHECK(memcmp(apus_gpu_caps(again)->uuid, caps->uuid, 16) == 0);
    apus_gpu_destroy(&again);
    CHECK_FAILS(apus_gpu_create(&again, &(apus_gpu_params) { .device = "no such GPU" }),
                APUS_ERR_MISSING, "no device 'no such GPU'; there is 0: ");
    CHECK(again == NULL);
    CHECK_FAILS(apus_gpu_create(&again, &(apus_gpu_params) { .device = "77" }), APUS_ERR_MISSING,
                caps->name);
    setenv("APUS_DEVICE", "no such GPU", 1);
    CHECK_FAILS(apus_gpu_create(&again, NULL), APUS_ERR_MISSING, "no device 'no such GPU'");
    unsetenv("APUS_DEVICE");
    gpu_test_close(&gpu);
}

/* Two devices in one process do not disturb each other. */
TEST(two_at_once)
{
    apus_gpu *a = gpu_test_open();
    apus_gpu *b = a ? gpu_test_open() : NULL;

    if (!a || !b) {
        gpu_test_close(&a);
        return;
    }
    CHECK_OK(apus_gpu_selftest(b));
    CHECK_OK(apus_gpu_selftest(a));
    gpu_test_close(&a);
    CHECK_OK(apus_gpu_selftest(b));
    gpu_test_close(&b);
}

TEST(no_driver)
{
    const char *saved[2] = { NULL, NULL };
    static const char *const names[2] = { "VK_DRIVER_FILES", "VK_ICD_FILENAMES" };
    apus_gpu *gpu = NULL;
    apus_gpu_listing *list = NULL;
    uint32_t n = 1;

    if (apus_env_on(APUS_VALIDATE)) {
        harness_skip("the layer is looked for before the driver");
        return;
    }
    for (int i = 0; i < 2; i++) {
        const char *value = getenv(names[i]);

        saved[i] = value ? apus_strdup(value) : NULL;
        setenv(names[i], "/nonexistent.json", 1);
    }
    /* "no Vulkan loader", "... driver found" or "... device found", by what there is. */
    CHECK_FAILS(apus_gpu_create(&gpu, NULL), APUS_ERR_MISSING, "no Vulkan ");
    CHECK(strstr(apus_error_text(), "mesa-vulkan-drivers") != NULL);
    CHECK(gpu == NULL);
    CHECK_FAILS(apus_gpu_list(&list, &n), APUS_ERR_MISSING, "no Vulkan ");
    CHECK(list == NULL && n == 0);
    for (int i = 0; i < 2; i++) {
        if (saved[i])
            setenv(names[i], saved[i], 1);
        else
            unsetenv(names[i]);
        apus_free((void *)saved[i]);
    }
}

/* Caps are data: the largest shape wins, other inputs have none. */
TEST(coop_choice)
{
    const apus_caps caps = {
        .n_coop = 3,
        .coop = { { 16, 8, 16, APUS_F16 }, { 16, 16, 16, APUS_F16 }, { 16, 8, 8, APUS_F16 } },
    };

    CHECK(apus_caps_coop(&caps, APUS_F16) == &caps.coop[1]);
    CHECK(apus_caps_coop(&caps, APUS_BF16) == NULL);
}
