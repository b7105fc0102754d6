/* fuse.c - tests of the rows of fuse.def: fused is the same as not fused, with fewer dispatches;
 * what must not be fused is left alone. */
#include "fuse.h"

#include <math.h>
#include <stdio.h>

#include "args/lora.h"
#include "barrier.h"
#include "exec_test.h"
#include "lora.h"
#include "rope.h"

#define D 64
#define F 96
#define KV 24
#define RANK 6

typedef apus_tensor *(*builder)(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also);

static apus_tensor *weight(store *s, apus_graph *g, uint32_t rows, uint32_t cols)
{
    return store_tensor(s, g, "w", rows, cols, 0.3f);
}

static apus_tensor *norm_of(store *s, apus_graph *g, apus_tensor *x)
{
    return apus_rms_norm(g, x, store_tensor(s, g, "norm", 1, D, 1), 1e-5f);
}

/* A table of one slot for `modules` modules; all rows have slot 0. */
typedef struct adapter_table {
    apus_tensor *words, *index;
    apus_buffer *buffer;
} adapter_table;

static adapter_table make_table(store *s, apus_graph *g, uint32_t modules)
{
    adapter_table t = { .words = store_tensor(s, g, "table", modules,
                                              sizeof(struct apus_lora_entry) / 4, 0),
                        .index = apus_graph_step(g, "adapter", APUS_U32, 8, APUS_ROWS_ALL),
                        .buffer = &s->b[s->n - 1] };

    if (t.words)
        t.words->dtype = APUS_U32;
    return t;
}

/* y with the module's adapter. */
static apus_tensor *adapt(store *s, apus_graph *g, const adapter_table *t, uint32_t module,
                          apus_tensor *x, apus_tensor *y)
{
    apus_tensor *a = weight(s, g, RANK, apus_tensor_cols(x));
    apus_tensor *b = y ? weight(s, g, apus_tensor_cols(y), RANK) : NULL;

    if (!a || !b || !t->words)
        return NULL;
    const struct apus_lora_entry entry = { .a = a->at, .b = b->at, .scale = 0.5f, .rank = RANK };
    CHECK_OK(
        apus_buffer_write(optest_gpu(), t->buffer, module * sizeof(entry), &entry, sizeof(entry)));
    return apus_lora(
        g, x, y,
        &(apus_lora_params) {
            .table = t->words, .index = t->index, .module = module, .slots = 1, .rank = RANK });
}

/* ---- a graph for each row of fuse.def ---- */

static apus_tensor *build_dual(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    apus_tensor *y = linear(g, x, weight(s, g, F, D)), *h = linear(g, x, weight(s, g, RANK, D));
    apus_tensor *d = weight(s, g, apus_tensor_rows(x), RANK);

    /* Forward: the small product is the later one; backward: the earlier one. */
    also[0] = apus_matmul(g, d, weight(s, g, RANK, D),
                          &(apus_matmul_params) { .kind = APUS_NN, .alpha = -2, .acc = x });
    also[0] = apus_matmul(g, x, weight(s, g, D, D),
                          &(apus_matmul_params) { .kind = APUS_NN, .acc = also[0] });
    return apus_matmul(g, h, weight(s, g, F, RANK),
                       &(apus_matmul_params) { .kind = APUS_NT, .alpha = 0.5f, .acc = y });
}

static apus_tensor *build_gated(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    (void)also;
    apus_tensor *gate = linear(g, x, weight(s, g, F, D));
    return apus_swiglu(g, gate, linear(g, x, weight(s, g, F, D)));
}

static apus_tensor *build_gated_by_gelu(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    (void)also;
    apus_tensor *gate = linear(g, x, weight(s, g, F, D));
    return apus_geglu(g, gate, linear(g, x, weight(s, g, F, D)));
}

static apus_tensor *build_projections(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    apus_tensor *q = linear(g, x, weight(s, g, D, D));
    apus_tensor *k = linear(g, x, weight(s, g, KV, D));
    also[0] = linear(g, x, weight(s, g, KV, D));
    also[1] = k;
    return q;
}

