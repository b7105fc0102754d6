/* grad_norm.c - tests of apus_grad_norm: norm, clip factor, and gradients that are not finite. */
#include "grad_norm.h"

#include <math.h>

#include "args/train_state.h"
#include "optest.h"

enum { GRAD, STATE };

struct params {
    float most, unscale;
};

static void build(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    apus_grad_norm(g, in[GRAD], in[STATE]);
    outs[0] = in[STATE];
}

static void fill(optest *t)
{
    const struct params *p = t->params;

    memcpy(&t->vars[APUS_VAR_MAX_NORM], &p->most, 4);
    memcpy(&t->vars[APUS_VAR_UNSCALE], &p->unscale, 4);
}

static void define(const optest *t, const double *const *in, double **out, double **mag,
                   uint32_t *terms)
{
    const struct params *p = t->params;
    const double most = (double)p->most, unscale = (double)p->unscale;
    double sum = 0;

    for (uint32_t i = 0; i < t->in[GRAD].dims[0]; i++)
        sum += in[GRAD][i] * in[GRAD][i];
    for (uint32_t i = 0; i < APUS_STATE_WORDS; i++)
        out[0][i] = in[STATE][i];
    const double norm = sqrt(sum) * unscale;
    out[0][APUS_STATE_NORM] = norm;
    out[0][APUS_STATE_CLIP] = unscale * (most > 0 ? fmin(1, most / (norm + 1e-6)) : 1);
    mag[0][APUS_STATE_NORM] = out[0][APUS_STATE_NORM];
    mag[0][APUS_STATE_CLIP] = most > 0 ? out[0][APUS_STATE_CLIP] : 0;
    /* A sum of squares is at most its count of roundings off, and its root half of that; the
     * root is a division (2.5 ulp) by an inversesqrt (2 ulp), that is 9 roundings; the clip one
     * more of 5. */
    *terms = t->in[GRAD].dims[0] / 2 + 16;
}

#define CASE(text, most, count, size) SCALED(text, most, 1, count, size)
#define SCALED(text, most, unscale, count, size)                                                   \
    {                                                                                              \
        .name = text, .params = &(const struct params) { most, unscale }, .fill = fill,            \
        .build = build, .define = define, .out = { { "state" } }, .in = {                          \
            { "grad", APUS_F32, 1, { count }, .fixed = true, .scale = size },                      \
            { "state", APUS_F32, 1, { APUS_STATE_WORDS }, .fixed = true }                          \
        }                                                                                          \
    }

TEST(norm_and_clip)
{
    optest cases[] = {
        CASE("four elements, clipped", 1, 4, 100),
        CASE("within the bound", 1e6f, 1000, 1),
        CASE("no bound", 0, 1000, 100),
        CASE("one chunk", 1, 8192, 1),
        CASE("a chunk and a four", 1, 8196, 1),
        CASE("many chunks", 0.5f, 100 * 8192 + 4, 0.01f),
        SCALED("loss scale, clipped", 1, 1.0f / 65536, 1000, 65536 * 2),
        SCALED("loss scale, no bound", 0, 1.0f / 1024, 1000, 1),
    };
    optest_run(cases, APUS_COUNT(cases));
}

#define N 8200

/* What grad_norm leaves for gradients that hold `odd` at `at`. */
static void run_odd(float odd, uint32_t at, float state[APUS_STATE_WORDS])
{
    static float grad[N];
    apus_buffer b[2] = { 0 };
    apus_graph g = { 0 };
    apus_plan *plan = NULL;
    const float most = 1, unscale = 1;

    for (uint32_t i = 0; i < N; i++)
        grad[i] = i == at ? odd : 0.5f;
    REQUIRE_OK(apus_buffer_create(optest_gpu(), &b[0], sizeof(grad), APUS_MEMORY_DEVICE, "grad"));
    REQUIRE_OK(apus_buffer_create(optest_gpu(), &b[1], 64, APUS_MEMORY_DEVICE, "state"));
    CHECK_OK(apus_buffer_write(optest_gpu(), &b[0], 0, grad, sizeof(grad)));
    CHECK_OK(apus_buffer_write(optest_gpu(), &b[1], 0, state, 64));
    CHECK_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "grad", APUS_F32, 1, (uint32_t[]) { N }, b[0].address);
    apus_tensor *s =
        apus_graph_bound(&g, "state", APUS_F32, 1, (uint32_t[]) { APUS_STATE_WORDS }, b[1].address);
    apus_grad_norm(&g, x, s);
    if (CHECK_OK(apus_plan_create(&plan, optest_exec(), &g, &(apus_plan_params) { .force = "" }))) {
        memcpy(&apus_plan_step(plan).vars[APUS_VAR_MAX_NORM], &most, 4);
        memcpy(&apus_plan_step(plan).vars[APUS_VAR_UNSCALE], &unscale, 4);
        CHECK_OK(apus_plan_run(plan, NULL));
        CHECK_OK(apus_plan_read(plan, s, state, 64));
    }
    apus_plan_destroy(&plan);
    apus_graph_release(&g);
    apus_buffer_destroy(optest_gpu(), &b[0]);
    apus_buffer_destroy(optest_gpu(), &b[1]);
}

TEST(what_is_not_finite_is_skipped)
{
    float state[APUS_STATE_WORDS] = { 0 };

    if (!optest_gpu())
        return;
    run_odd(INFINITY, 3, state);
    CHECK(isinf(state[APUS_STATE_NORM]));
    CHECK(state[APUS_STATE_CLIP] == 0 && state[APUS_STATE_SKIPPED] == 1);
    run_odd(NAN, N - 1, state);
    CHECK(isnan(state[APUS_STATE_NORM]));
    CHECK(state[APUS_STATE_CLIP] == 0 && state[APUS_STATE_SKIPPED] == 2);
    run_odd(-INFINITY, 8192, state);
    CHECK(state[APUS_STATE_CLIP] == 0 && state[APUS_STATE_SKIPPED] == 3);
    run_odd(1e30f, 0, state); /* its square does not fit */
    CHECK(state[APUS_STATE_CLIP] == 0 && state[APUS_STATE_SKIPPED] == 4);
    run_odd(0.5f, 0, state); /* and then a good one */
    CHECK_NEAR((double)state[APUS_STATE_NORM], sqrt(N * 0.25), 1e-3);
    CHECK(state[APUS_STATE_CLIP] > 0 && state[APUS_STATE_SKIPPED] == 4);
}
