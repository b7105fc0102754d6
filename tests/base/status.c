/* status.c - status codes, failure texts and the log. */
#include <stdio.h>
#include <threads.h>

#include "harness.h"

TEST(texts_of_codes)
{
    CHECK_EQ_STR(apus_status_text(APUS_OK), "ok");
    CHECK_EQ_STR(apus_status_text(APUS_ERR_MEMORY), "out of memory");
    CHECK_EQ_STR(apus_status_text(APUS_ERR_CANCELLED), "cancelled");
    CHECK_EQ_STR(apus_status_text((apus_status)-1000), "unknown status");
    CHECK_EQ_U64(-APUS_ERR_CANCELLED, 9);
}

TEST(failure_is_remembered)
{
    CHECK(apus_fail(APUS_ERR_SHAPE, "x (%u,%u)", 2u, 3u) == APUS_ERR_SHAPE);
    CHECK_EQ_STR(apus_error_text(), "x (2,3)");
    /* The old text may be part of the new one. */
    CHECK(apus_fail(APUS_ERR_IO, "step 7: %s", apus_error_text()) == APUS_ERR_IO);
    CHECK_EQ_STR(apus_error_text(), "step 7: x (2,3)");
}

TEST(long_failure_is_cut)
{
    char longer[6000];

    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    apus_fail(APUS_ERR_IO, "%s", longer);
    const char *text = apus_error_text();
    CHECK_EQ_U64(strlen(text), 4095);
    CHECK_EQ_STR(text + 4092, "...");
    CHECK(text[0] == 'a' && text[4091] == 'a');
}

static int other_thread(void *arg)
{
    (void)arg;
    const bool empty_before = apus_error_text()[0] == 0;
    apus_fail(APUS_ERR_IO, "of the other thread");
    return empty_before;
}

TEST(failure_belongs_to_its_thread)
{
    thrd_t thread;
    int empty_before = 0;

    apus_fail(APUS_ERR_ARG, "of this thread");
    REQUIRE(thrd_create(&thread, other_thread, NULL) == thrd_success);
    thrd_join(thread, &empty_before);
    CHECK(empty_before);
    CHECK_EQ_STR(apus_error_text(), "of this thread");
}

typedef struct seen {
    unsigned n;
    apus_log_level level;
    char line[64];
} seen;

static void keep(void *user, apus_log_level level, const char *line)
{
    seen *s = user;

    s->n++;
    s->level = level;
    snprintf(s->line, sizeof s->line, "%s", line);
}

TEST(log_goes_to_the_sink)
{
    seen s = { 0 };

    apus_log_set(keep, &s, APUS_LOG_INFO);
    apus_log(APUS_LOG_DEBUG, "not wanted");
    CHECK_EQ_U64(s.n, 0);
    apus_log(APUS_LOG_INFO, "%d steps", 12);
    CHECK_EQ_U64(s.n, 1);
    CHECK_EQ_STR(s.line, "12 steps");
    CHECK(s.level == APUS_LOG_INFO);
    apus_log(APUS_LOG_ERROR, "worse");
    CHECK_EQ_U64(s.n, 2);
    apus_log_set(NULL, NULL, APUS_LOG_DEBUG);
    apus_log(APUS_LOG_ERROR, "nobody listens");
    CHECK_EQ_U64(s.n, 2);
}
