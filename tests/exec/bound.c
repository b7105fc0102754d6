/* bound.c - how much goes into a submission: the same bits whatever it is, and submissions of a
 * simulated device that is faster or slower than estimated, and changes. */
#include "bound.h"

#include <stdio.h>

#include "exec_test.h"

/* A network with its gradients on an exec of its own, run once. */
static uint32_t run_net(double share, float *y, float *dx)
{
    apus_exec *exec = NULL;
    apus_graph g = { 0 };
    apus_plan *plan = NULL;
    store s = { 0 };
    net n;
    uint32_t segments = 0;

    if (!optest_exec() || !CHECK_OK(apus_exec_create(&exec, optest_gpu())) ||
        !CHECK_OK(apus_graph_init(&g)))
        return 0;
    apus_exec_bound(exec, share);
    net_build(&n, &s, &g);
    if (CHECK_OK(apus_graph_status(&g)) && CHECK_OK(apus_autodiff(&g, NULL, NET_LAYERS + 1)) &&
        (n.x->grad->keep = true) &&
        CHECK_OK(apus_plan_create(&plan, exec, &g, &(apus_plan_params) { .force = "" }))) {
        segments = apus_plan_about(plan)->segments;
        net_step(&n, plan, NET_T);
        CHECK_OK(apus_plan_run(plan, NULL));
        CHECK_OK(apus_plan_read(plan, n.y, y, sizeof(float) * NET_T * NET_D));
        CHECK_OK(apus_plan_read(plan, n.x->grad, dx, sizeof(float) * NET_T * NET_D));
    }
    apus_plan_destroy(&plan);
    apus_graph_release(&g);
    store_release(&s);
    apus_exec_destroy(&exec);
    return segments;
}

TEST(less_work_in_a_submission_gives_the_same_bits)
{
    static float y[3][NET_T * NET_D], dx[3][NET_T * NET_D];
    static const double shares[] = { 1, 1.0 / 1024, 1e-9 };
    uint32_t before = 0;

    for (size_t i = 0; i < APUS_COUNT(shares); i++) {
        const uint32_t n = run_net(shares[i], y[i], dx[i]);
        if (!n)
            return; /* no device, or said before */
        CHECK(n > before);
        before = n;
        CHECK(!memcmp(y[0], y[i], sizeof(y[0])) && !memcmp(dx[0], dx[i], sizeof(dx[0])));
    }
}

/* ---- one plan on a device, grouped in every way ---- */

static void run_bed(bed *b, const apus_cancel *cancel, float *dx)
{
    net_step(&b->n, b->plan, NET_T);
    CHECK_OK(apus_plan_run(b->plan, cancel));
    CHECK_OK(apus_plan_read(b->plan, b->n.x->grad, dx, sizeof(float) * NET_T * NET_D));
}

/* Recorded finely, then submitted one list at a time, all at once, and in between. */
TEST(groups_change_no_bit)
{
    static const double shares[] = { 1e-9, 1, 1e-2, 1e-4, 1 };
    static float first[NET_T * NET_D], dx[NET_T * NET_D];
    const apus_cancel go_on = { 0 };
    uint32_t least = UINT32_MAX, most = 0;
    bed b;

    if (bed_open(&b, 1e-9, false)) {
        const uint32_t segments = apus_plan_about(b.plan)->segments;
        run_bed(&b, NULL, first);
        CHECK_EQ_U64(apus_plan_bounded(b.plan).submissions, segments);
        CHECK(segments > 30 && first[0] != 0);
        for (uint32_t i = 0; i < 4 * APUS_COUNT(shares); i++) {
            apus_exec_bound(b.exec, shares[i % APUS_COUNT(shares)]);
            run_bed(&b, i % 2 ? &go_on : NULL, dx);
            CHECK(!memcmp(dx, first, sizeof(dx)));
            const uint32_t n = apus_plan_bounded(b.plan).submissions;
            least = n < least ? n : least;
            most = n > most ? n : most;
        }
        CHECK_EQ_U64(most, segments);
        CHECK(least < segments / 4);
    }
    bed_close(&b);
}

