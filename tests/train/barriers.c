/* barriers.c - each barrier of the recorded lists of SmolLM2-135M, all 30 layers of it, taken
 * out in turn: the checker of hazards names two items on either side of the gap.  Lists are
 * lowered as for the device, but nothing is loaded or run, so a file of the model's shapes with
 * no weights in it serves where the real one is absent. */
#include <stdio.h>

#include "../vendor/synthetic.h"
#include "barrier.h"
#include "harness.h"
#include "session.h"
#include "step.h"

#define LAYERS 30
#define MANY 8

static const char *model_path(void)
{
    static char path[512];
    const char *folder = getenv("APUS_REAL_DATA");
    synthetic_shape shape = synthetic_smollm2;

    snprintf(path, sizeof(path), "%s/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
             folder ? folder : "");
    FILE *file = folder ? fopen(path, "rb") : NULL;
    if (file) {
        fclose(file);
        return path;
    }
    shape.layers = LAYERS;
    CHECK_OK(synthetic_gguf(&shape, harness_folder(), path));
    return path;
}

static apus_model *open_counting(bool train_all)
{
    apus_model *m = NULL;
    const apus_status st = apus_model_open(&m, model_path(),
                                           &(apus_model_params) { .torch_dtype = "float32",
                                                                  .max_positions = 1024,
                                                                  .train_all = train_all,
                                                                  .count_only = true });

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else if (CHECK_OK(st))
        CHECK_EQ_U64(m->dims.layers, LAYERS);
    return m;
}

/* The text names two items, one before the barrier that was taken out and one behind it. */
static bool names_both_sides(uint32_t barrier)
{
    const char *text = strstr(apus_error_text(), "no barrier between item ");
    unsigned early, late;

    return text &&
           sscanf(text, "no barrier between item %u, %*[^,], and item %u,", &early, &late) == 2 &&
           early < barrier && late >= barrier;
}

static void check_barriers(const apus_list *recorded, const char *what, uint32_t least)
{
    apus_list list = *recorded; /* shares everything but the flags, which are put back */
    uint32_t n = 0, missed = 0, first = 0;

    CHECK_OK(apus_hazards_check(&list));
    for (uint32_t i = 0; i < list.n_items; i++) {
        if (!list.items[i].barrier)
            continue;
        list.items[i].barrier = false;
        n++;
        if (apus_hazards_check(&list) == APUS_OK || !names_both_sides(i))
            first = missed++ ? first : i;
        list.items[i].barrier = true;
    }
    printf("    %s: %u items, %u barriers, %u not missed\n", what, list.n_items, n, missed);
    CHECK(n >= least);
    harness_check(missed == 0, __FILE__, __LINE__,
                  "%s: %u barriers are not missed, the first before item %u, %s", what, missed,
                  first, list.items[first].node ? list.items[first].node->name : "-");
}

static void check_session(apus_session *s, uint32_t tokens, uint32_t sequences, const char *what)
{
    apus_plan *plan;

    if (CHECK_OK(apus_session_plan(s, tokens, sequences, &plan)))
        check_barriers(apus_plan_list(plan), what, 4 * LAYERS);
}

TEST(decode_and_prefill)
{
    apus_model *m = open_counting(false);
    apus_session *s = NULL;

    if (m && CHECK_OK(apus_session_create(
                 &s, m, &(apus_session_params) { .tokens = 4096, .max_sequences = MANY }))) {
        check_session(s, 1, 1, "decode");
        check_session(s, MANY, MANY, "decode of eight");
        check_session(s, 512, 1, "prefill");
    }
    apus_session_destroy(&s);
    apus_model_close(&m);
}

static void check_training(apus_model *m, apus_adapters *ad, bool recompute, const char *what)
{
    apus_train_step *t = NULL;
    apus_plan *plan;
    const apus_train_step_params params = {
        .adapters = ad, .max_sequences = MANY, .eps = 1e-8f, .recompute = recompute ? UINT32_MAX : 0
    };

    if (CHECK_OK(apus_train_step_create(&t, m, &params)) &&
        CHECK_OK(apus_train_plan(t, 512, MANY, &plan)))
        check_barriers(apus_plan_list(plan), what, 8 * LAYERS);
    if (t && !recompute && CHECK_OK(apus_train_plan(t, 0, 0, &plan)))
        check_barriers(apus_plan_list(plan), "update", 1);
    apus_train_step_destroy(&t);
}

TEST(training_of_an_adapter)
{
    apus_model *m = open_counting(false);
    apus_adapters *ad = NULL;
    const apus_lora_config config = { .rank = 8, .alpha = 32, .dropout = 0.05 };

    if (m && CHECK_OK(apus_adapters_create(&ad, m, 1, 8)) &&
        CHECK_OK(apus_adapters_new(ad, 0, &config))) {
        check_training(m, ad, false, "training of an adapter");
        check_training(m, ad, true, "training of an adapter, recomputed");
    }
    apus_adapters_destroy(&ad);
    apus_model_close(&m);
}

TEST(training_of_all_weights)
{
    apus_model *m = open_counting(true);

    if (m)
        check_training(m, NULL, true, "training of all weights, recomputed");
    apus_model_close(&m);
}
