/* harness.c - registers, runs and counts the tests of one program. */
#include "harness.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "env.h"
#include "file.h"

#define PATH_ROOM 4096
#define PATHS 16

static harness_test *first, **last = &first;
static unsigned failed_checks; /* of the test that runs */
static bool skipped;           /* the test that runs */
static void (*at_end)(void);
static char folder[PATH_ROOM];

void harness_add(harness_test *test)
{
    *last = test;
    last = &test->next;
}

bool harness_check(bool ok, const char *file, int line, const char *fmt, ...)
{
    va_list args;

    if (ok)
        return true;
    failed_checks++;
    printf("%s:%d: ", file, line);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    return false;
}

void harness_skip(const char *fmt, ...)
{
    va_list args;

    skipped = true;
    printf("  skipped: ");
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

void harness_at_end(void (*end)(void))
{
    at_end = end;
}

bool harness_ok(apus_status st, const char *file, int line, const char *what)
{
    return harness_check(st == APUS_OK, file, line, "%s: %s: %s", what, apus_status_text(st),
                         apus_error_text());
}

bool harness_fails(apus_status st, apus_status code, const char *words, const char *file, int line,
                   const char *what)
{
    if (!harness_check(st == code, file, line, "%s: is \"%s\", should be \"%s\" (text: %s)", what,
                       apus_status_text(st), apus_status_text(code), apus_error_text()))
        return false;
    return harness_check(strstr(apus_error_text(), words) != NULL, file, line,
                         "%s: the text \"%s\" does not contain \"%s\"", what, apus_error_text(),
                         words);
}

bool harness_eq_u64(uint64_t a, uint64_t b, const char *file, int line, const char *what)
{
    return harness_check(a == b, file, line, "%s: %llu and %llu (0x%llx and 0x%llx)", what,
                         (unsigned long long)a, (unsigned long long)b, (unsigned long long)a,
                         (unsigned long long)b);
}

bool harness_eq_str(const char *a, const char *b, const char *file, int line, const char *what)
{
    const bool same = a && b ? !strcmp(a, b) : a == b;

    return harness_check(same, file, line, "%s:\n  \"%s\"\n  \"%s\"", what, a ? a : "(null)",
                         b ? b : "(null)");
}

bool harness_near(double a, double b, double bound, const char *file, int line, const char *what)
{
    return harness_check(fabs(a - b) <= bound, file, line, "%s: %.17g and %.17g, %g apart (<= %g)",
                         what, a, b, fabs(a - b), bound);
}

static void remove_folder(void)
{
    apus_fault_set(APUS_FAULT_FILE, 0);
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
    if (apus_path_remove(folder) != APUS_OK)
        printf("%s\n", apus_error_text());
}

const char *harness_folder(void)
{
    if (!folder[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/apus-test-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
        if (!mkdtemp(folder)) {
            printf("no folder for the test: %s\n", folder);
            abort();
        }
        atexit(remove_folder);
    }
    return folder;
}

/* One of a few texts used in turn, so that a test may hold several paths at once. */
static char *next_path(void)
{
    static char paths[PATHS][PATH_ROOM];
    static unsigned at;

    return paths[at++ % PATHS];
}

const char *harness_fixture(const char *name)
{
    char *path = next_path();
#ifdef APUS_FIXTURES
    snprintf(path, PATH_ROOM, "%s/%s", APUS_FIXTURES, name);
#else
    /* This file is tests/harness/harness.c, compiled under its full name. */
    const char *here = __FILE__;
    const int n = (int)(strstr(here, "harness/harness.c") - here);
    snprintf(path, PATH_ROOM, "%.*sfixtures/%s", n, here, name);
#endif
    return path;
}

const char *harness_real_data(const char *name)
{
    const char *root = getenv("APUS_REAL_DATA");
    char *path = next_path();

    if (!root || !root[0]) {
        harness_skip("%s: APUS_REAL_DATA names no folder of real data", name);
        return NULL;
    }
    snprintf(path, PATH_ROOM, "%s/%s", root, name);
    if (!apus_path_exists(path)) {
        harness_skip("%s is not there", path);
        return NULL;
    }
    return path;
}

#ifdef __SANITIZE_ADDRESS__
/* A size that lies, as in a hostile file, gives NULL as without the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

static void print_log(void *user, apus_log_level level, const char *line)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };

    (void)user;
    printf("  %s: %s\n", names[level], line);
}

int main(int argc, char **argv)
{
    unsigned n_passed = 0, n_failed = 0, n_skipped = 0;
    const char *only = argc > 1 ? argv[1] : "";
    const bool debug = !strcmp(apus_env_get(APUS_LOG), "debug");

    /* Line by line, so that the last words before a crash are seen. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("APUS_TUNE", "off", 0); /* what this machine was tuned to is no matter of a test */
    apus_log_set(print_log, NULL, debug ? APUS_LOG_DEBUG : APUS_LOG_WARN);
    for (const harness_test *test = first; test; test = test->next) {
        if (!strstr(test->name, only))
            continue;
        failed_checks = 0;
        skipped = false;
        test->run();
        n_failed += failed_checks > 0;
        n_skipped += !failed_checks && skipped;
        n_passed += !failed_checks && !skipped;
        printf("%s %s\n", failed_checks ? "FAILED " : skipped ? "skipped" : "passed ", test->name);
    }
    failed_checks = 0;
    if (at_end)
        at_end();
    n_failed += failed_checks > 0;
    printf("%u passed, %u failed, %u skipped\n", n_passed, n_failed, n_skipped);
    if (n_failed)
        return 1;
    if (!n_passed) {
        printf("%s\n", n_skipped ? "nothing ran" : "no test has that name");
        return n_skipped ? 77 : 1;
    }
    return 0;
}
