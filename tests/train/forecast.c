/* Forecasts: memory of a shape that is known by hand, the memory that a real run plans, and what is
 * said of a run that does not fit.  Only the comparison with a run needs a device. */
#include "apus/forecast.h"

#include <stdio.h>

#include "file.h"
#include "harness.h"

#define GIB (1ull << 30)

/* QLoRA of a model of 8B on a card of 8 GiB: two rows of 2048 tokens. */
static apus_forecast_params qlora_8b(void)
{
    return (apus_forecast_params) {
        .train = { .model = harness_fixture("model/llama_8b.json"),
                   .device_class = "turing",
                   .max_length = 2048,
                   .lora_rank = 8,
                   .lora_alpha = 32,
                   .batch = 2,
                   .recompute = APUS_RECOMPUTE_FIT },
        .weights = "q4_0",
    };
}

/* Everything that the shape alone decides, worked out from it: 32 layers of q and o (4096 x 4096),
 * k and v (1024 x 4096), gate, up and down (14336 x 4096), embedding and head (128256 x 4096) in
 * blocks of 32 in 18 bytes; 65 norms in f32; an adapter of rank 8 beside each product. */
TEST(qlora_of_8b_takes_at_most_6_gib)
{
    const uint64_t layer = 2 * 4096 * 4096ull + 2 * 1024 * 4096ull + 3 * 14336 * 4096ull;
    const uint64_t matrices = 32 * layer + 2 * 128256 * 4096ull, norms = 65 * 4096ull;
    const uint64_t input = 4096 * 4096ull * 2;
    const uint64_t trained = 32 * 8 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336));
    const apus_forecast_params params = qlora_8b();
    const apus_forecast_training *x;
    apus_forecast f;

    REQUIRE_OK(apus_forecast_make(&f, &params));
    x = &f.training;
    CHECK_EQ_U64(f.n_params, matrices + norms);
    CHECK_EQ_U64(x->n_trained, trained);
    CHECK_EQ_U64(x->weights, matrices / 32 * 18 + 4 * norms);
    CHECK_EQ_U64(x->adapter, 4 * trained);
    CHECK_EQ_U64(x->gradients, 4 * trained);
    CHECK_EQ_U64(x->optimizer, 8 * trained);
    CHECK_EQ_STR(x->dtype, "bfloat16");
    CHECK_EQ_U64(x->recomputed, 32);
    CHECK_EQ_U64(x->micro.tokens, 4096);
    /* A quarter of the memory is left: the inputs of some layers, of 32 MiB each, are not kept. */
    CHECK(x->twice > 0 && x->twice <= 16);
    CHECK(x->scratch > (32 - x->twice) * input);
    CHECK_EQ_U64(x->weights + x->adapter + x->gradients + x->optimizer + x->scratch + x->other,
                 x->device);
    printf("planned: %.3f GiB (activations %.3f, %u layers twice)\n", (double)x->device / GIB,
           (double)x->scratch / GIB, x->twice);
    CHECK(x->fits);
    CHECK(x->device <= 6 * GIB && x->device + input > 6 * GIB);
    /* Forward twice, or three times, and the gradients of the inputs; the head forward and back;
     * attention and the adapters come on top.  No gradient asks for the last product of a layer
     * that runs again. */
    const double passes = 3.0 * 32 + x->twice, down = 14336 * 4096.0;
    const double products = 2.0 * 4096 * (passes * (double)layer - 32 * down + 2 * 128256 * 4096.0);
    CHECK(x->micro.flops > products && x->micro.flops < 1.15 * products);
    /* Slower than the matrix engines, faster than multiply-adds at a tenth of their rate. */
    CHECK(x->micro.seconds > products / 40.3e12 && x->micro.seconds < products / 1.0e12);
    CHECK_NEAR(x->step_s, x->micro_batches * x->micro.seconds + x->update.seconds, 1e-9);
    CHECK_EQ_U64(x->micro_batches, 8);
    apus_forecast_release(&f);
}

