/* rng.c - Philox against the known answers of its authors (Random123, kat_vectors), FNV-1a against
 * those of its own. */
#include "rng.h"

#include "harness.h"

typedef struct known {
    uint32_t counter[4], key[2], out[4];
} known;

/* clang-format off */
static const known known_answers[] = {
    { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff }, { 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};
/* clang-format on */

TEST(philox_known_answers)
{
    for (size_t i = 0; i < APUS_COUNT(known_answers); i++) {
        const known *k = &known_answers[i];
        uint32_t out[4];
        apus_philox(k->key, k->counter, out);
        for (int j = 0; j < 4; j++)
            CHECK_EQ_U64(out[j], k->out[j]);
    }
}

TEST(uniform_is_in_the_half_open_interval)
{
    CHECK(apus_uniform_f32(0) == 0.0f);
    CHECK(apus_uniform_f32(0xff) == 0.0f);
    CHECK(apus_uniform_f32(0x80000000u) == 0.5f);
    CHECK(apus_uniform_f32(UINT32_MAX) == 0x1.fffffep-1f);
    CHECK(apus_uniform_f32(UINT32_MAX) < 1.0f);
}

TEST(uniform_has_the_right_moments)
{
    const uint32_t key[2] = { 42, 0 };
    const uint32_t n = 100000;
    double sum = 0, squares = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint32_t counter[4] = { i, 0, 0, 0 };
        uint32_t out[4];
        apus_philox(key, counter, out);
        for (int j = 0; j < 4; j++) {
            const double u = (double)apus_uniform_f32(out[j]);
            sum += u;
            squares += u * u;
        }
    }
    /* Five standard deviations of the mean of 400,000 numbers: of u, sqrt(1/12); of u^2,
     * sqrt(4/45). */
    CHECK_NEAR(sum / 400000, 0.5, 5 * 0.28868 / 632.4555);
    CHECK_NEAR(squares / 400000, 1.0 / 3, 5 * 0.29814 / 632.4555);
}

TEST(fnv1a_known_answers)
{
    CHECK_EQ_U64(apus_hash("", 0, APUS_HASH_SEED), 0xcbf29ce484222325ull);
    CHECK_EQ_U64(apus_hash("a", 1, APUS_HASH_SEED), 0xaf63dc4c8601ec8cull);
    CHECK_EQ_U64(apus_hash("foobar", 6, APUS_HASH_SEED), 0x85944171f73967e8ull);
    /* In two pieces as in one. */
    CHECK_EQ_U64(apus_hash("bar", 3, apus_hash("foo", 3, APUS_HASH_SEED)), 0x85944171f73967e8ull);
}