/* What a step took, by its timestamps or the clock, decides the next one's groups. */
static void check_learning(bool timestamps)
{
    static float dx[NET_T * NET_D];
    apus_caps *caps = optest_exec() ? (apus_caps *)apus_gpu_caps(optest_gpu()) : NULL;
    const bool had = caps && caps->timestamps;
    bed b;

    if (!caps || (timestamps && !had))
        return;
    caps->timestamps = timestamps;
    if (bed_open(&b, 1e-9, false)) {
        apus_exec_bound(b.exec, 1);
        for (uint32_t i = 0; i < 10; i++)
            run_bed(&b, NULL, dx);
        double likely = 0;
        for (uint32_t i = 0; i < b.plan->n_segments; i++) {
            const apusi_segment *s = &b.plan->segments[i];
            double ns = 0;
            CHECK(s->measured > 0 && s->ratio > 0 && s->worst > 0);
            CHECK(apus_commands_ns(s->commands, &ns) == timestamps);
            CHECK(!timestamps || ns > 0);
            likely += s->estimate * s->ratio;
        }
        CHECK(likely > 0);
        /* A tenth of a second holds so much of what is likely, half as much at half the share. */
        for (double share = 1; share > 1e-6; share /= 4) {
            double longest = 0; /* a segment is never divided */
            for (uint32_t i = 0; i < b.plan->n_segments; i++) {
                const apusi_segment *s = &b.plan->segments[i];
                if (s->estimate * s->ratio > longest)
                    longest = s->estimate * s->ratio;
            }
            apus_exec_bound(b.exec, share);
            run_bed(&b, NULL, dx);
            const apus_plan_bound x = apus_plan_bounded(b.plan);
            CHECK(x.longest_s <= 0.1 * share || x.longest_s <= longest * (1 + 1e-9));
            CHECK(x.longest_s > 0);
        }
    }
    bed_close(&b);
    caps->timestamps = had;
}

TEST(a_step_is_learned_from)
{
    check_learning(true);
    check_learning(false);
}

/* A token that is set ends the step between two submissions, and the plan is whole after it. */
TEST(a_cancelled_step_and_the_next)
{
    static float first[NET_T * NET_D], dx[NET_T * NET_D];
    apus_cancel cancel = { 0 };
    bed b;

    if (bed_open(&b, 1e-9, false)) {
        run_bed(&b, &cancel, first);
        cancel.requested = 1;
        net_step(&b.n, b.plan, NET_T);
        CHECK_FAILS(apus_plan_run(b.plan, &cancel), APUS_ERR_CANCELLED, "cancelled");
        CHECK_EQ_U64(apus_plan_bounded(b.plan).submissions, 0);
        cancel.requested = 0;
        for (uint32_t i = 0; i < 3; i++) {
            run_bed(&b, &cancel, dx);
            CHECK(!memcmp(dx, first, sizeof(dx)));
        }
    }
    bed_close(&b);
}

/* ---- a device that is simulated ---- */

enum { SEGMENTS = 1500 };

typedef struct simulated {
    apus_exec exec;
    apus_plan plan;
    apusi_segment segments[SEGMENTS];
    uint32_t vars[APUS_STEP_VARS];
    double speed;       /* what a segment takes over what is estimated for its live rows */
    double least, most; /* seconds of a submission of the last step, but its last one */
    uint32_t submissions;
} simulated;

/* Segments of 25 ms as estimated, 1 ms of it for all rows and the rest for live ones of 64. */
static simulated *simulate(double speed)
{
    static simulated s;

    s = (simulated) { .exec = { .share = 1 }, .speed = speed };
    s.vars[APUS_VAR_TOKENS] = 64;
    s.plan = (apus_plan) { .exec = &s.exec, .segments = s.segments, .n_segments = SEGMENTS };
    s.plan.kinds[s.plan.n_kinds++] = apus_rows_live(APUS_VAR_TOKENS, 64);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        s.segments[i] =
            (apusi_segment) { .fixed = 0.001, .live = { 0.024 }, .ratio = 1, .worst = 1 };
    return &s;
}