/* A token reads every weight but the embedding once: with the cache no faster than the memory. */
TEST(decoding_is_no_faster_than_the_memory)
{
    const apus_forecast_params params = qlora_8b();
    const apus_forecast_inference *x;
    apus_forecast f;

    REQUIRE_OK(apus_forecast_make(&f, &params));
    x = &f.inference;
    CHECK_EQ_U64(x->context, 2048);
    CHECK_EQ_U64(x->cache, 2 * 32 * 1024 * 2048ull * 2);
    const double read = (double)x->weights - 128256 * 4096.0 / 32 * 18 + (double)x->cache;
    CHECK(x->decode.bytes > 0.99 * read && x->decode.bytes < 1.1 * read);
    const double layer = 2 * 4096 * 4096.0 + 2 * 1024 * 4096.0 + 3 * 14336 * 4096.0,
                 products = 2 * (32 * layer + 128256 * 4096.0);
    CHECK(x->decode.flops > products && x->decode.flops < 1.1 * products); /* with attention */
    CHECK(x->decode.seconds > read / 448e9 && x->decode.seconds < 4 * read / 448e9);
    CHECK(x->decode.dispatches > 32 * 7);
    CHECK(x->prompt.seconds > x->decode.seconds);
    CHECK(x->fits);
    apus_forecast_release(&f);
}

/* ---- the run itself ---- */

typedef struct told {
    uint64_t device, heap, trained;
} told;

static void tell(void *user, const apus_train_plan_info *info)
{
    told *t = user;

    *t = (told) { info->device_bytes, info->device_heap, info->n_trained };
}

/* Rows of the tiny data set, all cut to one length. */
static void same_as_the_run(bool full, const char *dtype, apus_recompute recompute)
{
    static char rows[1024], model[1024];
    static const char *const paths[] = { rows };
    told t = { 0 };
    apus_train_result result;
    apus_forecast f;

    snprintf(rows, sizeof(rows), "%s", harness_fixture("tiny/sft.jsonl"));
    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    const apus_train_params p = {
        .model = model,
        .template_name = "chatml",
        .torch_dtype = dtype,
        .data = { .paths = paths, .n_paths = 1, .seed = 42 },
        .max_length = 40,
        .truncation = APUS_TRUNCATE_LEFT,
        .full = full,
        .lora_rank = 4,
        .lora_alpha = 8,
        .learning_rate = 1e-3,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.95,
        .adam_epsilon = 1e-8,
        .lr_scheduler = "cosine",
        .max_steps = 1,
        .batch = 3,
        .accumulation = 1,
        .recompute = recompute,
        .output_dir = harness_folder(),
        .add_version = true,
    };
    const apus_status st =
        apus_train(&p, &(apus_train_callbacks) { .user = &t, .plan = tell }, &result);
    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return;
    }
    REQUIRE_OK(st);
    apus_forecast_params params = { .train = p };
    params.train.device_class = "lavapipe";
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK_EQ_U64(f.training.n_trained, t.trained);
    /* Counted buffers are whole multiples of 256 bytes, those of a driver of its own alignment. */
    printf("forecast %llu, run %llu\n", (unsigned long long)f.training.device,
           (unsigned long long)t.device);
    CHECK(f.training.device >= t.device && f.training.device - t.device < 16 * 256);
    apus_forecast_release(&f);
}

TEST(the_run_plans_the_same_memory)
{
    same_as_the_run(false, "float32", APUS_RECOMPUTE_NONE);
    same_as_the_run(false, "bfloat16", APUS_RECOMPUTE_ALL);
    same_as_the_run(true, "bfloat16", APUS_RECOMPUTE_NONE);
}

/* ---- what does not fit ---- */

TEST(what_does_not_fit_says_what_would)
{
    apus_forecast_params params = qlora_8b();
    apus_forecast f;

    params.train.recompute = APUS_RECOMPUTE_NONE;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    REQUIRE(!f.training.fits && f.training.why && f.training.advice);
    CHECK(f.training.device > 8 * GIB);
    CHECK(strstr(f.training.why, "this run does not fit: ") == f.training.why);
    CHECK(strstr(f.training.advice, "--gradient_checkpointing true: ") != NULL);
    CHECK(strstr(f.training.advice, " fits\n") != NULL);
    CHECK(f.inference.fits);
    apus_forecast_release(&f);
    params.train.recompute = APUS_RECOMPUTE_ALL;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(f.training.fits && !f.training.why);
    apus_forecast_release(&f);
}

