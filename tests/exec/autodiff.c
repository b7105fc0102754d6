/* autodiff.c - tests of the backward walk: regions that are run again, results that are made again,
 * gradients over several uses and through views. */
#include "autodiff.h"

#include <math.h>
#include <stdio.h>

#include "barrier.h"
#include "exec_test.h"
#include "op.h"
#include "rng.h"

static uint32_t count_ops(const apus_graph *g, const char *name)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < g->n_nodes; i++)
        n += !strcmp(g->nodes[i]->op->name, name);
    return n;
}

/* ---- regions ---- */

/* What a run leaves: output, gradient of x, gradients of the weights. */
typedef struct result {
    float y[NET_T * NET_D], dx[NET_T * NET_D], dw[NET_TRAINED][NET_F * NET_D];
    uint64_t scratch;
    uint32_t matmuls, adds, dropouts;
} result;

static void run_net(result *r, const apus_region *recompute, uint32_t tokens)
{
    apus_graph g;
    store s = { 0 };
    net n;
    apus_plan *plan = NULL;

    memset(r, 0, sizeof(*r));
    REQUIRE_OK(apus_graph_init(&g));
    net_build(&n, &s, &g);
    if (CHECK_OK(apus_graph_status(&g)) && CHECK_OK(apus_autodiff(&g, recompute, NET_LAYERS + 1))) {
        n.x->grad->keep = true;
        r->matmuls = count_ops(&g, "matmul");
        r->adds = count_ops(&g, "add");
        r->dropouts = count_ops(&g, "dropout");
    }
    const apus_plan_params params = { .name = "net", .force = "" };
    if (CHECK_OK(apus_plan_create(&plan, optest_exec(), &g, &params))) {
        const uint64_t bytes = 4ull * tokens * NET_D;
        r->scratch = apus_plan_about(plan)->scratch_bytes;
        CHECK_OK(apus_hazards_check(apus_plan_list(plan)));
        net_step(&n, plan, tokens);
        CHECK_OK(apus_plan_run(plan, NULL));
        CHECK_OK(apus_plan_read(plan, n.y, r->y, bytes));
        CHECK_OK(apus_plan_read(plan, n.x->grad, r->dx, bytes));
        for (uint32_t i = 0; i < NET_TRAINED; i++)
            CHECK_OK(apus_plan_read(plan, n.trained[i]->grad_into, r->dw[i],
                                    n.trained[i]->grad_into->bytes));
    }
    apus_plan_destroy(&plan);
    apus_graph_release(&g);
    store_release(&s);
}

/* Of two regions the second gets what the first makes again: the products, and the sum, of it. */
TEST(regions_that_run_twice_give_the_same_bits)
{
    static const struct {
        apus_region how[NET_LAYERS + 1];
        uint32_t again;
    } which[] = { { { 0, APUS_REGION_TWICE, APUS_REGION_AGAIN, APUS_REGION_AGAIN }, 3 },
                  { { 0, APUS_REGION_AGAIN, APUS_REGION_TWICE, APUS_REGION_AGAIN }, 3 },
                  { { 0, APUS_REGION_TWICE, APUS_REGION_AGAIN, APUS_REGION_KEPT }, 2 } };
    static result kept, again;

    if (!optest_exec())
        return;
    run_net(&kept, NULL, NET_T);
    for (size_t i = 0; i < APUS_COUNT(which); i++) {
        run_net(&again, which[i].how, NET_T);
        CHECK(kept.dw[0][0] != 0 && !memcmp(kept.y, again.y, sizeof(kept.y)));
        CHECK(!memcmp(kept.dx, again.dx, sizeof(kept.dx)));
        CHECK(!memcmp(kept.dw, again.dw, sizeof(kept.dw)));
        CHECK_EQ_U64(again.matmuls, kept.matmuls + 2 * which[i].again + 3);
        CHECK_EQ_U64(again.adds, kept.adds + 1);
        CHECK(again.scratch < kept.scratch);
    }
}

