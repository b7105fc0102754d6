/* plan.c - tests of the memory planner on random graphs: lifetimes and overlaps are derived here
 * again, from the nodes alone. */
#include "plan.h"

#include <stdio.h>

#include "harness.h"
#include "op.h"
#include "rng.h"

static uint32_t draw(uint64_t *state, uint32_t below)
{
    const uint32_t key[2] = { 3, 5 }, counter[4] = { (uint32_t)*state, 0, 0, 0 };
    uint32_t out[4];

    ++*state;
    apus_philox(key, counter, out);
    return out[0] % below;
}

static const apus_op_def nothing = { "nothing", NULL, NULL, false };

/* Sizes as in a network: many small ones, a few large ones. */
static apus_tensor *output(apus_graph *g, apus_node *n, uint64_t *state)
{
    static const uint32_t most[] = { 1, 300, 5000, 100000 };
    const apus_dtype type = draw(state, 3) ? APUS_F32 : APUS_F16;
    const uint32_t cols = 1 + draw(state, most[draw(state, 4)]);
    const uint32_t dims[2] = { 2, type == APUS_F32 ? cols : (cols + 3) / 4 * 4 };

    return apus_node_output(g, n, type, 2, dims, APUS_ROWS_ALL);
}

static void random_graph(apus_graph *g, uint64_t *state)
{
    const uint32_t n_nodes = 1 + draw(state, 60);

    for (uint32_t i = 0; i < n_nodes; i++) {
        apus_tensor *in[APUS_MAX_IN] = { NULL };
        const uint32_t n_in = draw(state, 4);
        for (uint32_t k = 0; k < n_in; k++) {
            if (g->n_tensors == 0 || draw(state, 8) == 0)
                continue; /* an absent input */
            /* Mostly what was made lately; a part of it now and then. */
            const uint32_t back = draw(state, draw(state, 3) ? 6 : 60) + 1;
            in[k] = g->tensors[back > g->n_tensors ? 0 : g->n_tensors - back];
            if (draw(state, 3) == 0)
                in[k] = apus_graph_slice(g, in[k], in[k]->dims[0] - 1, 1);
        }
        apus_node *n = apus_graph_node(g, &nothing, NULL, 0, in, n_in);
        for (uint32_t k = draw(state, 4); k > 0; k--)
            output(g, n, state)->keep = draw(state, 10) == 0;
    }
    for (uint32_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i]->storage == APUS_STORE_VIEW)
            g->tensors[i]->keep = draw(state, 10) == 0;
}

static bool reads(const apus_node *n, const apus_tensor *t)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k] && apus_tensor_root(n->in[k], NULL) == t)
            return true;
    return false;
}

/* Whether `t` must hold its contents while node i runs. */
static bool lives(const apus_graph *g, const apus_tensor *t, uint32_t i)
{
    bool later = false;

    for (uint32_t k = 0; k < g->n_tensors && !later; k++)
        later = g->tensors[k]->keep && apus_tensor_root(g->tensors[k], NULL) == t;
    for (uint32_t n = i; n < g->n_nodes && !later; n++)
        later = reads(g->nodes[n], t);
    return t->producer == g->nodes[i] || (t->producer->id < i && later);
}

static bool apart(const apus_tensor *a, const apus_tensor *b)
{
    return a->at + a->bytes <= b->at || b->at + b->bytes <= a->at;
}

static bool check(const apus_graph *g, const apus_memory_plan *plan, uint64_t block)
{
    uint64_t end = 0, peak = 0;
    bool good = true;

    for (uint32_t i = 0; i < g->n_nodes; i++) {
        uint64_t live = 0;
        const apus_tensor *here[300];
        uint32_t n = 0;
        for (uint32_t k = 0; k < g->n_tensors; k++)
            if (g->tensors[k]->storage == APUS_STORE_PLANNED && lives(g, g->tensors[k], i))
                here[n++] = g->tensors[k];
        for (uint32_t a = 0; a < n; a++) {
            const uint64_t bytes = apus_round_up(here[a]->bytes, 256);
            live += bytes;
            end = here[a]->at + bytes > end ? here[a]->at + bytes : end;
            good = good && here[a]->at % 256 == 0 &&
                   here[a]->at / block == (here[a]->at + here[a]->bytes - 1) / block;
            for (uint32_t b = 0; b < a; b++)
                good = good && apart(here[a], here[b]);
        }
        peak = live > peak ? live : peak;
    }
    return CHECK(good) && CHECK_EQ_U64(plan->peak_live, peak) && CHECK(plan->bytes >= peak) &&
           CHECK(plan->bytes >= end);
}

TEST(no_two_live_tensors_overlap)
{
    double sum = 0, worst = 1;
    uint32_t n = 0;
    uint64_t state = 1;

    for (uint32_t i = 0; i < 400; i++) {
        apus_graph g;
        apus_memory_plan plan;
        /* Tensors reach 800 kB; a quarter of the graphs are planned into small blocks. */
        const uint64_t block = i % 4 ? (uint64_t)1 << 31 : 1 << 20;
        REQUIRE_OK(apus_graph_init(&g));
        random_graph(&g, &state);
        const bool good = CHECK_OK(apus_graph_status(&g)) &&
                          CHECK_OK(apus_memory_plan_make(&plan, &g, block)) &&
                          check(&g, &plan, block);
        apus_graph_release(&g);
        REQUIRE(good);
        if (plan.peak_live == 0 || i % 4 == 0)
            continue;
        const double ratio = (double)plan.bytes / (double)plan.peak_live;
        worst = ratio > worst ? ratio : worst;
        sum += ratio;
        n++;
    }
    printf("    %u graphs: planned bytes are %.4f of the largest live sum, %.3f at worst\n", n,
           sum / n, worst);
    CHECK(sum / n < 1.02);
}

TEST(a_tensor_larger_than_a_block_is_named)
{
    apus_graph g;
    apus_memory_plan plan;

    REQUIRE_OK(apus_graph_init(&g));
    g.prefix = "layers.3";
    apus_node *n = apus_graph_node(&g, &nothing, NULL, 0, NULL, 0);
    apus_node_output(&g, n, APUS_F32, 1, (uint32_t[]) { 1025 }, APUS_ROWS_ALL);
    CHECK_FAILS(apus_memory_plan_make(&plan, &g, 4096), APUS_ERR_MEMORY, "layers.3");
    CHECK_OK(apus_memory_plan_make(&plan, &g, 8192));
    CHECK_EQ_U64(plan.bytes, 4352);
    apus_graph_release(&g);
}