/* With 3 GiB most of the projections stay with the host, and the table of tokens with them.  Each
 * is copied for the forward, for the second forward, but for the last of a layer, and for the
 * gradient of what it reads, which is not asked for of the first three: that is the table's. */
TEST(weights_that_do_not_fit_stay_with_the_host)
{
    const uint64_t down = 14336 * 4096ull / 32 * 18, table = 128256 * 4096ull / 32 * 18;
    const uint64_t qkv = (4096 + 2 * 1024) * 4096ull / 32 * 18;
    const uint64_t layer = qkv + 4096 * 4096ull / 32 * 18 + 3 * down;
    apus_forecast_params params = qlora_8b();
    apus_forecast whole, f;
    const apus_forecast_training *x = &f.training, *y = &whole.training;

    params.train.recompute = APUS_RECOMPUTE_ALL;
    params.train.class_memory = 24 * GIB;
    REQUIRE_OK(apus_forecast_make(&whole, &params));
    CHECK(y->fits && y->host_layers == 0 && y->host_weights == 0);
    params.train.class_memory = 3 * GIB;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(x->fits && x->device <= 3 * GIB);
    CHECK(x->host_layers > 16 && x->host_layers <= 32);
    CHECK_EQ_U64(x->host_weights, x->host_layers * layer + table);
    CHECK_EQ_U64(x->weights + x->host_weights, y->weights);
    CHECK_EQ_U64(x->host - x->host_weights, y->host);
    CHECK_EQ_U64(x->micro.dispatches, y->micro.dispatches + x->host_layers * (3 * 7 - 1) - 3);
    const uint64_t copied = x->host_layers * (3 * layer - down) - qkv;
    CHECK_NEAR(x->micro.bytes - y->micro.bytes, 2.0 * (double)copied, 1e3);
    CHECK(x->micro.seconds > y->micro.seconds && x->micro.seconds < 1.25 * y->micro.seconds);
    apus_forecast_release(&whole);
    apus_forecast_release(&f);
}

/* With 2 GiB all projections stay there, and still some layers run twice. */
TEST(pairs_come_after_the_host)
{
    apus_forecast_params params = qlora_8b();
    apus_forecast f;

    params.train.class_memory = 2 * GIB;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(f.training.fits && f.training.device <= 2 * GIB);
    CHECK_EQ_U64(f.training.host_layers, 32);
    CHECK(f.training.twice > 0 && f.training.twice <= 16);
    apus_forecast_release(&f);
    params.train.class_memory = 5 * GIB; /* a quarter is left where that can be had */
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(f.training.fits && f.training.device <= 15 * GIB / 4);
    CHECK(f.training.host_layers > 0 && f.training.host_layers < 32 && f.training.twice == 0);
    apus_forecast_release(&f);
}

/* Full fine-tuning of the tiny model where its optimizer's state has no room: that stays with the
 * host.  With less, nothing helps, and what is tried in its place leaves the weights there. */
TEST(the_optimizer_stays_with_the_host)
{
    static char model[1024];
    apus_forecast whole, f;

    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    apus_forecast_params params = { .train = { .model = model,
                                               .device_class = "turing",
                                               .max_length = 40,
                                               .full = true,
                                               .lora_rank = 4, /* of what is tried in its place */
                                               .lora_alpha = 8,
                                               .batch = 1,
                                               .recompute = APUS_RECOMPUTE_ALL } };
    REQUIRE_OK(apus_forecast_make(&whole, &params));
    CHECK(whole.training.optimizer > 0 && whole.training.host_optimizer == 0);
    params.train.class_memory = whole.training.device - whole.training.optimizer / 2;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(f.training.fits && f.training.optimizer == 0 && f.training.host_layers == 0);
    CHECK_EQ_U64(f.training.host_optimizer, whole.training.optimizer);
    CHECK_EQ_U64(f.training.device + whole.training.optimizer, whole.training.device);
    CHECK_EQ_U64(f.training.host, whole.training.host + whole.training.optimizer);
    CHECK(f.training.update.seconds > whole.training.update.seconds);
    apus_forecast_release(&f);
    params.train.class_memory = whole.training.gradients;
    REQUIRE_OK(apus_forecast_make(&f, &params));
    CHECK(!f.training.fits && f.training.advice &&
          strstr(f.training.advice, "--tuner_type lora: ") != NULL);
    apus_forecast_release(&f);
    apus_forecast_release(&whole);
}

