/* Matrices of the host: where their copies stand among the nodes, who reads them in place, what
 * memory they take, and that results keep their bits. */
#include "offload.h"

#include "barrier.h"
#include "exec_test.h"
#include "fetch.h"
#include "op.h"

#define LAYERS 4u
#define D 64u

typedef struct chain {
    apus_graph g;
    store s;
    apus_tensor *w[LAYERS], *x, *y, *dx;
    apus_plan *plan;
} chain;

/* x through LAYERS products and back, with `rows` rows; the first `host` matrices lie with the
 * host. */
static bool chain_make(chain *c, uint32_t rows, uint32_t host)
{
    *c = (chain) { 0 };
    if (!CHECK_OK(apus_graph_init(&c->g)))
        return false;
    c->x = store_tensor(&c->s, &c->g, "x", rows, D, 1);
    apus_tensor *dy = store_tensor(&c->s, &c->g, "dy", rows, D, 1);
    if (!c->x || !dy)
        return false;
    c->x->wants_grad = true;
    c->y = c->x;
    for (uint32_t i = 0; i < LAYERS; i++) {
        c->w[i] = store_tensor(&c->s, &c->g, "w", D, D, 0.3f);
        if (!c->w[i])
            return false;
        c->w[i]->place.host = i < host;
        c->y = linear(&c->g, c->y, c->w[i]);
    }
    if (!c->y)
        return false;
    c->y->keep = true;
    c->y->grad = dy;
    if (!CHECK_OK(apus_autodiff(&c->g, NULL, 0)))
        return false;
    c->dx = c->x->grad;
    c->dx->keep = true;
    return CHECK_OK(apus_plan_create(&c->plan, optest_exec(), &c->g,
                                     &(apus_plan_params) { .name = "chain", .force = "" })) &&
           CHECK_OK(apus_hazards_check(apus_plan_list(c->plan)));
}

static void chain_release(chain *c)
{
    apus_plan_destroy(&c->plan);
    apus_graph_release(&c->g);
    store_release(&c->s);
}

static uint32_t copies(const chain *c)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->g.n_nodes; i++)
        n += c->g.nodes[i]->op == &apus_op_fetch;
    return n;
}

/* Forward and backward read each matrix: copies of their own, of which two are there at a time. */
TEST(products_read_copies_made_beside_the_product_before)
{
    static float y[2][APUS_FETCH_ROWS + 1][D], dx[2][APUS_FETCH_ROWS + 1][D];
    uint64_t scratch[2] = { 0 };

    if (!optest_exec())
        return;
    for (int host = 0; host < 2; host++) {
        chain c;
        if (chain_make(&c, APUS_FETCH_ROWS + 1, host ? LAYERS : 0)) {
            CHECK_EQ_U64(copies(&c), host ? 2 * LAYERS : 0);
            scratch[host] = apus_plan_about(c.plan)->scratch_bytes;
            CHECK_OK(apus_plan_run(c.plan, NULL));
            CHECK_OK(apus_plan_read(c.plan, c.y, y[host], sizeof(y[host])));
            CHECK_OK(apus_plan_read(c.plan, c.dx, dx[host], sizeof(dx[host])));
        }
        for (uint32_t i = 0; host && i < c.g.n_nodes; i++) {
            const apus_node *n = c.g.nodes[i];
            CHECK_EQ_U64(n->id, i);
            if (n->op != &apus_op_fetch)
                continue;
            /* The first product's own copy, then one before each product but the last. */
            const apus_node *next = c.g.nodes[i + 1];
            CHECK(next->op == &apus_op_matmul || i == 0);
            CHECK(i == 0 ? !n->in[1] : n->in[1] == c.g.nodes[i == 1 ? 2 : i + 1]->in[0]);
        }
        chain_release(&c);
    }
    CHECK(y[0][0][0] != 0 && !memcmp(y[0], y[1], sizeof(y[0])));
    CHECK(dx[0][0][0] != 0 && !memcmp(dx[0], dx[1], sizeof(dx[0])));
    CHECK(scratch[1] >= scratch[0] + 2 * 4 * D * D - 1024 &&
          scratch[1] < scratch[0] + 3 * 4 * D * D);
}

/* A product of few rows reads each matrix once: where it lies. */
TEST(few_rows_read_in_place)
{
    chain c;

    if (!optest_exec())
        return;
    if (chain_make(&c, APUS_FETCH_ROWS, LAYERS))
        CHECK_EQ_U64(copies(&c), 0);
    chain_release(&c);
}

/* The copy for the gradient waits for the product right before, not for the last that had one. */
TEST(a_copy_is_not_made_early)
{
    chain c;

    if (!optest_exec())
        return;
    if (chain_make(&c, APUS_FETCH_ROWS + 1, 1)) {
        CHECK_EQ_U64(copies(&c), 2);
        CHECK_EQ_U64(c.g.n_nodes, 2 * LAYERS + 2);
        CHECK(c.g.nodes[0]->op == &apus_op_fetch);
        /* All products but the last two, then the copy beside the last but one. */
        CHECK(c.g.nodes[2 * LAYERS - 1]->op == &apus_op_fetch);
    }
    chain_release(&c);
}
