/* mutate.c - tests of APUS_MUTATE: the named kernel's outputs are zero, what it changes in place
 * stays, and nothing else changes. */
#include "barrier.h"
#include "col_sum.h"
#include "exec_test.h"

#define ROWS 6
#define COLS 40

/* h = x + x, y = rms_norm(h); sums += columns of x. */
typedef struct result {
    float h[ROWS * COLS], y[ROWS * COLS], sums[COLS];
} result;

static void run(result *r, const char *kernel)
{
    apus_graph g;
    store s = { 0 };
    apus_plan *plan = NULL;
    const apus_plan_params params = { .name = "mutant", .force = "" };

    setenv("APUS_MUTATE", kernel, 1);
    memset(r, 0x7f, sizeof(*r));
    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = store_tensor(&s, &g, "x", ROWS, COLS, 1);
    apus_tensor *w = store_tensor(&s, &g, "w", 1, COLS, 1);
    apus_tensor *sums = store_tensor(&s, &g, "sums", 1, COLS, 1);
    apus_tensor *h = apus_add(&g, x, x), *y = apus_rms_norm(&g, h, w, 1e-5f);
    apus_col_sum(&g, x, sums);
    if (CHECK(h && y)) {
        h->keep = y->keep = true;
        if (CHECK_OK(apus_plan_create(&plan, optest_exec(), &g, &params))) {
            CHECK_OK(apus_hazards_check(apus_plan_list(plan)));
            CHECK_OK(apus_plan_run(plan, NULL));
            CHECK_OK(apus_plan_read(plan, h, r->h, sizeof(r->h)));
            CHECK_OK(apus_plan_read(plan, y, r->y, sizeof(r->y)));
            CHECK_OK(apus_plan_read(plan, sums, r->sums, sizeof(r->sums)));
        }
    }
    apus_plan_destroy(&plan);
    apus_graph_release(&g);
    store_release(&s);
    unsetenv("APUS_MUTATE");
}

static bool is_zero(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != 0)
            return false;
    return true;
}

TEST(the_named_kernel_computes_nothing)
{
    static result whole, r;

    if (!optest_exec())
        return;
    run(&whole, "");
    CHECK(!is_zero(whole.h, 1) && !is_zero(whole.y, 1));
    run(&r, "rms_norm");
    CHECK(is_zero(r.y, ROWS * COLS));
    CHECK(!memcmp(r.h, whole.h, sizeof(r.h)) && !memcmp(r.sums, whole.sums, sizeof(r.sums)));
    run(&r, "add");
    CHECK(is_zero(r.h, ROWS * COLS) && is_zero(r.y, ROWS * COLS));
    CHECK(!memcmp(r.sums, whole.sums, sizeof(r.sums)));
    run(&r, "rms_norm:no_such_algorithm");
    CHECK(!memcmp(&r, &whole, sizeof(r)));
    run(&r, "swiglu"); /* not in this graph */
    CHECK(!memcmp(&r, &whole, sizeof(r)));
}

TEST(what_is_changed_in_place_stays)
{
    static result whole, r;
    float start[COLS];
    uint64_t state = 0;

    if (!optest_exec())
        return;
    for (uint32_t i = 0; i < ROWS * COLS + COLS; i++) /* x and w were drawn before */
        optest_random(&state);
    for (uint32_t i = 0; i < COLS; i++)
        start[i] = (float)optest_random(&state);
    run(&whole, "");
    run(&r, "col_sum");
    CHECK(!memcmp(r.sums, start, sizeof(start)));
    CHECK(memcmp(whole.sums, start, sizeof(start)));
    CHECK(!memcmp(r.y, whole.y, sizeof(r.y)));
}

TEST(a_kernel_that_is_not_there_is_named)
{
    apus_graph g;
    apus_plan *plan = NULL;

    if (!optest_exec())
        return;
    REQUIRE_OK(apus_graph_init(&g));
    setenv("APUS_MUTATE", "no_such_kernel", 1);
    CHECK_FAILS(apus_plan_create(&plan, optest_exec(), &g, &(apus_plan_params) { .name = "p" }),
                APUS_ERR_ARG, "no_such_kernel");
    unsetenv("APUS_MUTATE");
    apus_graph_release(&g);
}
