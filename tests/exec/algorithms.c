/* The list of algorithms says what a recorded graph then gets. */
#include "attention.h"
#include "choice.h"
#include "matmul_problem.h"
#include "op.h"

#include "exec.h"
#include <stdio.h>

#include "harness.h"

static const apus_caps cpu = {
    .name = "a CPU",
    .device_class = APUS_CLASS_CPU,
    .integrated = true,
    .subgroup = 8,
    .subgroup_min = 8,
    .subgroup_max = 8,
    .subgroup_arith = true,
    .subgroup_shuffle = true,
    .max_invocations = 1024,
    .max_shared = 32768,
    .max_push = 256,
};
static const apus_caps gpu = {
    .name = "a GPU",
    .device_class = APUS_CLASS_GPU,
    .subgroup = 32,
    .subgroup_min = 32,
    .subgroup_max = 32,
    .subgroup_pinned = true,
    .subgroup_arith = true,
    .subgroup_shuffle = true,
    .f16 = true,
    .max_invocations = 1024,
    .max_shared = 49152,
    .max_push = 256,
    .coop_built = true,
    .n_coop = 2,
    .coop = { { 16, 16, 16, APUS_F16 }, { 16, 16, 16, APUS_BF16 } },
};

typedef struct found {
    const char *op, *problem; /* looked for */
    const char *wide, *narrow;
    const char *never; /* "" or one that must not fit */
    uint32_t n, n_wide, n_narrow, n_problems, n_ops;
    char last[64], last_op[64];
} found;

static void look(void *user, const apus_algorithm *a)
{
    found *f = user;

    f->n++;
    f->n_wide += a->chosen;
    f->n_narrow += a->chosen_narrow;
    if (strcmp(f->last_op, a->op) != 0) {
        f->n_ops++;
        f->last[0] = '\0';
    }
    f->n_problems += strcmp(f->last, a->problem) != 0;
    snprintf(f->last, sizeof(f->last), "%s", a->problem);
    snprintf(f->last_op, sizeof(f->last_op), "%s", a->op);
    if (a->chosen || a->chosen_narrow)
        CHECK(a->built && a->fits);
    if (strcmp(a->op, f->op) != 0 || strcmp(a->problem, f->problem) != 0)
        return;
    if (a->chosen)
        f->wide = a->variant;
    if (a->chosen_narrow)
        f->narrow = a->variant;
    if (f->never && !strcmp(a->variant, f->never))
        CHECK(!a->fits);
}

static found list(const apus_caps *caps, const char *force, const char *op, const char *problem,
                  const char *never)
{
    found f = { .op = op, .problem = problem, .never = never };

    apus_algorithms_each(caps, force, look, &f);
    CHECK(f.wide && f.narrow);
    /* One is chosen for each problem, with 16 bits and without. */
    CHECK_EQ_U64(f.n_wide, f.n_problems);
    CHECK_EQ_U64(f.n_narrow, f.n_problems);
    CHECK_EQ_U64(f.n_ops, 3);
    if (!f.wide || !f.narrow)
        f.wide = f.narrow = "";
    return f;
}