/* Halves of two adapters and what two of their gradients are added to. */
static apus_tensor *build_batch(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    apus_tensor *h = linear(g, x, weight(s, g, 8, D));
    apus_tensor *into = store_tensor(s, g, "into", D, 8, 0),
                *other = store_tensor(s, g, "into", D, 8, 0);

    apus_matmul(g, x, h, &(apus_matmul_params) { .kind = APUS_TN, .acc = into, .into = into });
    also[0] = linear(g, x, weight(s, g, 8, D));
    apus_matmul(
        g, x, also[0],
        &(apus_matmul_params) { .kind = APUS_TN, .alpha = 0.5f, .acc = other, .into = other });
    also[1] = apus_add(g, into, other);
    return apus_add(g, h, weight(s, g, rows, 8));
}

/* A norm that is read last, behind what is larger. */
static apus_tensor *build_late(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    apus_tensor *h = norm_of(s, g, x);
    apus_tensor *large = apus_add(g, weight(s, g, rows, F), weight(s, g, rows, F));

    (void)also;
    return apus_add(g, linear(g, large, weight(s, g, D, F)), h);
}

static apus_tensor *build_turned(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    const apus_rope_params params = { .head_dim = 8 };
    apus_tensor *table = store_tensor(s, g, "table", 1, 8, 1); /* position 0 */
    apus_tensor *pos = apus_graph_step(g, "pos", APUS_U32, rows, APUS_ROWS_ALL);
    apus_tensor *q = apus_graph_reshape(g, x, 3, (uint32_t[]) { rows, D / 8, 8 });
    apus_tensor *k = linear(g, x, weight(s, g, KV, D));

    if (!k)
        return NULL;
    k = apus_graph_reshape(g, k, 3, (uint32_t[]) { rows, KV / 8, 8 });
    also[0] = apus_rope(g, q, table, pos, &params);
    return apus_rope(g, k, table, pos, &params);
}

static apus_tensor *build_adapted(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const adapter_table t = make_table(s, g, 1);

    (void)also;
    return adapt(s, g, &t, 0, x, linear(g, x, weight(s, g, F, D)));
}

static apus_tensor *build_normalized(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    (void)also;
    return linear(g, norm_of(s, g, x), weight(s, g, F, D));
}

/* All rows at once: what a layer has before attention and before its last projection. */
static apus_tensor *build_layer(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const adapter_table t = make_table(s, g, 5);
    apus_tensor *h = norm_of(s, g, x), *out[5];
    static const uint32_t cols[5] = { D, KV, KV, F, F };

    for (uint32_t i = 0; i < 5; i++) {
        if (i == 3)
            h = norm_of(s, g, x);
        out[i] = adapt(s, g, &t, i, h, linear(g, h, weight(s, g, cols[i], D)));
    }
    also[0] = out[1];
    also[1] = apus_swiglu(g, out[3], out[4]);
    return apus_add(g, out[0], apus_add(g, out[0], x)); /* out[2] is read by nobody */
}

/* ---- what stays ---- */

/* Small products whose results have other formats. */
static apus_tensor *build_formats(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    also[0] = linear(g, x, weight(s, g, 8, D));
    apus_tensor *half = apus_matmul(g, x, weight(s, g, 8, D),
                                    &(apus_matmul_params) { .kind = APUS_NT, .out = APUS_F16 });
    return apus_matmul(g, half, weight(s, g, F, 8), &(apus_matmul_params) { .kind = APUS_NT });
}

/* Sums that are read before more is added to others. */
static apus_tensor *build_read_between(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    apus_tensor *h = store_tensor(s, g, "h", apus_tensor_rows(x), 8, 1);
    apus_tensor *into = store_tensor(s, g, "into", D, 8, 0),
                *other = store_tensor(s, g, "into", D, 8, 0);

    if (!h || !into || !other)
        return NULL;
    apus_matmul(g, x, h, &(apus_matmul_params) { .kind = APUS_TN, .acc = into, .into = into });
    also[0] = apus_add(g, other, into); /* before the second sum */
    apus_matmul(g, x, h, &(apus_matmul_params) { .kind = APUS_TN, .acc = other, .into = other });
    return apus_add(g, other, into);
}

/* Two sums into one tensor. */
static apus_tensor *build_into_one(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    apus_tensor *into = store_tensor(s, g, "into", D, 8, 0);

    (void)also;
    if (!into)
        return NULL;
    for (uint32_t i = 0; i < 2; i++)
        apus_matmul(g, x, weight(s, g, rows, 8),
                    &(apus_matmul_params) { .kind = APUS_TN, .acc = into, .into = into });
    return apus_add(g, into, into);
}

