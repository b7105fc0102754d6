/* bound.c - less work in each submission: more submissions, the same bits. */
#include "autodiff.h"
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