TEST(each_class_of_device_gets_its_own)
{
    found f = list(&cpu, "", "matmul", "512 rows", "coop");

    CHECK_EQ_STR(f.wide, "cpu");
    CHECK_EQ_STR(f.narrow, "cpu");
    CHECK_EQ_STR(list(&cpu, "", "matmul", "1 row", "coop").wide, "vec_cpu");
    apus_caps quick = cpu;
    quick.uniform_loads = quick.small_ints = true;
    CHECK_EQ_STR(list(&quick, "", "matmul", "1 row", "coop").wide, "dot_cpu");
    CHECK_EQ_STR(list(&quick, "", "matmul", "gradient of a weight", "coop").wide, "row_cpu");
    quick.small_ints = false;
    CHECK_EQ_STR(list(&quick, "", "matmul", "1 row", "dot_cpu").wide, "vec_cpu");
    CHECK_EQ_STR(list(&quick, "", "matmul", "gradient of 512 rows", "row_cpu").wide, "cpu");
    CHECK_EQ_STR(list(&cpu, "", "attention", "heads of 64", NULL).wide, "lane");
    f = list(&gpu, "", "matmul", "512 rows", NULL);
    CHECK_EQ_STR(list(&gpu, "", "attention_back", "heads of 128", NULL).wide, "split");
    CHECK_EQ_STR(list(&gpu, "", "attention", "heads of 128", NULL).wide, "split");
    if (apus_kernel_exists("attention_coop"))
        CHECK_EQ_STR(list(&gpu, "", "attention", "heads of 128", NULL).narrow, "coop");
    CHECK_EQ_STR(list(&cpu, "", "attention", "heads of 128", "coop").narrow, "lane");
    apus_caps old = gpu; /* a Turing, whose compiler others had trouble with */
    old.vendor_id = 0x10de;
    old.device_id = 0x1f08;
    CHECK_EQ_STR(list(&old, "", "attention", "heads of 128", NULL).narrow, "split");
    CHECK(!strncmp(f.wide, "tile", 4));
    if (apus_kernel_exists("matmul_coop"))
        CHECK(!strncmp(f.narrow, "coop", 4));
    CHECK_EQ_STR(list(&gpu, "", "matmul", "1 row", NULL).wide, "vec");
    CHECK_EQ_STR(list(&gpu, "", "attention", "1 row, 8192 keys", NULL).wide, "parts");
    CHECK_EQ_STR(list(&gpu, "", "attention", "heads of 128", "parts").wide, "split");
    CHECK_EQ_STR(list(&cpu, "", "attention", "1 row, 8192 keys", NULL).wide, "lane");
}

TEST(what_is_forced_is_chosen)
{
    CHECK_EQ_STR(list(&gpu, "matmul:plain", "matmul", "512 rows", NULL).wide, "plain");
    CHECK_EQ_STR(list(&gpu, "matmul:plain", "matmul", "512 rows", NULL).narrow, "plain");
    /* Where it does not fit, the default stays. */
    CHECK_EQ_STR(list(&cpu, "matmul:coop", "matmul", "512 rows", "coop").narrow, "cpu");
}

/* Rows are rounded to bytes where inference is planned, a measurement says so, and the device has
 * instructions for them; by default nowhere. */
TEST(products_of_bytes_are_measured_ones)
{
#define OF(kind_, type, ...)                                                                       \
    {                                                                                              \
        .kind = kind_, .m = 512, .n = 4096, .k = 4096, .b = type, __VA_ARGS__                      \
    }
    static const apus_matmul_problem problem = OF(APUS_NT, APUS_Q4_0, .k2 = 0), others[] = {
        OF(APUS_NN, APUS_Q4_0, .k2 = 0), OF(APUS_TN, APUS_F32, .k2 = 0),
        OF(APUS_NT, APUS_F16, .k2 = 0), OF(APUS_NT, APUS_Q4_0, .k2 = 8),
        OF(APUS_NT, APUS_Q4_0, .batch = 2)
    };
    static const struct {
        bool dot, fast;
        apus_narrow narrow;
        const char *force, *wanted;
        bool taken;
    } cases[] = {
        { true, true, APUS_NARROW_8, "", "int8", true },
        { true, true, APUS_NARROW_8, "", "int8/64x128", true },
        { true, true, APUS_NARROW_8, "", NULL, false },
        { true, true, APUS_NARROW_16, "", "int8", false },
        { true, false, APUS_NARROW_8, "", "int8", false },
        { true, false, APUS_NARROW_NOT, "matmul:int8", NULL, true },
        { false, false, APUS_NARROW_8, "matmul:int8", NULL, false },
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        apus_caps caps = gpu;
        caps.int8_dot = cases[i].dot;
        caps.int8_fast = cases[i].fast;
        const apus_choosing from = { &caps,
                                     "matmul",
                                     apusi_matmul_choices.variants,
                                     apusi_matmul_choices.n_variants,
                                     &problem,
                                     cases[i].narrow };
        const apus_choice got = apus_choice_find(&from, cases[i].force, cases[i].wanted);
        CHECK(!strcmp(got.variant->name, "int8") == cases[i].taken);
    }
    apus_caps able = gpu;
    able.int8_dot = able.int8_fast = true;
    for (size_t i = 0; i < APUS_COUNT(others); i++)
        CHECK(strcmp(apus_variant_find(&able, APUS_NARROW_8, "matmul:int8", "matmul",
                                       apusi_matmul_choices.variants,
                                       apusi_matmul_choices.n_variants, &others[i])
                         ->name,
                     "int8") != 0);
}