/* Without the flag as many layers run again as the memory asks for, as in a run. */
TEST(layers_are_recomputed_as_the_memory_asks)
{
    static const uint64_t memory[] = { 64 * GIB, 12 * GIB };
    apus_forecast_params params = qlora_8b();
    uint32_t layers[2];

    params.train.batch = 1;
    for (int i = 0; i < 2; i++) {
        apus_forecast f;

        params.train.class_memory = memory[i];
        REQUIRE_OK(apus_forecast_make(&f, &params));
        CHECK(f.training.fits && f.training.device <= memory[i] / 4 * 3);
        layers[i] = f.training.recomputed;
        apus_forecast_release(&f);
    }
    CHECK_EQ_U64(layers[0], 0);
    CHECK(layers[1] > 0 && layers[1] <= 32);
}

/* A pack of 2048 tokens of rows of 256 has an eighth of the pairs of one row. */
TEST(packs_have_less_attention)
{
    apus_forecast_params params = qlora_8b();
    apus_forecast one, packed;

    REQUIRE_OK(apus_forecast_make(&one, &params));
    params.train.packing = APUS_PACKING_BINPACK;
    params.train.packing_length = 2048;
    params.train.max_length = 256;
    REQUIRE_OK(apus_forecast_make(&packed, &params));
    CHECK_EQ_U64(packed.training.micro.tokens, 4096);
    CHECK_EQ_U64(packed.training.row_tokens, 2048);
    /* Scores and sums forward twice, and 2.5 times backward, by half of the pairs; 3.5 forward and
     * back by the operators' own estimates, which have the keys' side apart. */
    const double less = one.training.micro.flops - packed.training.micro.flops;
    CHECK(less > 0.875 * 5 * 32 * 2.0 * 2 * 2048 * 2048 * 4096);
    CHECK(packed.training.micro.seconds < one.training.micro.seconds);
    apus_forecast_release(&one);
    apus_forecast_release(&packed);
}

/* ---- errors ---- */

static void refused(apus_forecast_params params, apus_status status, const char *words)
{
    apus_forecast f;

    CHECK_FAILS(apus_forecast_make(&f, &params), status, words);
    apus_forecast_release(&f);
}

TEST(what_cannot_be_forecast_is_refused)
{
    static const char broken[] = "{ \"model_type\": \"llama\", ";
    static const char other[] = "{ \"model_type\": \"llama\", \"hidden_size\": 64 }";
    apus_forecast_params params = qlora_8b();
    const char *targets[] = { "q_prj" };
    char *path = apus_path_join(harness_folder(), "config.json");

    params.train.device_class = "ada2";
    refused(params, APUS_ERR_ARG, "no class of devices is called 'ada2'; there are polaris10");
    params.train.device_class = NULL;
    refused(params, APUS_ERR_ARG, "name one");
    params = qlora_8b();
    params.weights = "q3";
    refused(params, APUS_ERR_ARG, "no weights have the number format 'q3'");
    params.weights = "u32";
    refused(params, APUS_ERR_ARG, "no weights have the number format 'u32'");
    params = qlora_8b();
    params.train.targets = targets;
    params.train.n_targets = 1;
    refused(params, APUS_ERR_ARG, "q_prj");
    params = qlora_8b();
    params.train.packing = APUS_PACKING_BINPACK;
    params.train.packing_length = 1 << 24;
    params.train.max_length = 1;
    refused(params, APUS_ERR_ARG, "a micro batch of 33554432 rows of 1 tokens; at most 32768 rows");
    params = qlora_8b();
    params.train.model = path;
    refused(params, APUS_ERR_MISSING, "no such file or folder");
    CHECK_OK(apus_file_write(path, broken, sizeof(broken) - 1));
    refused(params, APUS_ERR_FORMAT, "config.json: line 1");
    CHECK_OK(apus_file_write(path, other, sizeof(other) - 1));
    refused(params, APUS_ERR_FORMAT, "config.json: ");
    CHECK_OK(apus_file_write(path, "[]", 2));
    refused(params, APUS_ERR_FORMAT, "config.json: not a JSON object");
    apus_free(path);
}