static void step(simulated *s)
{
    s->least = 1e9;
    s->most = 0;
    s->submissions = 0;
    apusi_bound_step(&s->plan, s->vars);
    for (uint32_t at = 0, n; at < SEGMENTS; at += n) {
        double seconds = 0;
        n = apusi_bound_group(&s->plan, at);
        REQUIRE(n >= 1 && at + n <= SEGMENTS);
        for (uint32_t i = at; i < at + n; i++)
            seconds += (0.001 + 0.024 * s->vars[APUS_VAR_TOKENS] / 64) * s->speed;
        s->most = seconds > s->most ? seconds : s->most;
        if (at + n < SEGMENTS)
            s->least = seconds < s->least ? seconds : s->least;
        s->submissions++;
    }
    CHECK_EQ_U64(apus_plan_bounded(&s->plan).submissions, s->submissions);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        apusi_bound_measured(&s->segments[i], s->segments[i].estimate * s->speed);
}

/* Three measurements at most, by a factor of four each, and all are in [75, 100] ms; none was
 * ever longer than 500 ms. */
TEST(faster_and_slower_than_estimated)
{
    static const double speeds[] = { 1.0 / 60, 0.1, 0.5, 1, 1.5, 4 };

    for (size_t k = 0; k < APUS_COUNT(speeds); k++) {
        simulated *s = simulate(speeds[k]);
        for (uint32_t i = 0; i < 20; i++) {
            step(s);
            CHECK(s->most <= 0.5 + 1e-9);
            if (i < 3)
                continue;
            CHECK(s->most <= 0.1 + 1e-9);
            CHECK(s->least >= (speeds[k] >= 4 ? 0.1 : 0.075) - 1e-9);
        }
    }
}

/* One list is the least, and 512 the most. */
TEST(very_slow_and_very_fast)
{
    simulated *s = simulate(100);

    for (uint32_t i = 0; i < 4; i++)
        step(s);
    CHECK_EQ_U64(s->submissions, SEGMENTS);
    s = simulate(1e-6);
    for (uint32_t i = 0; i < 10; i++)
        step(s);
    CHECK_EQ_U64(s->submissions, (SEGMENTS + 511) / 512);
}

/* Five times slower from one step to the next is within the bound; and it is not waited for a
 * second time, however long ago. */
TEST(a_device_that_changes)
{
    simulated *s = simulate(0.02);

    for (uint32_t i = 0; i < 10; i++)
        step(s);
    for (uint32_t round = 0; round < 6; round++) {
        s->speed = 0.1;
        step(s);
        CHECK(s->most <= 0.5 + 1e-9);
        s->speed = 0.02;
        for (uint32_t i = 0; i < 5 * round; i++) {
            step(s);
            CHECK(s->most <= 0.1 + 1e-9);
        }
        CHECK(round == 0 || s->least >= 0.04);
    }
    s->speed = 0.1; /* for good */
    for (uint32_t i = 0; i < 30; i++)
        step(s);
    CHECK(s->most <= 0.1 + 1e-3 && s->least >= 0.075);
}

/* Measured with one live row, then run with all: the estimate follows the rows. */
TEST(groups_follow_the_live_rows)
{
    simulated *s = simulate(0.05);
    uint32_t few;

    s->vars[APUS_VAR_TOKENS] = 1;
    for (uint32_t i = 0; i < 10; i++)
        step(s);
    few = s->submissions;
    CHECK(s->most <= 0.1 + 1e-9);
    s->vars[APUS_VAR_TOKENS] = 64;
    step(s);
    CHECK(s->most <= 0.1 + 1e-9 && s->least >= 0.075);
    CHECK(s->submissions > 5 * few);
    s->exec.share = 0.25;
    step(s);
    CHECK(s->most <= 0.025 + 1e-9 && s->least >= 0.018);
}
