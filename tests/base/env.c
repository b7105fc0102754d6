/* env.c - environment variables and faults. */
#include "env.h"

#include "harness.h"

TEST(defaults_and_values)
{
    unsetenv("APUS_DEVICE");
    unsetenv("APUS_LOG");
    CHECK_EQ_STR(apus_env_get(APUS_LOG), "info");
    CHECK_EQ_STR(apus_env_get(APUS_DEVICE), "");
    setenv("APUS_DEVICE", "1", 1);
    CHECK_EQ_STR(apus_env_get(APUS_DEVICE), "1");
    setenv("APUS_LOG", "", 1);
    CHECK_EQ_STR(apus_env_get(APUS_LOG), "");
    unsetenv("APUS_LOG");
}

TEST(on_and_off)
{
    unsetenv("APUS_PROFILE");
    CHECK(!apus_env_on(APUS_PROFILE));
    setenv("APUS_PROFILE", "0", 1);
    CHECK(!apus_env_on(APUS_PROFILE));
    setenv("APUS_PROFILE", "", 1);
    CHECK(!apus_env_on(APUS_PROFILE));
    setenv("APUS_PROFILE", "1", 1);
    CHECK(apus_env_on(APUS_PROFILE));
    unsetenv("APUS_PROFILE");
}

TEST(rows_are_complete)
{
    for (int i = 0; i < APUS_ENV_COUNT; i++) {
        const char *name, *or_else, *help;
        apus_env_row((apus_env)i, &name, &or_else, &help);
        CHECK(strlen(name) > 2 &&
              strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") == strlen(name));
        CHECK(or_else != NULL);
        CHECK(strlen(help) > 10);
    }
}

TEST(faults_count_down_once)
{
    for (uint64_t n = 1; n <= 5; n++) {
        apus_fault_set(APUS_FAULT_GPU_ALLOC, n);
        for (uint64_t call = 1; call <= 10; call++)
            CHECK_EQ_U64(apus_fault_now(APUS_FAULT_GPU_ALLOC), call == n);
    }
    /* The kinds count apart. */
    apus_fault_set(APUS_FAULT_GPU_ALLOC, 1);
    CHECK(!apus_fault_now(APUS_FAULT_FILE));
    CHECK(apus_fault_now(APUS_FAULT_GPU_ALLOC));
}