TEST(what_cannot_be_forced_is_refused)
{
    CHECK_OK(apus_algorithms_check(""));
    CHECK_OK(apus_algorithms_check("matmul:tile,attention:lane,matmul:plain"));
    CHECK_FAILS(apus_algorithms_check("matmul:tle"), APUS_ERR_ARG, "'matmul:tle'");
    CHECK_FAILS(apus_algorithms_check("matmul:til"), APUS_ERR_ARG, "matmul:tile, ");
    CHECK_FAILS(apus_algorithms_check("attention:lane,tile"), APUS_ERR_ARG, "'tile'");
    CHECK_FAILS(apus_algorithms_check("matmul"), APUS_ERR_ARG, "'matmul'");
    CHECK_FAILS(apus_algorithms_check("attention:plain"), APUS_ERR_ARG, "attention:split");
    CHECK_FAILS(apus_algorithms_check("add:plain"), APUS_ERR_ARG, "'add:plain'");
    CHECK_OK(apus_algorithms_check("matmul:tile/64x32,matmul:dot_cpu/128"));
    CHECK_FAILS(apus_algorithms_check("matmul:tile/"), APUS_ERR_ARG, "'matmul:tile/'");
    CHECK_FAILS(apus_algorithms_check("matmul:tile/64x"), APUS_ERR_ARG, "'matmul:tile/64x'");
    CHECK_FAILS(apus_algorithms_check("matmul:tile/x"), APUS_ERR_ARG, "'matmul:tile/x'");
    CHECK_FAILS(apus_algorithms_check("matmul:tile/64x32/8"), APUS_ERR_ARG,
                "'matmul:tile/64x32/8'");
    CHECK_FAILS(apus_algorithms_check("matmul:tle/64x32"), APUS_ERR_ARG, "'matmul:tle/64x32'");
}

/* The choice that is noted when a product of the shape of "512 rows" is recorded. */
static void recorded(const apus_caps *caps, apus_narrow narrow, const char *force,
                     const char *choice)
{
    const uint32_t a_dims[] = { 512, 4096 }, b_dims[] = { 4096, 4096 };
    apus_graph g;
    apus_plan_info info;
    apus_list made = { 0 };
    char line[96];

    snprintf(line, sizeof(line), "matmul nt 512x4096x4096 f16: %s\n", choice);
    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F32, 2, a_dims, UINT64_C(1) << 32);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F16, 2, b_dims, UINT64_C(1) << 33);
    apus_tensor *y = apus_matmul(&g, a, b, &(apus_matmul_params) { .kind = APUS_NT });
    if (CHECK(y != NULL)) {
        y->keep = true;
        if (CHECK_OK(apus_plan_estimate(&info, &made, &g, caps,
                                        &(apus_plan_params) { .narrow = narrow, .force = force })))
            CHECK_EQ_STR(info.choices, line);
    }
    apus_list_release(&made);
    apus_graph_release(&g);
}

TEST(a_recorded_product_gets_what_is_listed)
{
    static const apus_caps *const all[] = { &cpu, &gpu };

    for (size_t i = 0; i < APUS_COUNT(all); i++) {
        const found f = list(all[i], "", "matmul", "512 rows", NULL);

        recorded(all[i], APUS_NARROW_NOT, NULL, f.wide);
        recorded(all[i], APUS_NARROW_16, NULL, f.narrow);
    }
}

/* A tile that is forced is noted; its algorithm's own one is that without a tile, and what it does
 * not list is not taken. */
