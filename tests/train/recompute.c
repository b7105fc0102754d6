/* recompute.c - layers that are kept, run again, and run twice give the same gradients, bit for
 * bit, of adapters with dropout and of all weights. */
#include "tiny_step.h"

typedef struct grads {
    float *values;
    uint64_t n, scratch;
    uint32_t dispatches;
} grads;

/* The gradients after a micro batch of two rows. */
static bool run(grads *out, apus_model *m, apus_adapters *ad, uint32_t recompute, uint32_t pairs)
{
    static tiny_rows rows;
    apus_train_step *s = NULL;
    apus_plan *plan;
    const apus_train_step_params params = { .adapters = ad,
                                            .max_sequences = 2,
                                            .recompute = recompute,
                                            .pairs = pairs,
                                            .beta1 = 0.9f,
                                            .beta2 = 0.95f,
                                            .eps = 1e-8f };
    bool ok = false;

    tiny_rows_make(&rows, m->dims.vocab);
    if (CHECK_OK(apus_train_step_create(&s, m, &params)) &&
        CHECK_OK(apus_train_micro(s, rows.at, 2, 1.0 / N, 1, 42, NULL)) &&
        CHECK_OK(apus_train_plan(s, 2 * N - 7, 2, &plan))) {
        out->n = apus_train_count(s);
        out->values = apus_calloc(out->n, sizeof(float));
        out->scratch = apus_plan_about(plan)->scratch_bytes;
        out->dispatches = apus_plan_about(plan)->dispatches;
        ok = CHECK(out->values != NULL) &&
             CHECK_OK(apus_buffer_read(m->gpu, apus_train_gradients(s), 0, out->values,
                                       out->n * sizeof(float)));
    }
    apus_train_step_destroy(&s);
    return ok;
}

static void same(apus_model *m, apus_adapters *ad)
{
    const uint32_t layers = m->dims.layers;
    grads kept = { 0 }, again = { 0 }, twice = { 0 };
    double sum = 0;

    if (run(&kept, m, ad, 0, 0) && run(&again, m, ad, layers, 0) &&
        run(&twice, m, ad, layers, layers / 2)) {
        for (uint64_t i = 0; i < kept.n; i++)
            sum += (double)(kept.values[i] * kept.values[i]);
        CHECK(sum > 0);
        CHECK(!memcmp(kept.values, again.values, kept.n * sizeof(float)));
        CHECK(!memcmp(kept.values, twice.values, kept.n * sizeof(float)));
        CHECK(kept.dispatches < again.dispatches && again.dispatches < twice.dispatches);
        CHECK(again.scratch < kept.scratch && twice.scratch <= again.scratch);
    }
    apus_free(kept.values);
    apus_free(again.values);
    apus_free(twice.values);
}

static apus_model *open_tiny(bool all, const char *dtype)
{
    return tiny_open(
        &(apus_model_params) { .torch_dtype = dtype, .max_positions = N, .train_all = all });
}

TEST(adapters_have_the_same_gradients)
{
    apus_model *m = open_tiny(false, "bfloat16");
    apus_adapters *ad = NULL;
    const apus_lora_config config = { .rank = 4, .alpha = 8, .dropout = 0.1, .seed = 1 };

    if (m && CHECK_OK(apus_adapters_create(&ad, m, 1, 4)) &&
        CHECK_OK(apus_adapters_new(ad, 0, &config)))
        same(m, ad);
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
}

TEST(all_weights_have_the_same_gradients)
{
    apus_model *m = open_tiny(true, "float32");

    if (m)
        same(m, NULL);
    apus_model_close(&m);
}
