/* profile.c - tests of profiled plans: the same bits as without, and a table that counts each
 * kernel's dispatches, whoever waits for the steps. */
#include <stdio.h>

#include "exec_test.h"
#include "str.h"

static const uint32_t step_tokens[] = { NET_T, 1, 17, NET_T };

typedef struct result {
    float y[APUS_COUNT(step_tokens)][NET_T * NET_D], dx[NET_T * NET_D];
    float dw[NET_TRAINED][NET_F * NET_D];
} result;

static void run_steps(bed *b, result *r)
{
    for (size_t i = 0; i < APUS_COUNT(step_tokens); i++) {
        net_step(&b->n, b->plan, step_tokens[i]);
        CHECK_OK(apus_plan_run(b->plan, NULL));
        CHECK_OK(apus_plan_read(b->plan, b->n.y, r->y[i], 4ull * step_tokens[i] * NET_D));
    }
    CHECK_OK(apus_plan_read(b->plan, b->n.x->grad, r->dx, sizeof(r->dx)));
    for (uint32_t i = 0; i < NET_TRAINED; i++)
        CHECK_OK(apus_plan_read(b->plan, b->n.trained[i]->grad_into, r->dw[i],
                                b->n.trained[i]->grad_into->bytes));
}

static bool same(const apus_item *item, const apus_profile_row *row)
{
    return !strcmp(item->kernel.name, row->kernel) &&
           !strcmp(item->algorithm ? item->algorithm : "", row->algorithm);
}

/* Every dispatch of the list is in one row, each row counts `steps` times its dispatches. */
static void check_counts(bed *b, uint32_t steps)
{
    const apus_list *list = apus_plan_list(b->plan);
    const bool timed = apus_gpu_caps(optest_gpu())->timestamps;
    uint32_t n = 0;
    uint64_t calls = 0;
    const apus_profile_row *rows = apus_exec_profile(b->exec, &n);

    for (uint32_t r = 0; r < n; r++) {
        uint32_t dispatches = 0;
        for (uint32_t i = 0; i < list->n_items; i++)
            dispatches +=
                list->items[i].kind == APUS_ITEM_DISPATCH && same(&list->items[i], &rows[r]);
        CHECK(dispatches > 0);
        CHECK_EQ_U64(rows[r].calls, (uint64_t)steps * dispatches);
        CHECK_EQ_U64(rows[r].timed, timed ? rows[r].calls : 0);
        CHECK(timed ? rows[r].ns > 0 : rows[r].ns == 0);
        CHECK(r == 0 || rows[r - 1].ns >= rows[r].ns);
        calls += rows[r].calls;
    }
    CHECK_EQ_U64(calls, (uint64_t)steps * apus_plan_about(b->plan)->dispatches);
}

static void count_times(void *user, const apus_item *item, double ns)
{
    (void)item;
    (void)ns;
    ++*(uint32_t *)user;
}

TEST(a_profiled_run_gives_the_same_bits)
{
    static result plain, profiled;
    uint32_t n = 9, times = 0;
    bed b;

    unsetenv("APUS_PROFILE");
    if (bed_open(&b, 1, false)) {
        run_steps(&b, &plain);
        CHECK(!apus_exec_profile(b.exec, &n) && n == 0);
        CHECK_OK(apus_plan_times(b.plan, count_times, &times));
        CHECK_EQ_U64(times, 0); /* no timestamp was recorded */
    }
    bed_close(&b);
    if (bed_open(&b, 1, true)) {
        run_steps(&b, &profiled);
        check_counts(&b, APUS_COUNT(step_tokens));
        CHECK(plain.y[0][0] != 0 && plain.dx[0] != 0 && plain.dw[0][0] != 0);
        CHECK(!memcmp(&plain, &profiled, sizeof(plain)));
    }
    bed_close(&b);
}

/* Work is counted for the rows that were live, bytes of the weights for every step. */
TEST(estimates_follow_the_live_rows)
{
    static result r;
    double flops = 0, rows_sum = 0, steps = APUS_COUNT(step_tokens), fixed = 0, moved = 0;
    double all_moved = 0;
    uint32_t n = 0;
    bed b;

    if (bed_open(&b, 1, true)) {
        run_steps(&b, &r);
        const apus_list *list = apus_plan_list(b.plan);
        const apus_profile_row *rows = apus_exec_profile(b.exec, &n);
        for (size_t i = 0; i < APUS_COUNT(step_tokens); i++)
            rows_sum += step_tokens[i];
        for (uint32_t i = 0; i < list->n_items; i++)
            fixed += list->items[i].fixed;
        for (uint32_t i = 0; i < n; i++) {
            flops += rows[i].flops;
            all_moved += rows[i].moved;
            CHECK(rows[i].knows_moved || strcmp(rows[i].algorithm, ""));
        }
        const apus_plan_info *info = apus_plan_about(b.plan);
        moved = steps * fixed + (info->moved - fixed) * rows_sum / NET_T;
        CHECK(fixed >= 9.0 * NET_LAYERS * 4 * NET_F * NET_D);
        CHECK_NEAR(flops, info->flops * rows_sum / NET_T, 1e-9 * flops);
        CHECK_NEAR(all_moved, moved, 1e-9 * moved);
    }
    bed_close(&b);
}

