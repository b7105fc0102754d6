/* Steps, epochs and positions of the sampler. */
#include "apus/data.h"
#include "harness.h"
#include "order.h"

TEST(a_partial_accumulation_is_a_step_of_its_own)
{
    /* 7 rows, accumulation 2: the reference logged epochs 0.2857, 0.5714, 0.8571, 1, 1.286 ... */
    const apus_sampler_params params = { .rows = 7, .batch = 1, .accumulation = 2, .epochs = 2 };
    static const uint32_t rows[4] = { 2, 2, 2, 1 };
    apus_sampler *s = NULL;
    apus_sampler_step step;

    REQUIRE_OK(apus_sampler_create(&s, &params));
    const apus_sampler_plan plan = apus_sampler_plan_of(s);
    CHECK_EQ_U64(plan.batches_per_epoch, 7);
    CHECK_EQ_U64(plan.steps_per_epoch, 4);
    CHECK_EQ_U64(plan.max_steps, 8);
    CHECK_EQ_U64(plan.epochs, 2);
    for (uint32_t i = 0; i < 8; i++) {
        REQUIRE(apus_sampler_next(s, &step));
        CHECK_EQ_U64(step.number, i + 1);
        CHECK_EQ_U64(step.n_rows, rows[i % 4]);
        CHECK_EQ_U64(step.n_batches, rows[i % 4]);
        CHECK_EQ_U64(step.rows[0], i % 4 * 2);
        CHECK_NEAR(step.epoch, i % 4 == 3 ? i / 4 + 1 : i / 4 + (i % 4 + 1) * 2.0 / 7.0, 1e-15);
    }
    CHECK(!apus_sampler_next(s, &step));
    apus_sampler_destroy(&s);
    CHECK(s == NULL);
}

TEST(a_partial_batch_is_kept_or_dropped)
{
    apus_sampler_params params = { .rows = 10, .batch = 4, .accumulation = 2, .epochs = 1 };
    apus_sampler *s = NULL;
    apus_sampler_step step;

    REQUIRE_OK(apus_sampler_create(&s, &params));
    CHECK_EQ_U64(apus_sampler_plan_of(s).max_steps, 2);
    REQUIRE(apus_sampler_next(s, &step));
    CHECK_EQ_U64(step.n_rows, 8);
    REQUIRE(apus_sampler_next(s, &step));
    CHECK_EQ_U64(step.n_rows, 2);
    CHECK_EQ_U64(step.n_batches, 1);
    CHECK_NEAR(step.epoch, 1.0, 0.0);
    apus_sampler_destroy(&s);

    params.drop_last = true;
    REQUIRE_OK(apus_sampler_create(&s, &params));
    CHECK_EQ_U64(apus_sampler_plan_of(s).max_steps, 1);
    apus_sampler_destroy(&s);
}

TEST(defaults_are_sixteen_rows_a_step_and_three_epochs)
{
    const apus_sampler_params params = { .rows = 33, .batch = 3 };
    apus_sampler *s = NULL;

    REQUIRE_OK(apus_sampler_create(&s, &params));
    CHECK_EQ_U64(apus_sampler_plan_of(s).accumulation, 6);
    CHECK_EQ_U64(apus_sampler_plan_of(s).steps_per_epoch, 2);
    CHECK_EQ_U64(apus_sampler_plan_of(s).max_steps, 6);
    apus_sampler_destroy(&s);
}

TEST(max_steps_and_fractions_of_an_epoch)
{
    /* The recorded run: 190 rows, batch 1 x 4, 20 steps -> 1 epoch, 0.42105263157894735 of it. */
    apus_sampler_params params = { .rows = 190, .batch = 1, .accumulation = 4, .max_steps = 20 };
    apus_sampler *s = NULL;
    apus_sampler_step step = { 0 };

    REQUIRE_OK(apus_sampler_create(&s, &params));
    CHECK_EQ_U64(apus_sampler_plan_of(s).steps_per_epoch, 48);
    CHECK_EQ_U64(apus_sampler_plan_of(s).epochs, 1);
    while (apus_sampler_next(s, &step))
        ;
    CHECK_EQ_U64(step.number, 20);
    CHECK(step.epoch == 0.42105263157894735);
    apus_sampler_destroy(&s);

    params.max_steps = 0;
    params.epochs = 0.5;
    REQUIRE_OK(apus_sampler_create(&s, &params));
    CHECK_EQ_U64(apus_sampler_plan_of(s).max_steps, 24);
    CHECK_EQ_U64(apus_sampler_plan_of(s).epochs, 1);
    apus_sampler_destroy(&s);
}

TEST(each_epoch_has_torchs_order_of_seed_plus_epoch)
{
    const apus_sampler_params params = {
        .rows = 8, .batch = 8, .accumulation = 1, .epochs = 2, .seed = 42, .shuffle = true
    };
    static const uint32_t want[2][8] = { { 6, 3, 0, 7, 2, 1, 4, 5 }, { 4, 5, 7, 1, 3, 2, 6, 0 } };
    apus_sampler *s = NULL;
    apus_sampler_step step;

    REQUIRE_OK(apus_sampler_create(&s, &params));
    for (size_t epoch = 0; epoch < 2; epoch++) {
        REQUIRE(apus_sampler_next(s, &step));
        REQUIRE(step.n_rows == 8);
        for (size_t i = 0; i < 8; i++)
            CHECK_EQ_U64(step.rows[i], want[epoch][i]);
    }
    apus_sampler_destroy(&s);
}

TEST(a_sought_position_equals_a_walked_one)
{
    const apus_sampler_params params = {
        .rows = 11, .batch = 2, .accumulation = 2, .epochs = 3, .seed = 5, .shuffle = true
    };
    apus_sampler *walked = NULL, *sought = NULL;
    apus_sampler_step a, b;

    REQUIRE_OK(apus_sampler_create(&walked, &params));
    REQUIRE_OK(apus_sampler_create(&sought, &params));
    for (uint64_t i = 0; i < 9; i++) {
        REQUIRE(apus_sampler_next(walked, &a));
        apus_sampler_seek(sought, i);
        REQUIRE(apus_sampler_next(sought, &b));
        CHECK_EQ_U64(a.number, b.number);
        CHECK(a.epoch == b.epoch);
        REQUIRE(a.n_rows == b.n_rows);
        CHECK(memcmp(a.rows, b.rows, a.n_rows * sizeof(*a.rows)) == 0);
    }
    apus_sampler_seek(sought, 2); /* back into an earlier epoch */
    apus_sampler_seek(walked, 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(apus_sampler_next(walked, &a));
    REQUIRE(apus_sampler_next(sought, &b));
    CHECK(memcmp(a.rows, b.rows, a.n_rows * sizeof(*a.rows)) == 0);
    apus_sampler_destroy(&walked);
    apus_sampler_destroy(&sought);
}

TEST(impossible_samplers_say_why)
{
    apus_sampler *s = NULL;

    CHECK_FAILS(apus_sampler_create(&s, &(apus_sampler_params) { .batch = 1 }), APUS_ERR_ARG,
                "no row is left");
    CHECK_FAILS(apus_sampler_create(
                    &s, &(apus_sampler_params) { .rows = 3, .batch = 4, .drop_last = true }),
                APUS_ERR_ARG, "larger than the 3 rows");
    CHECK_FAILS(apus_sampler_create(&s, &(apus_sampler_params) { .rows = 3, .epochs = -1 }),
                APUS_ERR_ARG, "num_train_epochs");
    CHECK(s == NULL);
}
