/* tiny_run.h - a training run of a tiny model, 20 steps with evaluations and checkpoints at 10 and
 * 20, and whether two of them ended with the same bits. */
#ifndef TINY_RUN_H
#define TINY_RUN_H

#include <stdio.h>

#include "apus/train.h"
#include "file.h"
#include "harness.h"
#include "json.h"
#include "run_log.h"

static char model[1024], rows[1024];
static const char *const paths[] = { rows };

static inline apus_train_params base(const char *out)
{
    snprintf(model, sizeof(model), "%s", harness_fixture("tiny"));
    snprintf(rows, sizeof(rows), "%s", harness_fixture("tiny/sft.jsonl"));
    return (apus_train_params) {
        .model = model,
        .template_name = "chatml",
        .torch_dtype = "float32",
        .data = { .paths = paths, .n_paths = 1, .seed = 42, .shuffle = true, .split_ratio = 0.1 },
        .dataloader_shuffle = true,
        .max_length = 128,
        .lora_rank = 4,
        .lora_alpha = 8,
        .lora_dropout = 0.1,
        .learning_rate = 1e-3,
        .weight_decay = 0.1,
        .adam_beta1 = 0.9,
        .adam_beta2 = 0.95,
        .adam_epsilon = 1e-8,
        .max_grad_norm = 1,
        .lr_scheduler = "cosine",
        .epochs = 3,
        .max_steps = 20,
        .batch = 2,
        .accumulation = 2,
        .seed = 42,
        .save_strategy = 1,
        .save_steps = 10,
        .eval_strategy = 1,
        .eval_steps = 10,
        .logging_steps = 3,
        .output_dir = out,
    };
}

static inline bool train(const apus_train_params *p, apus_train_result *result)
{
    const apus_status st = apus_train(p, NULL, result);

    if (st == APUS_ERR_MISSING)
        harness_skip("%s", apus_error_text());
    else
        return CHECK_OK(st);
    return false;
}

/* A file of both runs' last checkpoints. */
static inline void same_file(const char *a, const char *b, const char *name)
{
    char pa[1400], pb[1400], *ta = NULL, *tb = NULL;
    size_t na = 0, nb = 0;

    snprintf(pa, sizeof(pa), "%s/checkpoint-20/%s", a, name);
    snprintf(pb, sizeof(pb), "%s/checkpoint-20/%s", b, name);
    if (CHECK_OK(apus_file_read(&ta, &na, pa, 1 << 30)) &&
        CHECK_OK(apus_file_read(&tb, &nb, pb, 1 << 30)))
        harness_check(na == nb && !memcmp(ta, tb, na), __FILE__, __LINE__, "%s differs", name);
    apus_free(ta);
    apus_free(tb);
}

/* Every logged value that does not depend on the clock. */
static inline void same_history(const char *a, const char *b)
{
    char path[1400];
    cJSON *ja = NULL, *jb = NULL;
    int n = 0;

    snprintf(path, sizeof(path), "%s/checkpoint-20/trainer_state.json", a);
    CHECK_OK(apus_json_read(&ja, path));
    snprintf(path, sizeof(path), "%s/checkpoint-20/trainer_state.json", b);
    CHECK_OK(apus_json_read(&jb, path));
    const cJSON *ha = cJSON_GetObjectItemCaseSensitive(ja, "log_history");
    const cJSON *hb = cJSON_GetObjectItemCaseSensitive(jb, "log_history"), *x, *v;
    CHECK_EQ_U64(cJSON_GetArraySize(ha), cJSON_GetArraySize(hb));
    for (int i = 0; i < cJSON_GetArraySize(ha); i++) {
        x = cJSON_GetArrayItem(ha, i);
        cJSON_ArrayForEach(v, x) if (!apus_log_is_timing(v->string))
        {
            const cJSON *w = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(hb, i), v->string);
            harness_check(w && w->valuedouble == v->valuedouble, __FILE__, __LINE__,
                          "log %d: %s is %.17g and %.17g", i, v->string, v->valuedouble,
                          w ? w->valuedouble : -1.0);
            n++;
        }
    }
    CHECK(n > 20);
    cJSON_Delete(ja);
    cJSON_Delete(jb);
}

static inline void same_run(const char *a, const char *b)
{
    same_file(a, b, "adapter_model.safetensors");
    same_file(a, b, "optimizer.safetensors");
    same_history(a, b);
}

/* The newest checkpoint-N of a folder (not a .tmp), 0: none. */
static inline unsigned newest(const char *folder)
{
    char **names = NULL;
    size_t n = 0;
    unsigned best = 0, step;

    if (apus_dir_list(&names, &n, folder) != APUS_OK)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!strstr(names[i], ".tmp") && sscanf(names[i], "checkpoint-%u", &step) == 1 &&
            step > best)
            best = step;
        apus_free(names[i]);
    }
    apus_free(names);
    return best;
}

#endif
