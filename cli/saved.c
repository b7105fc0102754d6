/* saved.c - what a checkpoint's args.json says, and the template that suits a model. */
#include "saved.h"

#include "base.h"
#include "file.h"
#include "json.h"

/* The folder that may hold an args.json, or NULL. */
static const char *saved_folder(const apus_args *args)
{
    size_t n;
    const char *const *adapters = apus_args_list(args, "adapters", &n);

    return n ? adapters[0] : apus_args_text(args, "model");
}

apus_status apusi_saved_adopt(cJSON **saved, apus_args *args, const char *const *names, size_t n)
{
    const char *folder = saved_folder(args);
    char *path = folder ? apus_path_join(folder, "args.json") : NULL;
    apus_status st = APUS_OK;

    *saved = NULL;
    if (folder && !path)
        return APUS_ERR_MEMORY;
    if (path && apus_path_exists(path)) {
        APUS_TRY(apus_json_read(saved, path));
        for (size_t i = 0; i < n; i++)
            APUS_TRY(apus_args_adopt(args, *saved, names[i]));
        apus_log(APUS_LOG_INFO, "Successfully loaded %s.", path);
    }
fail:
    apus_free(path);
    if (st != APUS_OK) {
        cJSON_Delete(*saved);
        *saved = NULL;
    }
    return st;
}

apus_status apusi_template_of(apus_template_choice *out, const apusi_template_wish *wish)
{
    char *path = apus_path_join(wish->model, "config.json");
    const cJSON *list = NULL, *first;
    cJSON *config = NULL;
    apus_template_hint hint = {
        .template_name = wish->template_name,
        .model_type = wish->model_type,
        .model_name = wish->about->name,
        .chat_template = apus_tokenizer_chat_template(wish->tokenizer),
    };
    apus_status st = path ? APUS_OK : APUS_ERR_MEMORY;

    if (path && apus_path_exists(path)) {
        APUS_TRY(apus_json_read(&config, path));
        list = apus_json_get(config, "architectures");
        first = cJSON_GetArrayItem(list, 0);
        hint.architecture = cJSON_IsString(first) ? first->valuestring : NULL;
    } else {
        hint.gguf_architecture = wish->about->model_type;
    }
    if (st == APUS_OK)
        st = apus_template_choose(out, &hint);
fail:
    cJSON_Delete(config);
    apus_free(path);
    return st;
}
