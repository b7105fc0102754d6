/* parity.c - runs of the real ModelScope SWIFT 4.6.0, reproduced: SmolLM2-135M-Instruct, f32
 * values of
 * the q4_1 file, the same first adapter and rows.  Token ids and labels equal; learning rate,
 * loss and
 * gradient norm of every step within the tolerances that the recordings state.  Skipped where the
 * model's file is absent. */
#include <math.h>
#include <stdio.h>

#include "apus/train.h"
#include "file.h"
#include "harness.h"
#include "json.h"
#include "safetensors.h"

typedef struct recording {
    const char *name;
    uint64_t steps;
    double lr, warmup;
    const char *scheduler, *loss_scale;
    bool full, rslora;
} recording;

static bool model_path(char path[512])
{
    const char *folder = harness_real_data("smollm2");

    if (folder)
        snprintf(path, 512, "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    return folder != NULL;
}

static cJSON *read_fixture(const char *name)
{
    char file[128];
    cJSON *json = NULL;

    snprintf(file, sizeof(file), "peer/%s_trajectory.json", name);
    CHECK_OK(apus_json_read(&json, harness_fixture(file)));
    return json;
}

/* The ids and labels of the recorded micro batches are those of our template. */
static void check_rows(const cJSON *recorded, const char *model, const recording *r)
{
    char copy[1024];
    const char *data_path = copy;
    apus_tokenizer *tok = NULL;
    const apus_template *tmpl = NULL;
    apus_data *data = NULL;
    const cJSON *micro = cJSON_GetObjectItemCaseSensitive(recorded, "micro"), *m;
    size_t i = 0;

    snprintf(copy, sizeof(copy), "%s", harness_fixture("peer/sft.jsonl"));
    if (!CHECK_OK(apus_tokenizer_open(&tok, model)) ||
        !CHECK_OK(apus_template_find(&tmpl, "chatml")) ||
        !CHECK_OK(apus_data_open(
            &data, &(apus_data_params) { .paths = &data_path, .n_paths = 1, .seed = 42 })))
        goto done;
    cJSON_ArrayForEach(m, micro)
    {
        const cJSON *ids = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(m, "input_ids"), 0),
                    *x;
        const cJSON *labels = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(m, "labels"), 0);
        const apus_data_row *row = apus_data_get(data, APUS_DATA_TRAIN, i++);
        apus_encoded e = { 0 };
        size_t k = 0;
        if (!ids)
            break;
        CHECK_OK(apus_encode_train(&e, tok, tmpl, row->messages, row->n_messages,
                                   &(apus_encode_params) { .loss_scale = r->loss_scale }));
        CHECK_EQ_U64(e.n, cJSON_GetArraySize(ids));
        cJSON_ArrayForEach(x, ids) if (k < e.n) CHECK_EQ_U64(e.ids[k++], x->valuedouble);
        k = 0;
        cJSON_ArrayForEach(x, labels) if (k < e.n) CHECK((double)e.labels[k++] == x->valuedouble);
        apus_encoded_release(&e);
    }
done:
    apus_data_close(&data);
    apus_tokenizer_close(&tok);
}

static void compare_steps(const cJSON *recorded, const char *folder, uint64_t steps)
{
    char path[1200];
    cJSON *state = NULL;
    const cJSON *logs = cJSON_GetObjectItemCaseSensitive(recorded, "logs");

    snprintf(path, sizeof(path), "%s/checkpoint-%llu/trainer_state.json", folder,
             (unsigned long long)steps);
    if (!CHECK_OK(apus_json_read(&state, path)))
        return;
    const cJSON *history = cJSON_GetObjectItemCaseSensitive(state, "log_history");
    for (uint64_t i = 0; i < steps; i++) {
        const cJSON *want = cJSON_GetArrayItem(logs, (int)i),
                    *got = cJSON_GetArrayItem(history, (int)i);
        CHECK_NEAR(apus_json_number(got, "loss", NAN), apus_json_number(want, "loss", 0),
                   i ? 5e-4 : 2e-5);
        CHECK_NEAR(apus_json_number(got, "grad_norm", NAN) / apus_json_number(want, "grad_norm", 1),
                   1, 2e-3);
        CHECK_NEAR(apus_json_number(got, "learning_rate", NAN),
                   apus_json_number(want, "learning_rate", 0), 1e-12);
        CHECK_NEAR(apus_json_number(got, "token_acc", NAN), apus_json_number(want, "token_acc", 0),
                   1e-9);
    }
    cJSON_Delete(state);
}

