/* os.c - clocks, the machine, and programs that are run. */
#include "os.h"

#include <stdio.h>
#include <time.h>

#include "env.h"
#include "harness.h"

TEST(clocks)
{
    const uint64_t before = apus_now_ns(), cpu = apus_cpu_ns();

    apus_sleep_ns(20000000);
    const uint64_t slept = apus_now_ns() - before;
    CHECK(slept >= 20000000 && slept < 10000000000ull);
    /* Sleeping costs no processor time. */
    CHECK(apus_cpu_ns() >= cpu);
    CHECK(apus_cpu_ns() - cpu < 20000000);
    CHECK_NEAR(apus_wall_seconds(), (double)time(NULL), 2.0);
}

TEST(machine)
{
    CHECK(apus_cpu_count() >= 1 && apus_cpu_count() < 100000);
    CHECK(apus_host_memory() > 16 << 20);
    CHECK(apus_peak_rss() > 100000 && apus_peak_rss() < apus_host_memory());
    const size_t bytes = (size_t)64 << 20;
    const uint64_t before = apus_peak_rss();
    unsigned char *p = apus_alloc(bytes);
    REQUIRE(p);
    for (size_t i = 0; i < bytes; i += 4096)
        ((volatile unsigned char *)p)[i] = 1;
    CHECK(apus_peak_rss() >= before + bytes / 2);
    apus_free(p);
}

TEST(local_time)
{
    char year[8], small[3] = "xx", expected[8];
    const time_t now = time(NULL);
    struct tm parts;

    apus_local_time(year, sizeof year, "%Y");
    localtime_r(&now, &parts);
    snprintf(expected, sizeof expected, "%d", (int)(parts.tm_year % 8000) + 1900);
    CHECK_EQ_STR(year, expected);
    apus_local_time(small, sizeof small, "%Y");
    CHECK_EQ_STR(small, "");
}

TEST(run_gives_output)
{
    const char *const argv[] = {
        "sh", "-c", "cat; echo \" $1\"; echo noise >&2", "sh", "a  b", NULL
    };
    char *output;

    CHECK_OK(apus_run(argv, "in", 2, &output));
    CHECK_EQ_STR(output, "in a  b\n");
    apus_free(output);
    CHECK_OK(apus_run(argv, NULL, 0, &output));
    CHECK_EQ_STR(output, " a  b\n");
    apus_free(output);
    const char *const silent[] = { "true", NULL };
    CHECK_OK(apus_run(silent, NULL, 0, &output));
    CHECK_EQ_STR(output, "");
    apus_free(output);
    CHECK_OK(apus_run(silent, NULL, 0, NULL));
}

TEST(run_takes_much_in_and_out)
{
    const size_t bytes = 3 << 20;
    const char *const copy[] = { "cat", NULL }, *const deaf[] = { "true", NULL };
    char *input = apus_alloc(bytes), *output;

    REQUIRE(input);
    memset(input, 'x', bytes);
    REQUIRE_OK(apus_run(copy, input, bytes, &output));
    CHECK_EQ_U64(strlen(output), 1 << 20); /* the rest is dropped */
    CHECK(output[0] == 'x' && output[(1 << 20) - 1] == 'x');
    apus_free(output);
    /* A program that reads nothing neither blocks nor kills. */
    CHECK_OK(apus_run(deaf, input, bytes, NULL));
    apus_free(input);
}

TEST(run_reports_failures)
{
    const char *const absent[] = { "no-such-program-of-apus", NULL };
    const char *const words[] = { "sh", "-c", "echo one; echo the reason >&2; exit 3", NULL };
    const char *const quiet[] = { "false", NULL };
    const char *const killed[] = { "sh", "-c", "kill -9 $$", NULL };
    const char *const wordy[] = { "sh", "-c", "yes words | head -c 100000 >&2; exit 1", NULL };
    char *output = (char *)&output;

    CHECK_FAILS(apus_run(absent, NULL, 0, &output), APUS_ERR_MISSING, "no-such-program-of-apus");
    CHECK(!output);
    CHECK_FAILS(apus_run(words, NULL, 0, &output), APUS_ERR_IO, "sh: exit code 3: the reason");
    CHECK(!output);
    CHECK_FAILS(apus_run(quiet, NULL, 0, NULL), APUS_ERR_IO, "false: exit code 1: no message");
    CHECK_FAILS(apus_run(killed, NULL, 0, NULL), APUS_ERR_IO, "sh: ended by signal 9");
    CHECK_FAILS(apus_run(wordy, NULL, 0, NULL), APUS_ERR_IO, "words\nwords");
}

TEST(run_without_memory)
{
    const char *const argv[] = { "echo", "x", NULL };
    char *output;

    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK_FAILS(apus_run(argv, NULL, 0, &output), APUS_ERR_MEMORY, "memory ran out");
    CHECK(!output);
}