/* A norm that is read last, of what is changed before. */
static apus_tensor *build_changed_norm(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    apus_tensor *sum = store_tensor(s, g, "sum", rows, D, 1);
    apus_tensor *h = norm_of(s, g, sum);

    if (!sum)
        return NULL;
    (void)also;
    apus_matmul(g, weight(s, g, 4, rows), weight(s, g, 4, D),
                &(apus_matmul_params) { .kind = APUS_TN, .acc = sum, .into = sum });
    return apus_add(g, h, x);
}

/* A small product that adds what is changed before the larger one runs. */
static apus_tensor *build_changed_between(store *s, apus_graph *g, apus_tensor *x,
                                          apus_tensor **also)
{
    const uint32_t rows = apus_tensor_rows(x);
    apus_tensor *sum = store_tensor(s, g, "sum", rows, D, 1);
    apus_tensor *inner = apus_matmul(g, weight(s, g, rows, RANK), weight(s, g, RANK, D),
                                     &(apus_matmul_params) { .kind = APUS_NN, .acc = sum });

    if (!sum)
        return NULL;
    (void)also;
    apus_matmul(g, weight(s, g, 4, rows), weight(s, g, 4, D),
                &(apus_matmul_params) { .kind = APUS_TN, .acc = sum, .into = sum });
    return apus_matmul(g, x, weight(s, g, D, D),
                       &(apus_matmul_params) { .kind = APUS_NN, .acc = inner });
}

/* A norm that more than products read. */
static apus_tensor *build_shared_norm(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    apus_tensor *h = norm_of(s, g, x);

    also[0] = apus_add(g, h, x);
    return linear(g, h, weight(s, g, F, D));
}

/* A gate that is read by the host. */
static apus_tensor *build_kept_gate(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    also[0] = linear(g, x, weight(s, g, F, D));
    return apus_swiglu(g, also[0], linear(g, also[0] ? x : NULL, weight(s, g, F, D)));
}

/* A second product that adds something made of the first. */
static apus_tensor *build_depends(store *s, apus_graph *g, apus_tensor *x, apus_tensor **also)
{
    apus_tensor *first = linear(g, x, weight(s, g, D, D));

    also[0] = first;
    return apus_matmul(g, x, weight(s, g, D, D),
                       &(apus_matmul_params) { .kind = APUS_NT, .acc = first });
}

typedef struct outcome {
    float y[3][8 * F];
    uint64_t n[3];
    uint32_t dispatches;
    uint64_t live; /* most bytes at once */
} outcome;

static bool run(builder build, uint32_t rows, bool fuse, outcome *r)
{
    apus_graph g;
    apus_plan *plan = NULL;
    apus_tensor *y[3] = { 0 };
    store s = { 0 };
    bool ok = CHECK_OK(apus_graph_init(&g));

    if (ok) {
        apus_tensor *x = store_tensor(&s, &g, "x", rows, D, 1);
        y[0] = build(&s, &g, x, &y[1]);
        for (uint32_t i = 0; i < 3; i++)
            if (y[i])
                y[i]->keep = true;
    }
    ok = ok && CHECK_OK(apus_graph_status(&g)) &&
         CHECK_OK(apus_plan_create(&plan, optest_exec(), &g,
                                   &(apus_plan_params) { .force = "", .fuse = fuse })) &&
         CHECK_OK(apus_hazards_check(apus_plan_list(plan))) && CHECK_OK(apus_plan_run(plan, NULL));
    for (uint32_t i = 0; ok && i < 3; i++) {
        r->n[i] = y[i] ? apus_tensor_count(y[i]) : 0;
        if (y[i])
            ok = CHECK_OK(apus_plan_read(plan, y[i], r->y[i], 4 * r->n[i]));
    }
    if (ok) {
        r->dispatches = apus_plan_about(plan)->dispatches;
        r->live = apus_plan_about(plan)->peak_live;
    }
    apus_plan_destroy(&plan);
    apus_graph_release(&g);
    store_release(&s);
    return ok;
}

/* Both ways: the same numbers but for the order of sums of at most D products (below 128 in size),
 * and `fewer` dispatches less. */
static void compare(const char *name, builder build, uint32_t rows, uint32_t fewer)
{
    static outcome alone, fused;

    if (!run(build, rows, false, &alone) || !run(build, rows, true, &fused))
        return;
    harness_check(alone.dispatches - fused.dispatches == fewer, __FILE__, __LINE__,
                  "%s, %u rows: %u dispatches, fused %u", name, rows, alone.dispatches,
                  fused.dispatches);
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t e = 0; e < alone.n[i]; e++)
            harness_check(fabsf(alone.y[i][e] - fused.y[i][e]) <= 128 * D * 0x1p-24f, __FILE__,
                          __LINE__, "%s, %u rows: element %llu of result %u is %g, fused %g", name,
                          rows, (unsigned long long)e, i, (double)alone.y[i][e],
                          (double)fused.y[i][e]);
}

