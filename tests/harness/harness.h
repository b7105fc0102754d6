/* harness.h - the test harness: TEST functions register themselves, one program runs them all.
 *
 *     TEST(reads_a_header) { CHECK_OK(apus_x(...)); CHECK_EQ_U64(n, 3); }
 *
 * A failed check prints expression, values and place, and the test goes on; REQUIRE stops it.
 * Exit code: 0 all passed, 1 a failure, 77 nothing failed, something was skipped and nothing ran.
 * A program argument runs only the tests whose name contains it. */
#ifndef APUS_HARNESS_H
#define APUS_HARNESS_H

#include "base.h"

typedef struct harness_test {
    const char *name;
    void (*run)(void);
    struct harness_test *next;
} harness_test;

void harness_add(harness_test *test);
bool harness_check(bool ok, const char *file, int line, const char *fmt, ...) APUS_PRINTF(4, 5);
void harness_skip(const char *fmt, ...) APUS_PRINTF(1, 2);
/* Call `end` once after the last test; its failed checks count.  (After main, at exit, a driver may
 * already be half gone.)  The last one that was set is called. */
void harness_at_end(void (*end)(void));

#define TEST(test_name)                                                                            \
    static void test_##test_name(void);                                                            \
    static harness_test entry_##test_name = { #test_name, test_##test_name, NULL };                \
    __attribute__((constructor)) static void add_##test_name(void)                                 \
    {                                                                                              \
        harness_add(&entry_##test_name);                                                           \
    }                                                                                              \
    static void test_##test_name(void)

#define CHECK(cond) harness_check((cond), __FILE__, __LINE__, "%s", #cond)
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!CHECK(cond))                                                                          \
            return;                                                                                \
    } while (0)
/* The call succeeds; otherwise its failure text is printed. */
bool harness_ok(apus_status st, const char *file, int line, const char *what);
#define CHECK_OK(call) harness_ok((call), __FILE__, __LINE__, #call)
#define REQUIRE_OK(call)                                                                           \
    do {                                                                                           \
        if (!CHECK_OK(call))                                                                       \
            return;                                                                                \
    } while (0)
/* The call fails with `code` and its failure text contains `words`. */
bool harness_fails(apus_status st, apus_status code, const char *words, const char *file, int line,
                   const char *what);
#define CHECK_FAILS(call, code, words)                                                             \
    harness_fails((call), (code), (words), __FILE__, __LINE__, #call)
bool harness_eq_u64(uint64_t a, uint64_t b, const char *file, int line, const char *what);
#define CHECK_EQ_U64(a, b)                                                                         \
    harness_eq_u64((uint64_t)(a), (uint64_t)(b), __FILE__, __LINE__, #a " == " #b)
bool harness_eq_str(const char *a, const char *b, const char *file, int line, const char *what);
#define CHECK_EQ_STR(a, b) harness_eq_str((a), (b), __FILE__, __LINE__, #a " == " #b)
/* |a - b| <= bound; NaN fails. */
bool harness_near(double a, double b, double bound, const char *file, int line, const char *what);
#define CHECK_NEAR(a, b, bound) harness_near((a), (b), (bound), __FILE__, __LINE__, #a " ~ " #b)

/* A fresh folder, removed when the program ends.  Never NULL. */
const char *harness_folder(void);
/* tests/fixtures/NAME; never NULL. */
const char *harness_fixture(const char *name);
/* Real data that lies outside the repository: $APUS_REAL_DATA/NAME, or NULL after harness_skip. */
const char *harness_real_data(const char *name);

#endif
