/* packing.c - packed training: packs in one effective batch have the loss and the gradients of
 * their rows by themselves, dropout included; runs resume with the same bits; memory is planned for
 * packs. */
#include <math.h>

#include "safetensors.h"
#include "tiny_run.h"

/* What a run said before its first step. */
typedef struct told {
    apus_train_plan_info plan;
    bool planned;
} told;

static void keep_plan(void *user, const apus_train_plan_info *info)
{
    told *t = user;

    t->plan = *info;
    t->planned = true;
}

/* False after a skip or a failed check. */
static bool run(const apus_train_params *p, told *t, apus_train_result *result)
{
    *t = (told) { 0 };
    const apus_status st =
        apus_train(p, &(apus_train_callbacks) { .user = t, .plan = keep_plan }, result);

    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
        return false;
    }
    return CHECK_OK(st) && CHECK(t->planned);
}

/* ---- one step ---- */

#define ROWS 100u

/* What one step of all rows leaves: gradients are exp_avg / (1 - beta1), since nothing was clipped
 * or there before. */
typedef struct outcome {
    double loss, eval_loss;
    uint64_t tokens;
    float *grad;
    size_t n;
} outcome;

static void read_outcome(outcome *o, const apus_train_result *result)
{
    char path[1400];
    apus_safetensors *file = NULL;
    const apus_file_tensor *m;
    cJSON *state = NULL;

    *o = (outcome) { .loss = result->train_loss, .tokens = result->tokens };
    snprintf(path, sizeof(path), "%s/optimizer.safetensors", result->checkpoint);
    if (CHECK_OK(apus_safetensors_open(&file, path)) &&
        CHECK_OK(apus_safetensors_need(file, "exp_avg", &m))) {
        o->n = (size_t)(m->bytes / 4);
        o->grad = apus_calloc(o->n, 4);
        if (CHECK(o->grad != NULL))
            memcpy(o->grad, m->data, m->bytes);
    }
    apus_safetensors_close(&file);
    snprintf(path, sizeof(path), "%s/trainer_state.json", result->checkpoint);
    CHECK_OK(apus_json_read(&state, path));
    o->eval_loss = apus_json_number(state, "best_metric", -1);
    cJSON_Delete(state);
}

/* |a - b| / |b| of the gradients. */
static double distance(const outcome *a, const outcome *b)
{
    double diff = 0, all = 0;

    if (!CHECK(a->grad && b->grad && a->n == b->n && a->n > 0))
        return INFINITY;
    for (size_t i = 0; i < a->n; i++) {
        diff += pow((double)a->grad[i] - (double)b->grad[i], 2);
        all += pow((double)b->grad[i], 2);
    }
    CHECK(all > 0);
    return sqrt(diff / all);
}

/* One step of ROWS rows on a trained adapter, which has a gradient everywhere, with dropout. */
static apus_train_params one_step(const char *out)
{
    static char adapter[1024], many[1100], val[1024];
    static const char *const adapters[] = { adapter }, *const trained[] = { many },
                             *const evaluated[] = { val };
    apus_train_params p = base(out);

    snprintf(adapter, sizeof(adapter), "%s",
             harness_fixture("../golden/cases/llama_gqa_tied_rope3/lora"));
    snprintf(many, sizeof(many), "%s#%u", rows, ROWS);
    snprintf(val, sizeof(val), "%s", rows);
    p.adapters = adapters;
    p.n_adapters = 1;
    p.data.paths = trained;
    p.data.val_paths = evaluated;
    p.data.n_val_paths = 1;
    p.data.split_ratio = 0;
    p.add_version = true;
    p.lora_dropout = 0.3;
    p.learning_rate = 1e-5;
    p.max_grad_norm = 0;
    p.max_steps = 1;
    p.batch = 4;
    p.accumulation = ROWS / 4;
    p.save_steps = p.eval_steps = p.logging_steps = 1;
    return p;
}

/* A packed run against one without: f32 sums of other orders.  A sum of n terms in any order is off
 * by at most n 2^-24 of the sum of their sizes; what is behind it, some hundreds of products deep,
 * by less than 1e-5 of it.  Other masks are off by far more. */
static void compare(const outcome *packed, const outcome *plain, const outcome *other)
{
    CHECK_EQ_U64(packed->tokens, plain->tokens);
    CHECK_NEAR(packed->loss, plain->loss, 1e-5 * plain->loss);
    CHECK_NEAR(packed->eval_loss, plain->eval_loss, 1e-5 * plain->eval_loss);
    CHECK(distance(packed, plain) < 1e-5);
    CHECK(fabs(other->loss - plain->loss) > 1e-4 * plain->loss);
    CHECK(distance(other, plain) > 1e-2);
}