TEST(recomputed_regions_give_the_same_bits)
{
    static const apus_region which[][NET_LAYERS + 1] = { { 0, 1, 1, 1 },
                                                         { 0, 0, 1, 0 },
                                                         { 0, 1, 0, 1 } };
    static result kept, again;

    if (!optest_exec())
        return;
    for (uint32_t tokens = 1; tokens <= NET_T; tokens += 63) {
        run_net(&kept, NULL, tokens);
        CHECK(kept.dw[0][0] != 0 && kept.dx[0] != 0 && kept.y[0] != 0);
        for (size_t i = 0; i < APUS_COUNT(which); i++) {
            uint32_t regions = 0;
            for (uint32_t l = 1; l <= NET_LAYERS; l++)
                regions += which[i][l];
            run_net(&again, which[i], tokens);
            CHECK(!memcmp(kept.y, again.y, sizeof(kept.y)));
            CHECK(!memcmp(kept.dx, again.dx, sizeof(kept.dx)));
            CHECK(!memcmp(kept.dw, again.dw, sizeof(kept.dw)));
            CHECK(again.scratch < kept.scratch);
            /* Gate and up are run again; down and the sum, which no gradient asks for, are not. */
            CHECK_EQ_U64(again.matmuls, kept.matmuls + 2 * regions);
            CHECK_EQ_U64(again.adds, kept.adds);
        }
        CHECK_EQ_U64(kept.matmuls, 9 * NET_LAYERS);
        if (tokens == 1)
            printf("    scratch: %.0f kB kept, %.0f kB with every layer run again\n",
                   (double)kept.scratch / 1024, (double)again.scratch / 1024);
    }
}

/* ---- results that are made again ---- */

/* Whether a node behind the first `n_forward` reads `t`. */
static bool read_later(const apus_graph *g, uint32_t n_forward, const apus_tensor *t)
{
    for (uint32_t i = n_forward; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] && apus_tensor_root(g->nodes[i]->in[k], NULL) == t)
                return true;
    return false;
}

TEST(cheap_results_are_made_again)
{
    apus_graph g;
    const uint32_t dims[] = { 6, 8 };

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, dims, 4096);
    apus_tensor *dy = apus_graph_bound(&g, "dy", APUS_F32, 2, dims, 8192);
    apus_tensor *rows = apus_graph_step(&g, "rows", APUS_U32, 6, APUS_ROWS_ALL);
    x->wants_grad = true;
    apus_tensor *d = apus_dropout(&g, x, &(apus_dropout_params) { 0.5f, rows, rows, 1 });
    apus_tensor *y = apus_swiglu(&g, d, d), *z = apus_add(&g, d, x);
    const uint32_t n_forward = g.n_nodes;
    y->grad = z->grad = dy;
    REQUIRE_OK(apus_autodiff(&g, NULL, 0));
    /* Forward, once more for swiglu's gradient (not for the sum's, which needs no value),
     * backward. */
    CHECK_EQ_U64(count_ops(&g, "dropout"), 3);
    CHECK(!read_later(&g, n_forward, d));
    for (uint32_t i = 0; i < g.n_nodes; i++)
        CHECK_EQ_U64(g.nodes[i]->id, i);
    for (uint32_t i = 0; i < g.n_tensors; i++)
        CHECK_EQ_U64(g.tensors[i]->id, i);
    apus_graph_release(&g);
}

/* A norm, dropout of it, two products with trained weights, a gate, one more product: each cheap
 * result is made once more for all rules that read it. */