/* Cosine of the whole change of the adapter with the recorded one. */
static void compare_adapter(const char *folder)
{
    char path[1200];
    apus_safetensors *first = NULL, *want = NULL, *got = NULL;
    double dot = 0, a2 = 0, b2 = 0;

    snprintf(path, sizeof(path), "%s/checkpoint-10/adapter_model.safetensors", folder);
    if (CHECK_OK(apus_safetensors_open(&got, path)) &&
        CHECK_OK(apus_safetensors_open(&first,
                                       harness_fixture("peer/init/adapter_model.safetensors"))) &&
        CHECK_OK(apus_safetensors_open(&want, harness_fixture("peer/sft_final.safetensors"))))
        for (size_t i = 0; i < apus_safetensors_count(want); i++) {
            const apus_file_tensor *w = apus_safetensors_at(want, i);
            const apus_file_tensor *g = apus_safetensors_find(got, w->name),
                                   *f = apus_safetensors_find(first, w->name);
            if (!CHECK(g && f && g->bytes == w->bytes))
                break;
            for (uint64_t k = 0; k < w->bytes; k += 4) {
                float x, y, z;
                memcpy(&x, g->data + k, 4);
                memcpy(&y, w->data + k, 4);
                memcpy(&z, f->data + k, 4);
                const double a = (double)x - (double)z, b = (double)y - (double)z;
                dot += a * b;
                a2 += a * a;
                b2 += b * b;
            }
        }
    CHECK(dot / sqrt(a2 * b2) >= 0.9995);
    apus_safetensors_close(&first);
    apus_safetensors_close(&want);
    apus_safetensors_close(&got);
}

static void run(const recording *r)
{
    char model[512], data_path[1024], init[1024];
    const char *paths[] = { data_path }, *adapters[] = { init };
    apus_train_result result;

    if (!model_path(model))
        return;
    snprintf(data_path, sizeof(data_path), "%s", harness_fixture("peer/sft.jsonl"));
    snprintf(init, sizeof(init), "%s", harness_fixture("peer/init"));
    cJSON *recorded = read_fixture(r->name);
    if (!recorded)
        return;
    check_rows(recorded, model, r);
    const apus_status st =
        apus_train(&(apus_train_params) { .model = model,
                                          .template_name = "chatml",
                                          .torch_dtype = "float32",
                                          .adapters = adapters,
                                          .n_adapters = r->full ? 0 : 1,
                                          .data = { .paths = paths, .n_paths = 1, .seed = 42 },
                                          .max_length = 512,
                                          .loss_scale = r->loss_scale,
                                          .full = r->full,
                                          .lora_rank = 2,
                                          .lora_alpha = 8,
                                          .use_rslora = r->rslora,
                                          .learning_rate = r->lr,
                                          .warmup_ratio = r->warmup,
                                          .weight_decay = 0.1,
                                          .adam_beta1 = 0.9,
                                          .adam_beta2 = 0.95,
                                          .adam_epsilon = 1e-8,
                                          .max_grad_norm = 1,
                                          .lr_scheduler = r->scheduler,
                                          .epochs = 3,
                                          .max_steps = r->steps,
                                          .batch = 1,
                                          .accumulation = 4,
                                          .seed = 42,
                                          .save_strategy = 1,
                                          .save_steps = (double)r->steps,
                                          .logging_steps = 1,
                                          .output_dir = harness_folder() },
                   NULL, &result);
    if (st == APUS_ERR_MISSING) {
        harness_skip("%s", apus_error_text());
    } else if (CHECK_OK(st)) {
        compare_steps(recorded, result.folder, r->steps);
        if (!strcmp(r->name, "sft"))
            compare_adapter(result.folder);
        printf("    %s: %.0f tokens/s\n", r->name, result.tokens_per_s);
    }
    cJSON_Delete(recorded);
}

TEST(sft)
{
    run(&(recording) { "sft", 10, 1e-4, 0, "cosine", "default", false, false });
}

TEST(warmup_linear)
{
    run(&(recording) { "warmup_linear", 6, 1e-4, 0.3, "linear", "default", false, false });
}

TEST(sft_all)
{
    run(&(recording) { "sft_all", 3, 1e-4, 0, "cosine", "all", false, false });
}

TEST(rslora)
{
    run(&(recording) { "rslora", 3, 1e-4, 0, "cosine", "default", false, true });
}

TEST(full)
{
    run(&(recording) { "full", 4, 1e-5, 0, "cosine", "default", true, false });
}
