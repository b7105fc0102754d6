/* The random orders of numpy and torch, against what those libraries gave. */
#include "data_internal.h"
#include "harness.h"
#include "order.h"
#include "rng.h"

#include <stdio.h>

static cJSON *golden(void)
{
    cJSON *json = NULL;

    CHECK_OK(apus_json_read(&json, harness_fixture("data/order.json")));
    return json;
}

static void check_list(const cJSON *want, const uint32_t *got, uint32_t n, const char *what)
{
    const cJSON *item = want ? want->child : NULL;

    if (!harness_check(want && cJSON_GetArraySize(want) == (int)n, __FILE__, __LINE__,
                       "%s n=%u is in the file", what, n))
        return;
    for (uint32_t i = 0; i < n; i++, item = item->next) {
        if (!harness_check((uint32_t)item->valuedouble == got[i], __FILE__, __LINE__,
                           "%s n=%u [%u]: %g, not %u", what, n, i, item->valuedouble, got[i]))
            return;
    }
}

TEST(a_random_state_draws_the_seeds_of_the_reference)
{
    static const uint32_t want[4] = { 1608637542u, 1273642419u, 1935803228u, 787846414u };
    apus_mt19937 mt;

    apus_mt19937_seed(&mt, 42);
    for (size_t i = 0; i < 4; i++)
        CHECK_EQ_U64(apus_order_draw_seed(&mt), want[i]);
}

TEST(mt19937_gives_its_published_ten_thousandth_number)
{
    apus_mt19937 mt;
    uint32_t last = 0;

    apus_mt19937_seed(&mt, 5489);
    for (size_t i = 0; i < 10000; i++)
        last = apus_mt19937_next(&mt);
    CHECK_EQ_U64(last, 4123659995u);
}

TEST(permutations_equal_numpy_and_torch)
{
    static const uint32_t sizes[] = { 8, 50, 190, 200 };
    cJSON *json = golden();
    char key[80];
    uint32_t got[200];

    for (size_t i = 0; i < APUS_COUNT(sizes); i++) {
        const uint32_t n = sizes[i];
        apus_mt19937 mt;

        for (uint32_t seed = 42; seed < 44; seed++) {
            snprintf(key, sizeof key, "torch_randperm n=%u seed=%u", n, seed);
            apus_order_torch(seed, got, n);
            check_list(cJSON_GetObjectItemCaseSensitive(json, key), got, n, key);
        }
        snprintf(key, sizeof key, "RandomState42.permutation n=%u", n);
        apus_mt19937_seed(&mt, 42);
        apus_order_legacy(&mt, got, n);
        check_list(cJSON_GetObjectItemCaseSensitive(json, key), got, n, key);
        snprintf(key, sizeof key, "default_rng(1608637542).permutation n=%u", n);
        apus_order_numpy(1608637542u, got, n);
        check_list(cJSON_GetObjectItemCaseSensitive(json, key), got, n, key);
    }
    cJSON_Delete(json);
}

/* 300000 draws of new ranges meet the rejection branches; numpy 2.4.6's own numbers. */
TEST(a_long_permutation_meets_the_rejections)
{
    const uint32_t n = 300000;
    uint32_t *got = apus_calloc(n, sizeof(*got));
    apus_mt19937 mt;

    REQUIRE(got != NULL);
    apus_order_numpy(7, got, n);
    CHECK_EQ_U64(apus_hash(got, n * sizeof(*got), APUS_HASH_SEED), 0xa7afe9e5c69aa131ull);
    apus_mt19937_seed(&mt, 7);
    apus_order_legacy(&mt, got, n);
    CHECK_EQ_U64(apus_hash(got, n * sizeof(*got), APUS_HASH_SEED), 0x86f830c00324df39ull);
    apus_free(got);
}

TEST(orders_of_nothing_and_of_one)
{
    uint32_t one[1] = { 9 };
    apus_mt19937 mt;

    apus_mt19937_seed(&mt, 1);
    apus_order_legacy(&mt, one, 0);
    apus_order_numpy(1, one, 0);
    apus_order_torch(1, one, 0);
    CHECK_EQ_U64(one[0], 9);
    apus_order_torch(1, one, 1);
    CHECK_EQ_U64(one[0], 0);
}