TEST(one_serves_all_rules)
{
    static const char *const cheap[] = { "rms_norm", "dropout", "swiglu" };
    apus_graph g;
    const uint32_t dims[] = { 8, 8 }, n_norm = 8;
    apus_tensor *w[3], *kept[3];

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, dims, 4096);
    apus_tensor *dy = apus_graph_bound(&g, "dy", APUS_F32, 2, dims, 8192);
    apus_tensor *norm = apus_graph_bound(&g, "norm", APUS_F32, 1, &n_norm, 12288);
    apus_tensor *rows = apus_graph_step(&g, "rows", APUS_U32, 8, APUS_ROWS_ALL);
    for (uint32_t i = 0; i < 3; i++) {
        w[i] = apus_graph_bound(&g, "w", APUS_F32, 2, dims, 16384 + 4096 * i);
        w[i]->grad_into = apus_graph_bound(&g, "dw", APUS_F32, 2, dims, 32768 + 4096 * i);
        w[i]->wants_grad = true;
    }
    x->wants_grad = true;
    kept[0] = apus_rms_norm(&g, x, norm, 1e-5f);
    kept[1] = apus_dropout(&g, kept[0], &(apus_dropout_params) { 0.5f, rows, rows, 1 });
    const apus_matmul_params nt = { .kind = APUS_NT };
    apus_tensor *gate = apus_matmul(&g, kept[1], w[0], &nt),
                *up = apus_matmul(&g, kept[1], w[1], &nt);
    kept[2] = apus_swiglu(&g, gate, up);
    apus_tensor *y = apus_matmul(&g, kept[2], w[2], &nt);
    REQUIRE_OK(apus_graph_status(&g));
    const uint32_t n_forward = g.n_nodes;
    y->grad = dy;
    REQUIRE_OK(apus_autodiff(&g, NULL, 0));
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(!read_later(&g, n_forward, kept[i]));
        /* The gradient of dropout is dropout. */
        CHECK_EQ_U64(count_ops(&g, cheap[i]), i == 1 ? 3 : 2);
    }
    apus_graph_release(&g);
}

enum { X, UP, ROW_ID, POS };

static uint32_t row_id[16], pos[16];

static void fill_rows(optest *t)
{
    for (uint32_t i = 0; i < 16; i++) {
        row_id[i] = i / 3;
        pos[i] = i % 3;
    }
    t->in[ROW_ID].u32 = row_id;
    t->in[POS].u32 = pos;
}

/* The dropped x as both inputs, as one, and through views of two shapes. */
static void build_again(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const uint32_t rows = t->in[X].dims[0], cols = t->in[X].dims[1];
    const uint32_t narrow[] = { rows * 2, cols / 2 }, dims[] = { rows, cols };
    const apus_dropout_params p = { 0.3f, in[ROW_ID], in[POS], 9 };
    apus_tensor *d = apus_dropout(g, in[X], &p);
    apus_tensor *halves = apus_graph_reshape(g, d, 2, narrow);
    apus_tensor *up = apus_graph_reshape(g, in[UP], 2, narrow);

    outs[0] = apus_swiglu(g, d, d);
    outs[1] = apus_swiglu(g, in[UP], d);
    outs[2] = apus_graph_reshape(g, apus_swiglu(g, halves, up), 2, dims);
    outs[3] = apus_add(g, d, in[X]);
}

static double swish(double x)
{
    return x / (1 + exp(-x));
}

static void define_again(const optest *t, const double *const *in, double **out, double **mag,
                         uint32_t *terms)
{
    const uint32_t key[2] = { t->vars[APUS_VAR_SEED], t->vars[APUS_VAR_STEP] };
    const uint32_t cols = t->in[X].dims[1];

    for (uint32_t i = 0; i < t->in[X].dims[0] * cols; i++) {
        const uint32_t r = i / cols, counter[4] = { i % cols / 4, pos[r], row_id[r], 9 };
        uint32_t bits[4];
        apus_philox(key, counter, bits);
        const double x = in[X][i], up = in[UP][i];
        const double d = apus_uniform_f32(bits[i % 4]) >= 0.3f ? x / (1 - (double)0.3f) : 0;
        out[0][i] = swish(d) * d;
        out[1][i] = swish(up) * d;
        out[2][i] = swish(d) * up;
        out[3][i] = d + x;
        for (uint32_t o = 0; o < 4; o++)
            mag[o][i] = fabs(out[o][i]) + (o == 3 ? fabs(x) : 0);
    }
    *terms = 32; /* |x| < 1.5: exp by 6 ulp, two divisions by 2.5, a few products */
}

/* ---- views, several uses ---- */

enum { W = 1 };

static void build_views(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    const uint32_t rows = t->in[X].dims[0], dims[] = { rows, 8 };
    apus_tensor *heads = apus_graph_reshape(g, in[X], 3, (uint32_t[]) { rows, 2, 4 });
    apus_tensor *n = apus_graph_reshape(g, apus_rms_norm(g, heads, in[W], 0.1f), 2, dims);
    apus_tensor *flat = apus_graph_reshape(g, in[X], 2, (uint32_t[]) { rows * 2, 4 });

    outs[0] = apus_add(g, n, in[X]);
    outs[1] = apus_add(g, in[X], in[X]);
    outs[2] = apus_rms_norm(g, flat, in[W], 0.1f);
}

