/* cmd_export.c - `apus export --merge_lora true`: an adapter added to the weights of its model. */
#include "apus/train.h"
#include "args.h"
#include "base.h"
#include "file.h"
#include "json.h"
#include "options.h"
#include "saved.h"

/* args.json of the merged model: what the training said (template, system), with this command's
 * values over it and without the adapter, which is in the weights now. */
static apus_status write_args(const apus_args *args, const cJSON *saved, const char *folder)
{
    cJSON *all = NULL, *now = NULL;
    apus_status st;

    apus_json_begin();
    APUS_TRY(apus_args_json(&now, args));
    all = saved ? cJSON_Duplicate(saved, true) : cJSON_CreateObject();
    while (now->child) {
        cJSON *item = cJSON_DetachItemViaPointer(now, now->child);

        cJSON_DeleteItemFromObjectCaseSensitive(all, item->string);
        cJSON_AddItemToObject(all, item->string, item);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(all, "adapters");
    cJSON_AddArrayToObject(all, "adapters");
    st = apus_json_write(all, folder, "args.json");
fail:
    cJSON_Delete(now);
    cJSON_Delete(all);
    return st;
}

apus_status apus_cmd_export(apus_args *args)
{
    static const char *const names[] = { "model", "model_type", "torch_dtype" };
    apus_export_options o;
    apus_status st;
    cJSON *saved = NULL;

    APUS_TRY(apusi_saved_adopt(&saved, args, names, APUS_COUNT(names)));
    APUS_TRY(apus_export_options_read(&o, args));
    if (!o.model)
        APUS_TRY(apus_fail(APUS_ERR_ARG,
                           "--model is missing, and %s/args.json does not name the "
                           "model that the adapter was made for",
                           o.adapters.items[0]));
    if (apus_path_exists(o.output_dir)) {
        apus_log(APUS_LOG_INFO,
                 "The weight directory for the merged LoRA already exists in `%s`, "
                 "skipping the saving process.",
                 o.output_dir);
    } else {
        apus_log(APUS_LOG_INFO, "Merge LoRA...");
        APUS_TRY(apus_merge_lora(o.model, o.adapters.items[0], NULL, o.torch_dtype, o.output_dir));
        APUS_TRY(write_args(args, saved, o.output_dir));
        apus_log(APUS_LOG_INFO, "Successfully merged LoRA and saved in `%s`.", o.output_dir);
    }
fail:
    cJSON_Delete(saved);
    return st;
}
