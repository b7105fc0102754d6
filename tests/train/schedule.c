/* Learning rates against those that transformers gave for each schedule. */
#include "schedule.h"

#include <math.h>
#include <stdio.h>

#include "harness.h"
#include "json.h"

static void check_schedule(const cJSON *root, const cJSON *entry)
{
    apus_schedule_params params = {
        .lr = apus_json_number(root, "base_lr", 0.0),
        .max_steps = (uint64_t)apus_json_number(root, "num_training_steps", 0.0),
        .warmup_steps = (uint64_t)apus_json_number(root, "num_warmup_steps", 0.0),
    };
    const cJSON *rates = apus_json_get(entry, "lr_used_at_step"), *rate;
    char *kwargs = apus_json_text(apus_json_get(entry, "kwargs"), 0);
    apus_schedule schedule;
    uint64_t step = 0;

    REQUIRE(kwargs != NULL);
    CHECK_OK(apus_schedule_find(&params.kind, entry->string));
    CHECK_EQ_STR(apus_schedule_name(params.kind), entry->string);
    CHECK_OK(apus_schedule_read_kwargs(&params, kwargs));
    CHECK_OK(apus_schedule_init(&schedule, &params));
    apus_free(kwargs);
    cJSON_ArrayForEach(rate, rates)
    {
        const double want = rate->valuedouble, got = apus_schedule_lr(&schedule, step);
        harness_check(fabs(got - want) <= 1e-12 * fabs(want), __FILE__, __LINE__,
                      "%s at step %llu: %.17g, not %.17g", entry->string, (unsigned long long)step,
                      got, want);
        step++;
    }
    CHECK_EQ_U64(step, 40);
}

TEST(every_schedule_equals_the_reference)
{
    cJSON *root = NULL;
    const cJSON *entry;
    size_t n = 0;

    REQUIRE_OK(apus_json_read(&root, harness_fixture("../golden/cases/optim/schedules.json")));
    cJSON_ArrayForEach(entry, apus_json_get(root, "schedules"))
    {
        check_schedule(root, entry);
        n++;
    }
    CHECK_EQ_U64(n, 9);
    cJSON_Delete(root);
}

static double lr_at(apus_schedule_params params, uint64_t step)
{
    apus_schedule schedule;

    CHECK_OK(apus_schedule_init(&schedule, &params));
    return apus_schedule_lr(&schedule, step);
}

/* The recorded run of 20 steps at 1e-4: what was logged after steps 1, 10 and 20. */
TEST(the_default_is_cosine_without_warm_up)
{
    const apus_schedule_params params = { .lr = 1e-4, .max_steps = 20 };

    CHECK(lr_at(params, 0) == 1e-4);
    CHECK(lr_at(params, 1) == 9.938441702975689e-05);
    CHECK(lr_at(params, 10) == 5e-05);
    CHECK(lr_at(params, 19) == 6.15582970243117e-07);
    CHECK(lr_at(params, 20) == 0.0);
}

TEST(a_ratio_of_warm_up_is_rounded_up)
{
    const apus_schedule_params params = {
        .kind = APUS_SCHEDULE_CONSTANT_WITH_WARMUP, .lr = 1.0, .max_steps = 21, .warmup_ratio = 0.1
    };

    CHECK_NEAR(lr_at(params, 0), 0.0, 0.0);
    CHECK_NEAR(lr_at(params, 1), 1.0 / 3.0, 1e-16);
    CHECK_NEAR(lr_at(params, 3), 1.0, 0.0);
}

/* transformers' closed forms for the shapes that the file of rates does not have. */
TEST(shapes_of_warm_up_and_decay)
{
    apus_schedule_params params = {
        .kind = APUS_SCHEDULE_WARMUP_STABLE_DECAY, .lr = 1.0, .max_steps = 20, .warmup_steps = 4
    };

    CHECK_OK(apus_schedule_read_kwargs(&params, "{\"num_decay_steps\": 4, \"warmup_type\": "
                                                "\"cosine\", \"decay_type\": \"1-sqrt\"}"));
    CHECK_NEAR(lr_at(params, 1), 0.5 * (1.0 - sqrt(0.5)), 1e-15);
    CHECK_NEAR(lr_at(params, 15), 1.0, 0.0);
    CHECK_NEAR(lr_at(params, 17), 0.5, 1e-15);
    CHECK_NEAR(lr_at(params, 20), 0.0, 0.0);
    params.warmup_type = APUS_SHAPE_ONE_MINUS_SQRT;
    params.decay_type = APUS_SHAPE_LINEAR;
    CHECK_NEAR(lr_at(params, 3), 0.5, 1e-15);
    CHECK_NEAR(lr_at(params, 19), 0.25, 1e-15);
}

TEST(what_cannot_be_a_schedule_is_said)
{
    apus_schedule schedule;
    apus_schedule_kind kind;
    apus_schedule_params params = { .lr = 1e-4, .max_steps = 10 };

    CHECK_FAILS(apus_schedule_find(&kind, "cosin"), APUS_ERR_ARG, "lr_scheduler_type cosin");
    CHECK_FAILS(apus_schedule_read_kwargs(&params, "{\"power\": 2}"), APUS_ERR_ARG,
                "cosine has no power");
    CHECK_FAILS(apus_schedule_read_kwargs(&params, "{\"num_cycles\": \"a\"}"), APUS_ERR_ARG,
                "num_cycles is not a number");
    CHECK_FAILS(apus_schedule_read_kwargs(&params, "[1]"), APUS_ERR_FORMAT, "not a JSON object");
    CHECK_FAILS(apus_schedule_read_kwargs(&params, "{"), APUS_ERR_FORMAT, "lr_scheduler_kwargs");
    params.kind = APUS_SCHEDULE_WARMUP_STABLE_DECAY;
    CHECK_FAILS(apus_schedule_init(&schedule, &params), APUS_ERR_ARG, "num_decay_steps");
    params.kind = APUS_SCHEDULE_COSINE_WITH_MIN_LR;
    CHECK_FAILS(apus_schedule_init(&schedule, &params), APUS_ERR_ARG, "min_lr");
    params = (apus_schedule_params) { .lr = 0.0, .max_steps = 10 };
    CHECK_FAILS(apus_schedule_init(&schedule, &params), APUS_ERR_ARG, "learning_rate is 0");
    params = (apus_schedule_params) { .lr = 1.0 };
    CHECK_FAILS(apus_schedule_init(&schedule, &params), APUS_ERR_ARG, "0 steps");
}