TEST(a_tile_is_forced)
{
    recorded(&cpu, APUS_NARROW_NOT, "matmul:cpu/32x2", "cpu/32x2");
    recorded(&cpu, APUS_NARROW_NOT, "matmul:cpu/64x1", "cpu");
    recorded(&cpu, APUS_NARROW_NOT, "matmul:cpu/48x1", "cpu");
    recorded(&cpu, APUS_NARROW_NOT, "matmul:tile/32x16", "tile/32x16");
    recorded(&gpu, APUS_NARROW_NOT, "matmul:tile/32x17", "tile_wide");
    recorded(&gpu, APUS_NARROW_NOT, "attention:lane,matmul:cpu/32x1,matmul:tile/16x16", "cpu/32x1");
}

/* Attention of `rows` sequences of one row each (8 heads, 2 of keys, size 64) over a cache of
 * `pages` pages of 64: the choice that is noted, and the grid of each dispatch. */
static void attends(const apus_caps *caps, const char *force, uint32_t rows, uint32_t pages,
                    uint32_t window, const char *choice, const uint32_t grids[2][3])
{
    apus_graph g;
    apus_plan_info info;
    apus_list made = { 0 };

    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *q =
        apus_graph_bound(&g, "q", APUS_F32, 2, (uint32_t[]) { rows, 512 }, UINT64_C(1) << 32);
    apus_tensor *k =
        apus_graph_bound(&g, "k", APUS_F16, 2, (uint32_t[]) { 64 * pages, 128 }, UINT64_C(1) << 33);
    apus_tensor *u = apus_graph_step(&g, "u", APUS_U32, 2 * rows + pages, APUS_ROWS_ALL);
    const apus_sequences s = { u, u, u, u, u, u, 64, pages, 1, rows };
    const apus_attention_params p = { 8, 2, 64, .window = window };
    apus_tensor *o = apus_attention(&g, q, k, k, &s, &p, NULL);
    if (CHECK(o != NULL)) {
        o->keep = true;
        if (CHECK_OK(
                apus_plan_estimate(&info, &made, &g, caps, &(apus_plan_params) { .force = force })))
            CHECK_EQ_STR(info.choices, choice);
    }
    for (uint32_t i = 0; CHECK_EQ_U64(made.n_items, grids[1][0] ? 2 : 1) && i < made.n_items; i++)
        for (uint32_t x = 0; x < 3; x++)
            CHECK_EQ_U64(made.items[i].groups[x], grids[i][x]);
    if (made.n_items == 2)
        CHECK(made.items[1].barrier);
    apus_list_release(&made);
    apus_graph_release(&g);
}

/* Two heads of keys: 128 parts would make 256 workgroups for one row, 16 for eight. */
TEST(few_rows_over_a_long_cache_are_divided)
{
    attends(&gpu, "", 1, 128, 0, "attention 4 of 64, a long cache: parts\n",
            (const uint32_t[2][3]) { { 1, 2, 64 }, { 2, 1, 1 } });
    attends(&gpu, "", 8, 128, 0, "attention 4 of 64, a long cache: parts\n",
            (const uint32_t[2][3]) { { 8, 2, 16 }, { 16, 1, 1 } });
    attends(&gpu, "", 1, 16, 0, "attention 4 of 64, a long cache: parts\n",
            (const uint32_t[2][3]) { { 1, 2, 8 }, { 2, 1, 1 } });
    /* Neither many rows, nor short caches, nor windows are. */
    attends(&gpu, "", 9, 128, 0, "attention 4 of 64, one token: split\n",
            (const uint32_t[2][3]) { { 9, 2, 1 } });
    attends(&gpu, "", 1, 15, 0, "attention 4 of 64, one token: split\n",
            (const uint32_t[2][3]) { { 1, 2, 1 } });
    attends(&gpu, "", 1, 3, 0, "attention 4 of 64, one token: split\n",
            (const uint32_t[2][3]) { { 1, 2, 1 } });
    attends(&gpu, "", 1, 128, 512, "attention 4 of 64, one token: split\n",
            (const uint32_t[2][3]) { { 1, 2, 1 } });
    /* On a CPU only where that is forced. */
    attends(&cpu, "", 1, 128, 0, "attention 4 of 64, a long cache: lane\n",
            (const uint32_t[2][3]) { { 1, 2, 1 } });
    attends(&cpu, "attention:parts", 1, 4, 0, "attention 4 of 64, one token: parts\n",
            (const uint32_t[2][3]) { { 1, 2, 2 }, { 2, 1, 1 } });
}
