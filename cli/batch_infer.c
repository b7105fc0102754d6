/* batch_infer.c - `apus infer --val_dataset`: an answer to each row, as JSON lines. */
#include <stdio.h>

#include "base.h"
#include "file.h"
#include "infer.h"
#include "json.h"

/* The row without its last answer, which becomes the label. */
static size_t questions(const apus_data_row *row, const char **label)
{
    size_t n = row->n_messages;

    *label = NULL;
    if (n && !strcmp(row->messages[n - 1].role, "assistant"))
        *label = row->messages[--n].content;
    return n;
}

static apus_status write_row(const apusi_infer *f, const apus_data_row *row, size_t n,
                             const char *label, const char *path)
{
    cJSON *out = cJSON_CreateObject(), *messages = cJSON_CreateArray();
    apus_status st = APUS_ERR_MEMORY;
    char *text = NULL;

    cJSON_AddStringToObject(out, "response", f->text);
    if (label)
        cJSON_AddStringToObject(out, "labels", label);
    else
        cJSON_AddNullToObject(out, "labels");
    if (!f->o.stream)
        cJSON_AddNullToObject(out, "logprobs");
    for (size_t i = 0; i <= n; i++) {
        cJSON *m = cJSON_CreateObject();
        cJSON_AddStringToObject(m, "role", i < n ? row->messages[i].role : "assistant");
        cJSON_AddStringToObject(m, "content", i < n ? row->messages[i].content : f->text);
        cJSON_AddItemToArray(messages, m);
    }
    cJSON_AddItemToObject(out, "messages", messages);
    cJSON_AddStringToObject(out, "dataset", row->dataset);
    text = apus_json_text(out, 0);
    if (text) {
        st = apus_file_append(path, text, strlen(text));
        if (st == APUS_OK)
            st = apus_file_append(path, "\n", 1);
    }
    apus_free(text);
    cJSON_Delete(out);
    return st;
}

static apus_status make_folder(const char *path)
{
    char *folder = apus_strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    apus_status st = folder ? APUS_OK : APUS_ERR_MEMORY;

    if (slash && slash != folder) {
        *slash = 0;
        st = apus_dir_create(folder);
    }
    apus_free(folder);
    return st;
}

apus_status apusi_infer_batch(apusi_infer *f, const apus_data_params *params, apus_data_part part,
                              const char *path)
{
    apus_status st;
    apus_data *data = NULL;
    size_t done = 0;

    APUS_TRY(apus_data_open(&data, params));
    APUS_TRY(make_folder(path));
    const size_t n = apus_data_count(data, part);
    for (size_t i = 0; i < n && !f->cancel.requested; i++, done++) {
        const apus_data_row *row = apus_data_get(data, part, i);
        const char *label;
        const size_t k = questions(row, &label);
        f->show = false;
        APUS_TRY(apusi_infer_answer(f, row->messages, k));
        if (f->o.stream)
            printf("[QUERY] %s\n[LABELS] %s\n[RESPONSE] %s\n"
                   "--------------------------------------------------\n",
                   k ? row->messages[k - 1].content : "", label ? label : "", f->text);
        APUS_TRY(write_row(f, row, k, label, path));
    }
    printf("{'num_prompt_tokens': %llu, 'num_generated_tokens': %llu, 'num_samples': %zu, "
           "'runtime': %.6f, "
           "'samples/s': %.6f, 'tokens/s': %.6f}\n",
           (unsigned long long)f->prompt_tokens, (unsigned long long)f->new_tokens, done,
           f->seconds, (double)done / (f->seconds + 1e-9),
           (double)f->new_tokens / (f->seconds + 1e-9));
    apus_log(APUS_LOG_INFO, "The inference results have been saved to: %s", path);
fail:
    apus_data_close(&data);
    return st;
}