static void define_views(const optest *t, const double *const *in, double **out, double **mag,
                         uint32_t *terms)
{
    for (uint32_t r = 0; r < t->in[X].dims[0] * 2; r++) {
        double sum = 0;
        for (uint32_t c = 0; c < 4; c++)
            sum += in[X][4 * r + c] * in[X][4 * r + c];
        for (uint32_t c = 0; c < 4; c++) {
            const uint32_t i = 4 * r + c;
            out[2][i] = in[X][i] * in[W][c] / sqrt(sum / 4 + (double)0.1f);
            out[0][i] = out[2][i] + in[X][i];
            out[1][i] = 2 * in[X][i];
            mag[2][i] = fabs(out[2][i]);
            mag[0][i] = mag[2][i] + fabs(in[X][i]);
            mag[1][i] = fabs(out[1][i]);
        }
    }
    *terms = 12;
}

/* A weight that is kept flat. */
static void build_flat(apus_graph *g, const optest *t, apus_tensor *const *in, apus_tensor **outs)
{
    (void)t;
    outs[0] = linear(g, in[X], apus_graph_reshape(g, in[W], 2, (uint32_t[]) { 3, 4 }));
}

static void define_flat(const optest *t, const double *const *in, double **out, double **mag,
                        uint32_t *terms)
{
    for (uint32_t i = 0; i < t->in[X].dims[0] * 3; i++) {
        out[0][i] = mag[0][i] = 0;
        for (uint32_t c = 0; c < 4; c++) {
            const double term = in[X][i / 3 * 4 + c] * in[W][i % 3 * 4 + c];
            out[0][i] += term;
            mag[0][i] += fabs(term);
        }
    }
    *terms = 4;
}

#define LIVE(n) .rows = { APUS_VAR_TOKENS, 0, n, 1 }

TEST(gradients_by_differences)
{
    static optest cases[] = {
        { .name = "results made again",
          .fill = fill_rows,
          .build = build_again,
          .define = define_again,
          .out = { { "d d" }, { "up d" }, { "halves" }, { "sum" } },
          .vars = { [APUS_VAR_SEED] = 3, [APUS_VAR_STEP] = 8 },
          .in = { { "x", APUS_F32, 2, { 6, 8 } },
                  { "up", APUS_F32, 2, { 6, 8 } },
                  { "row_id", APUS_U32, 1, { 6 }, .step = true },
                  { "pos", APUS_U32, 1, { 6 }, .step = true } } },
        { .name = "views",
          .build = build_views,
          .define = define_views,
          .out = { { "norm + x" }, { "x + x" }, { "norm" } },
          .in = { { "x", APUS_F32, 2, { 6, 8 } }, { "w", APUS_F32, 1, { 4 }, .trained = true } } },
        { .name = "views, live rows",
          .build = build_views,
          .define = define_views,
          .out = { { "norm + x" }, { "x + x" }, { "norm" } },
          .vars = { [APUS_VAR_TOKENS] = 4 },
          .in = { { "x", APUS_F32, 2, { 6, 8 }, LIVE(6) },
                  { "w", APUS_F32, 1, { 4 }, .trained = true } } },
        { .name = "a flat weight",
          .build = build_flat,
          .define = define_flat,
          .out = { { "y" } },
          .in = { { "x", APUS_F32, 2, { 5, 4 } }, { "w", APUS_F32, 1, { 12 }, .trained = true } } },
    };
    optest_run(cases, APUS_COUNT(cases));
}

TEST(an_operator_without_gradient_is_named)
{
    apus_graph g;

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *x = apus_graph_bound(&g, "x", APUS_F32, 2, (uint32_t[]) { 4, 4 }, 4096);
    apus_tensor *w = apus_graph_bound(&g, "w", APUS_F32, 2, (uint32_t[]) { 4, 4 }, 8192);
    x->wants_grad = true;
    apus_tensor *y = apus_matmul(&g, x, w, &(apus_matmul_params) { .kind = APUS_NN });
    y->grad = w;
    CHECK_FAILS(apus_autodiff(&g, NULL, 0), APUS_ERR_ARG, "matmul nn has no gradient");
    apus_graph_release(&g);
}
