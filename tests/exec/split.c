/* Which sums are divided into how many parts, on recorded devices. */
#include "split.h"

#include "classes.h"
#include "harness.h"
#include "matmul.h"

/* Parts of the sum of `rows` rows with a matrix (n, k), both f16. */
static uint32_t parts_on(const char *name, apus_narrow narrow, uint32_t rows, uint32_t n,
                         uint32_t k)
{
    const apus_gpu_class *class;
    apus_caps caps;
    apus_graph g;
    uint32_t parts = 0;

    if (!CHECK_OK(apus_gpu_class_find(&class, name)) ||
        !CHECK_OK(apusi_class_caps(&caps, class, 0)) || !CHECK_OK(apus_graph_init(&g)))
        return 0;
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F16, 2, (uint32_t[]) { rows, k }, 1 << 20);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F16, 2, (uint32_t[]) { n, k }, 1 << 30);
    apus_matmul(&g, a, b, &(apus_matmul_params) { .kind = APUS_NT, .out = APUS_F16 });
    for (int i = 0; i < 2; i++) /* what is divided is left as it is */
        CHECK_OK(apus_split(&g, &caps, narrow, ""));
    CHECK(g.nodes[0]->n_out <= 2);
    parts = g.nodes[0]->n_out == 2 ? g.nodes[0]->out[1]->dims[0] : 1;
    apus_graph_release(&g);
    return parts;
}

/* A loss's gradient: few rows, a result that is there already, the vocabulary as k.  18 tiles of
 * 32 x 32: f32 gradients are not rounded to f16. */
TEST(results_in_place_are_divided)
{
    const apus_gpu_class *class;
    apus_caps caps;
    apus_graph g;

    REQUIRE_OK(apus_gpu_class_find(&class, "ada"));
    REQUIRE_OK(apusi_class_caps(&caps, class, 0));
    REQUIRE_OK(apus_graph_init(&g));
    apus_tensor *a = apus_graph_bound(&g, "a", APUS_F32, 2, (uint32_t[]) { 32, 49152 }, 1 << 20);
    apus_tensor *b = apus_graph_bound(&g, "b", APUS_F16, 2, (uint32_t[]) { 49152, 576 }, 1 << 30);
    apus_tensor *y = apus_graph_bound(&g, "y", APUS_F32, 2, (uint32_t[]) { 32, 576 }, 1 << 24);
    CHECK(apus_matmul(&g, a, b, &(apus_matmul_params) { .kind = APUS_NN, .into = y }) == y);
    CHECK_OK(apus_split(&g, &caps, APUS_NARROW_16, ""));
    CHECK(g.nodes[0]->n_out == 1 && g.nodes[0]->out[0]->dims[0] == 7);
    CHECK_EQ_U64(g.nodes[0]->mutates, 1u << 4);
    apus_graph_release(&g);
}

/* Blocks of 64 x 64 on matrix cores: 16 of 32 rows with 1024 columns, where 64 keep a GPU busy. */
TEST(few_blocks_and_a_long_sum_are_divided)
{
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 32, 1024, 8192), 8);
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 32, 1024, 4096), 8);
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 32, 1024, 2048), 4);
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 32, 3072, 8192), 2);
    CHECK_EQ_U64(parts_on("navi31", APUS_NARROW_16, 48, 1024, 2048), 4);
}

/* Without them tiles become smaller first: 32 of 32 x 32. */
TEST(tiles_are_divided_when_they_are_small)
{
    CHECK_EQ_U64(parts_on("polaris10", APUS_NARROW_NOT, 32, 1024, 4096), 4);
    CHECK_EQ_U64(parts_on("polaris10", APUS_NARROW_NOT, 32, 2048, 4096), 1);
}

TEST(others_are_not)
{
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 32, 1024, 1020), 1);  /* short */
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 512, 4096, 4096), 1); /* enough blocks */
    CHECK_EQ_U64(parts_on("ada", APUS_NARROW_16, 8, 1024, 4096),
                 1); /* few rows: one subgroup a row of b */
    CHECK_EQ_U64(parts_on("lavapipe", APUS_NARROW_NOT, 32, 1024, 4096), 1);
}