/* ---- steps that nobody waited for; the table in the log ---- */

static void keep_line(void *user, apus_log_level level, const char *line)
{
    (void)level;
    apus_str_addf(user, "%s\n", line);
}

/* The count in the table's line of this kernel and algorithm; 0: there is no such line. */
static unsigned long long count_of(const char *text, const apus_item *item)
{
    char want[128], kernel[64], rest[64], algorithm[32];
    unsigned long long calls, found = 0;

    snprintf(want, sizeof(want), "%s", item->algorithm ? item->algorithm : "");
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (sscanf(line, "%63s %63s", kernel, rest) != 2 || strcmp(kernel, item->kernel.name))
            continue;
        if (want[0] && sscanf(line, "%*s %31s %llu", algorithm, &calls) == 2 &&
            !strcmp(algorithm, want))
            found += calls;
        if (!want[0] && sscanf(line, "%*s %llu", &calls) == 1)
            found += calls;
    }
    return found;
}

TEST(unwaited_steps_are_counted_and_the_table_is_logged)
{
    apus_str text = { 0 };
    uint64_t ticket;
    apus_item items[256];
    uint32_t n = 0, dispatches[256] = { 0 };
    bed b;

    if (!bed_open(&b, 1, true)) {
        bed_close(&b);
        return;
    }
    for (uint32_t i = 0; i < 5; i++) {
        net_step(&b.n, b.plan, NET_T);
        CHECK_OK(apus_plan_submit(b.plan, &ticket));
        if (i == 2) { /* waited for twice, counted once */
            CHECK_OK(apus_plan_wait(b.plan, ticket));
            CHECK_OK(apus_plan_wait(b.plan, ticket));
            check_counts(&b, 3);
        }
    }
    const apus_list *list = apus_plan_list(b.plan);
    for (uint32_t i = 0; i < list->n_items; i++) {
        if (list->items[i].kind != APUS_ITEM_DISPATCH || !CHECK(n < APUS_COUNT(items)))
            continue;
        items[n] = list->items[i];
        for (uint32_t k = 0; k < list->n_items; k++)
            dispatches[n] += list->items[k].kind == APUS_ITEM_DISPATCH &&
                             !strcmp(list->items[k].kernel.name, items[n].kernel.name) &&
                             list->items[k].algorithm == items[n].algorithm;
        n++;
    }
    apus_log_set(keep_line, &text, APUS_LOG_INFO);
    bed_close(&b);
    apus_log_set(NULL, NULL, APUS_LOG_INFO);
    REQUIRE(text.data && strstr(text.data, "kernel") && strstr(text.data, "GFLOP/s"));
    CHECK(n > 20);
    for (uint32_t i = 0; i < n; i++)
        CHECK_EQ_U64(count_of(text.data, &items[i]), 5 * dispatches[i]);
    apus_str_release(&text);
}

TEST(the_variable_turns_it_on)
{
    uint32_t n = 0;
    bed b;

    setenv("APUS_PROFILE", "1", 1);
    if (bed_open(&b, 1, false)) {
        net_step(&b.n, b.plan, NET_T);
        CHECK_OK(apus_plan_run(b.plan, NULL));
        check_counts(&b, 1);
        CHECK(apus_exec_profile(b.exec, &n) && n > 0);
    }
    bed_close(&b);
    unsetenv("APUS_PROFILE");
}

/* The switch that recording looks at, turned off as on a device without timestamps. */
TEST(without_timestamps_calls_are_counted_and_it_is_told_once)
{
    apus_str text = { 0 };
    apus_caps *caps = optest_exec() ? (apus_caps *)apus_gpu_caps(optest_gpu()) : NULL;
    const bool had = caps && caps->timestamps;
    bed b;

    if (!caps)
        return;
    caps->timestamps = false;
    apus_log_set(keep_line, &text, APUS_LOG_INFO);
    if (bed_open(&b, 1, true)) {
        apus_plan *second = NULL;
        const apus_plan_params params = { .name = "second", .force = "", .profile = true };
        CHECK_OK(apus_plan_create(&second, b.exec, &b.g, &params));
        apus_plan_destroy(&second);
        net_step(&b.n, b.plan, NET_T);
        CHECK_OK(apus_plan_run(b.plan, NULL));
        check_counts(&b, 1);
    }
    bed_close(&b);
    apus_log_set(NULL, NULL, APUS_LOG_INFO);
    caps->timestamps = had;
    REQUIRE(text.data);
    const char *told = strstr(text.data, "no timestamps");
    CHECK(told && !strstr(told + 1, "no timestamps") && strstr(told, "matmul"));
    apus_str_release(&text);
}
