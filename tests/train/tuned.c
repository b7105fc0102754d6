/* tuned.c - runs whose algorithms a tune file chose: the checkpoint holds it, so that they resume
 * with the same bits whatever file lies there then; where it cannot be used, both hashes are
 * said. */
#include "tuned.h"

#include <stdlib.h>

#include "gpu.h"
#include "tiny_run.h"

static char tune_file[1024];

/* A member of a run's checkpoint-10, freed by the caller. */
static char *state_text(const char *folder, const char *key)
{
    char path[1400];
    cJSON *state = NULL;
    char *text = NULL;

    snprintf(path, sizeof(path), "%s/checkpoint-10/apus_state.json", folder);
    if (CHECK_OK(apus_json_read(&state, path)))
        text = apus_strdup(apus_json_string(state, key, ""));
    cJSON_Delete(state);
    return text;
}

/* A file that takes the plain algorithm for the run's first product. */
static bool write_file(const char *folder)
{
    apus_status st;
    apus_gpu *gpu = NULL;
    apus_tuned *t = NULL;
    char *choices = state_text(folder, "choices"), *at = choices ? strstr(choices, "matmul") : NULL;
    char *end = at ? strstr(at, ": ") : NULL;

    snprintf(tune_file, sizeof(tune_file), "%s/tune.json", harness_folder());
    if (!CHECK(end != NULL)) {
        apus_free(choices);
        return false;
    }
    *end = '\0';
    APUS_TRY(apus_gpu_create(&gpu, &(apus_gpu_params) { 0 }));
    APUS_TRY(apus_tuned_create(&t));
    APUS_TRY(apus_tuned_add(t, &(apus_tuned_row) { .problem = at,
                                                   .choice = (char[]) { "plain" },
                                                   .ns = 1,
                                                   .or_else = (char[]) { "cpu" },
                                                   .or_else_ns = 2 }));
    APUS_TRY(apus_tuned_save(t, apus_gpu_caps(gpu), tune_file));
fail:
    apus_tuned_destroy(&t);
    apus_gpu_destroy(&gpu);
    apus_free(choices);
    return CHECK_OK(st);
}

static bool train_with(const char *file, const char *resume, apus_train_result *result)
{
    char out[1024];

    setenv("APUS_TUNE", file, 1);
    snprintf(out, sizeof(out), "%s/run", harness_folder());
    apus_train_params p = base(out);
    p.add_version = true;
    p.resume = resume;
    const bool ok = train(&p, result);
    setenv("APUS_TUNE", "off", 1);
    return ok;
}

/* The tune file in a checkpoint becomes one of another driver. */
static bool spoil(const char *checkpoint)
{
    char path[1500];
    char *text = NULL, *at, *changed;
    size_t bytes;

    snprintf(path, sizeof(path), "%s/apus_state.json", checkpoint);
    if (!CHECK_OK(apus_file_read(&text, &bytes, path, 1 << 20)))
        return false;
    at = strstr(text, "\"driver_version\": ");
    bool ok = CHECK(at != NULL);
    if (ok) {
        changed = apus_format("%.*s\"driver_version\": 1%s", (int)(at - text), text, at + 18);
        ok = CHECK_OK(apus_file_write(path, changed, strlen(changed)));
        apus_free(changed);
    }
    apus_free(text);
    return ok;
}

TEST(a_checkpoint_keeps_the_tune_file)
{
    apus_train_result without, with, resumed;
    char checkpoint[1400], out[1024];

    if (!train_with("off", NULL, &without) || !write_file(without.folder) ||
        !train_with(tune_file, NULL, &with))
        return;
    char *a = state_text(without.folder, "choices_hash"),
         *b = state_text(with.folder, "choices_hash");
    if (a && b)
        CHECK(strlen(a) == 16 && strlen(b) == 16 && strcmp(a, b) != 0);
    /* The file is gone, or there is one that was not there. */
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", with.folder);
    if (train_with("off", checkpoint, &resumed)) {
        same_run(with.folder, resumed.folder);
        same_file(with.folder, resumed.folder, "apus_state.json");
    }
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", without.folder);
    if (train_with(tune_file, checkpoint, &resumed)) {
        same_run(without.folder, resumed.folder);
        same_file(without.folder, resumed.folder, "apus_state.json");
    }
    /* It cannot be used any more: both hashes are said. */
    snprintf(checkpoint, sizeof(checkpoint), "%s/checkpoint-10", with.folder);
    snprintf(out, sizeof(out), "%s/refused", harness_folder());
    apus_train_params p = base(out);
    p.resume = checkpoint;
    if (a && b && spoil(checkpoint)) {
        CHECK_FAILS(apus_train(&p, NULL, &resumed), APUS_ERR_ARG, a);
        CHECK(strstr(apus_error_text(), b) != NULL);
    }
    apus_free(a);
    apus_free(b);
}