static const struct {
    const char *name;
    builder build;
} patterns[] = {
#define FUSE(name, pattern, result) { #name, build_##name },
#include "fuse.def"
#undef FUSE
};

/* Which algorithms take what is asked of the device, not of the code under test. */
static bool takes(const char *variant)
{
    return !strcmp(variant, "normalized")
               ? apus_gpu_caps(optest_gpu())->device_class == APUS_CLASS_GPU ||
                     (apus_gpu_caps(optest_gpu())->uniform_loads &&
                      apus_gpu_caps(optest_gpu())->small_ints)
               : true;
}

TEST(fused_is_the_same_with_fewer_dispatches)
{
    static const uint32_t fewer[] = { 2, 2, 0, 1, 2, 1, 2, 1 }; /* of the rows of fuse.def */

    if (!optest_exec())
        return;
    CHECK_EQ_U64(APUS_COUNT(patterns), APUS_COUNT(fewer));
    for (size_t i = 0; i < APUS_COUNT(patterns); i++)
        compare(patterns[i].name, patterns[i].build, 1, takes(patterns[i].name) ? fewer[i] : 0);
}

TEST(several_rows_and_many)
{
    if (!optest_exec())
        return;
    /* 2 norms, 5 products, 10 for adapters and a gate become 2 groups with 2 halves (and norms). */
    compare("a layer with adapters", build_layer, 1, takes("normalized") ? 14 : 12);
    compare("projections of four rows", build_projections, 4, 2);
    compare("adapters of nine rows", build_dual, 9, 2);
    compare("halves of nine rows", build_batch, 9, 2);
    compare("heads of five rows", build_turned, 5, 1);
    compare("small projections of nine rows", build_projections, 9, 2);
    compare("gate of nine rows", build_gated, 9, 0);
    compare("gelu of three rows", build_gated_by_gelu, 3, 2);
}

/* Not before the tensor of F columns has gone. */
TEST(what_is_read_last_is_made_late)
{
    static outcome early, late;

    if (!optest_exec())
        return;
    compare("a norm that is read last", build_late, 9, 0);
    if (run(build_late, 9, false, &early) && run(build_late, 9, true, &late))
        CHECK(late.live < early.live);
}

TEST(what_others_read_stays)
{
    if (!optest_exec())
        return;
    compare("a norm that others read", build_shared_norm, 1, 0);
    compare("a gate that the host reads", build_kept_gate, 1, 1); /* gate and up, side by side */
    compare("a product that needs the other", build_depends, 1, 0);
    compare("results of other formats", build_formats, 9, 0);
    compare("sums that are read in between", build_read_between, 9, 0);
    compare("two sums into one tensor", build_into_one, 9, 0);
    compare("a norm of what is changed in between", build_changed_norm, 9, 0);
    compare("a sum that is changed in between", build_changed_between, 9, 0);
}

TEST(twice_is_once)
{
    apus_graph g;
    store s = { 0 };
    apus_tensor *also[2] = { 0 };

    if (!optest_exec() || !CHECK_OK(apus_graph_init(&g)))
        return;
    const apus_caps *caps = apus_gpu_caps(optest_gpu());
    apus_tensor *y =
        build_projections(&s, &g, norm_of(&s, &g, store_tensor(&s, &g, "x", 1, D, 1)), also);
    CHECK(y != NULL);
    CHECK_OK(apus_fuse(&g, caps, false, ""));
    const uint32_t nodes = g.n_nodes, tensors = g.n_tensors;
    CHECK_OK(apus_fuse(&g, caps, false, ""));
    CHECK_EQ_U64(g.n_nodes, nodes);
    CHECK_EQ_U64(g.n_tensors, tensors);
    for (uint32_t i = 0; i < g.n_nodes; i++)
        CHECK_EQ_U64(g.nodes[i]->id, i);
    for (uint32_t i = 0; i < g.n_tensors; i++)
        CHECK_EQ_U64(g.tensors[i]->id, i);
    apus_graph_release(&g);
    store_release(&s);
}
