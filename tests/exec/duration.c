/* The time of a list on a device that is not there, against sums by hand. */
#include "duration.h"
#include "harness.h"

static const apus_gpu_class device = {
    .name = "test",
    .f32_flops_s = 1e12,
    .matrix_flops_s = 4e12,
    .bytes_s = 1e11,
    .dispatch_s = 1e-5,
    .bus_s = 1e10,
};

static apus_list_time time_of(apus_item *items, uint32_t n, const apus_list_work *work)
{
    const apus_list list = { .items = items, .n_items = n };

    return apus_list_duration(&list, &device, APUS_CLASS_GPU, work);
}

static const uint32_t none[APUS_STEP_VARS];
static const apus_list_work whole = { .vars = none };

/* efficiency.def: tiles reach 0.4 of multiply-adds, matrix engines 0.4 of theirs, both 0.7 of the
 * bandwidth. */
TEST(the_longer_of_arithmetic_and_traffic_counts)
{
    apus_item items[] = {
        { .kernel.name = "matmul_tile", .flops = 4e9, .moved = 7e7, .fixed = 7e7, .slot = -1 },
        { .kernel.name = "matmul_coop_bf16", .flops = 4e9, .moved = 7e7, .fixed = 7e7, .slot = -1 },
        { .kernel.name = "matmul_coop", .flops = 4e9, .moved = 7e8, .fixed = 7e8, .slot = -1 },
        { .kernel.name = "matmul_sum", .flops = 1e6, .moved = 7e7, .fixed = 7e7, .slot = -1 },
    };
    const double want[] = { 4e9 / 0.4e12, 4e9 / 1.6e12, 7e8 / 0.7e11, 7e7 / 0.7e11 };

    for (uint32_t i = 0; i < 4; i++) {
        const apus_list_time t = time_of(&items[i], 1, &whole);
        CHECK_EQ_U64(t.dispatches, 1);
        CHECK_NEAR(t.seconds, want[i] + 1e-5, 1e-12);
    }
    const apus_list_time all = time_of(items, 3, &whole);
    CHECK_EQ_U64(all.dispatches, 3);
    CHECK_NEAR(all.flops, 12e9, 1);
    CHECK_NEAR(all.bytes, 8.4e8, 1);
    CHECK_NEAR(all.seconds, want[0] + want[1] + want[2] + 3e-5, 1e-12);
}

/* The longer of all and of what crosses the bus, of which copies reach 0.8: a matrix once, what is
 * changed both ways, no more of a table than is read. */
TEST(bytes_of_the_host_take_the_bus)
{
    apus_tensor on_host = { .bytes = 8000000, .place.host = 1 }, x = { .bytes = 4000000 };
    apus_node node = { .n_in = 2, .in = { &x, &on_host } };
    apus_item item = {
        .kernel.name = "fetch", .moved = 1.6e7, .fixed = 1.6e7, .slot = -1, .node = &node
    };

    CHECK_NEAR(time_of(&item, 1, &whole).seconds, 8e6 / 0.8e10 + 1e-5, 1e-12);
    node.mutates = 2;
    CHECK_NEAR(time_of(&item, 1, &whole).seconds, 1.6e7 / 0.8e10 + 1e-5, 1e-12);
    item.moved = item.fixed = 1e6;
    CHECK_NEAR(time_of(&item, 1, &whole).seconds, 1e6 / 0.8e10 + 1e-5, 1e-12);
    on_host.place.host = 0;
    CHECK_NEAR(time_of(&item, 1, &whole).seconds, 1e6 / 0.7e11 + 1e-5, 1e-12);
}

/* A fill costs its bytes and no dispatch. */
TEST(fills_are_traffic)
{
    apus_item fill = { .kind = APUS_ITEM_FILL, .bytes = 1000000, .slot = -1 };
    const apus_list_time t = time_of(&fill, 1, &whole);

    CHECK_EQ_U64(t.dispatches, 0);
    CHECK_NEAR(t.seconds, 1e6 / 1e11, 1e-15);
}

/* 24 of 32 rows: three quarters of what grows with them. */
TEST(live_rows_count)
{
    apus_slot slot = { .rows = { APUS_VAR_TOKENS, 0, 32, 1 }, .tile = 1 };
    apus_item item = { .kernel.name = "matmul_tile", .flops = 8e9, .moved = 5e9, .fixed = 1e9 };
    const apus_list list = { .items = &item, .n_items = 1, .slots = &slot, .n_slots = 1 };
    uint32_t vars[APUS_STEP_VARS] = { 0 };

    vars[APUS_VAR_TOKENS] = 24;
    const apus_list_time t =
        apus_list_duration(&list, &device, APUS_CLASS_GPU, &(apus_list_work) { .vars = vars });
    CHECK_NEAR(t.flops, 6e9, 1e-3);
    CHECK_NEAR(t.bytes, 4e9, 1e-3);
    CHECK_NEAR(t.seconds, 4e9 / 0.7e11 + 1e-5, 1e-12);
}

/* Two sequences of 50 rows have half the pairs of one of 100; decoding reads the cache. */
TEST(attention_counts_pairs_and_the_cache)
{
    apus_tensor q = { .dims = { 100, 64 }, .rows = { .var = -1 } };
    const apus_node node = { .in = { &q }, .n_in = 1 };
    apus_item item = {
        .kernel.name = "attention", .node = &node, .flops = 3e9, .rough = true, .slot = -1
    };
    const apus_list_work two = { .vars = none, .pairs = 2 * 50 * 50 };
    const apus_list_work cached = { .vars = none, .pairs = 2 * 50 * 50, .cache_bytes = 5e9 };

    CHECK_NEAR(time_of(&item, 1, &two).flops, 1.5e9, 1e-3);
    CHECK_NEAR(time_of(&item, 1, &two).seconds, 1.5e9 / 0.15e12 + 1e-5, 1e-12);
    CHECK_NEAR(time_of(&item, 1, &cached).seconds, 5e9 / 0.5e11 + 1e-5, 1e-12);
}