TEST(packs_have_the_gradients_of_their_rows)
{
    static const struct {
        apus_packing packing;
        uint64_t length;
        uint32_t batch;
    } cases[] = { { APUS_PACKING_BINPACK, 300, 1 },
                  { APUS_PACKING_BINPACK, 300, 3 },
                  { APUS_PACKING_SEQUENTIAL, 1000, 2 },
                  { APUS_PACKING_BINPACK, 1u << 20, 1 } }; /* all rows in one */
    char out[1024];
    apus_train_result result;
    outcome plain = { 0 }, other = { 0 };
    told t;

    snprintf(out, sizeof(out), "%s/step", harness_folder());
    apus_train_params p = one_step(out);
    if (!run(&p, &t, &result))
        return;
    read_outcome(&plain, &result);
    CHECK_EQ_U64(t.plan.train_packs, ROWS);
    CHECK_EQ_U64(t.plan.pack_length, 0);
    p.seed = 43;
    if (run(&p, &t, &result))
        read_outcome(&other, &result);
    p.seed = 42;
    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        outcome packed = { 0 };

        p.packing = cases[i].packing;
        p.packing_length = cases[i].length;
        p.batch = cases[i].batch;
        p.accumulation = ROWS;
        if (!run(&p, &t, &result))
            break;
        read_outcome(&packed, &result);
        compare(&packed, &plain, &other);
        CHECK_EQ_U64(t.plan.train_rows, ROWS);
        CHECK(t.plan.train_packs < ROWS / 4);
        CHECK((t.plan.train_packs == 1) == (i == 3));
        CHECK(t.plan.val_packs < t.plan.val_rows);
        CHECK(t.plan.train_fill > (i == 3 ? 0 : 0.7) && t.plan.train_fill <= 1);
        apus_free(packed.grad);
    }
    apus_free(plain.grad);
    apus_free(other.grad);
}

/* ---- runs ---- */

static apus_train_params packed_run(const char *out)
{
    apus_train_params p = base(out);

    p.packing = APUS_PACKING_BINPACK;
    p.packing_length = 128;
    p.add_version = true;
    return p;
}

/* Over the ends of epochs, which are of packs. */
TEST(a_packed_run_resumes_with_the_same_bits)
{
    char out[1024], checkpoint[1400];
    apus_train_result one, two;
    told t;

    snprintf(out, sizeof(out), "%s/resume", harness_folder());
    apus_train_params p = packed_run(out);
    if (!run(&p, &t, &one))
        return;
    CHECK(t.plan.train_packs > 4 && t.plan.train_packs < t.plan.train_rows / 2 + 1);
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", one.folder);
    p.resume = checkpoint;
    if (run(&p, &t, &two))
        same_run(one.folder, two.folder);
}

/* Steps of an epoch count packs, as the logged epochs do. */
TEST(an_epoch_is_its_packs)
{
    char out[1024];
    apus_train_result result;
    told t;

    snprintf(out, sizeof(out), "%s/epoch", harness_folder());
    apus_train_params p = packed_run(out);
    p.max_steps = 0;
    p.epochs = 2;
    p.batch = p.accumulation = 1;
    p.eval_strategy = p.save_strategy = 0;
    if (!run(&p, &t, &result))
        return;
    CHECK_EQ_U64(t.plan.steps, 2 * t.plan.train_packs);
    CHECK_EQ_U64(result.steps, t.plan.steps);
}

/* Each longer row is a pack by itself, so that nothing but the words differs. */
TEST(rows_longer_than_a_pack_stand_alone)
{
    char out[1024];
    apus_train_result plain, packed;
    told t;

    snprintf(out, sizeof(out), "%s/alone", harness_folder());
    apus_train_params p = packed_run(out);
    p.packing = APUS_PACKING_NONE;
    if (!run(&p, &t, &plain))
        return;
    p.packing = APUS_PACKING_SEQUENTIAL;
    p.packing_length = 1;
    if (!run(&p, &t, &packed))
        return;
    CHECK_EQ_U64(t.plan.train_packs, t.plan.train_rows);
    CHECK_EQ_U64(t.plan.val_packs, t.plan.val_rows);
    CHECK(t.plan.train_fill == 1);
    same_run(plain.folder, packed.folder);
}

/* The largest micro batch is that of the fullest packs; smaller ones bring no more than the arrays
 * that they read, less than 256 bytes a token. */
TEST(memory_is_planned_for_packs)
{
    char out[1024], many[1100];
    const char *const path = many;
    apus_train_result result;
    told t;

    for (uint32_t batch = 1; batch <= 2; batch++) {
        snprintf(out, sizeof(out), "%s/memory", harness_folder());
        apus_train_params p = packed_run(out);
        snprintf(many, sizeof(many), "%s#200", rows);
        p.data.paths = &path;
        p.batch = batch;
        p.packing_length = 512;
        p.max_length = 0;
        if (!run(&p, &t, &result))
            return;
        CHECK(t.plan.max_tokens > 400 * batch && t.plan.max_tokens <= 512 * batch);
        CHECK(result.device_peak >= t.plan.device_bytes);
        CHECK(result.device_peak - t.plan.device_bytes < 256 * t.plan.max_tokens);
    }
}

TEST(without_a_length_packs_are_as_long_as_rows_may_be)
{
    char out[1024];
    apus_train_result result;
    told t;

    snprintf(out, sizeof(out), "%s/default", harness_folder());
    apus_train_params p = packed_run(out);
    p.max_steps = 1;
    p.packing_length = 0;
    p.max_length = 100;
    if (run(&p, &t, &result))
        CHECK_EQ_U64(t.plan.pack_length, 100);
    p.max_length = 0;
    if (run(&p, &t, &result))
        CHECK_EQ_U64(t.plan.pack_length, 256); /* max_position_embeddings */
}
