/* cmd_export.c - `apus export --merge_lora true`: an adapter added to the weights of its model. */
#include "apus/train.h"
#include "args.h"
#include "base.h"
#include "file.h"
#include "json.h"
#include "options.h"

/* The model that the adapter was trained on, unless a flag names one. */
static apus_status adopt_model(apus_args *args)
{
    size_t n;
    const char *const *adapters = apus_args_list(args, "adapters", &n);
    char *path = n ? apus_path_join(adapters[0], "args.json") : NULL;
    cJSON *saved = NULL;
    apus_status st = APUS_OK;

    if (path && apus_path_exists(path)) {
        APUS_TRY(apus_json_read(&saved, path));
        APUS_TRY(apus_args_adopt(args, saved, "model"));
    }
fail:
    cJSON_Delete(saved);
    apus_free(path);
    return st;
}

apus_status apus_cmd_export(apus_args *args)
{
    apus_export_options o;
    apus_status st = APUS_OK;
    char *config = NULL, *saved = NULL;

    APUS_FORWARD(adopt_model(args));
    APUS_FORWARD(apus_export_options_read(&o, args));
    if (!o.merge_lora)
        return apus_fail(APUS_ERR_ARG,
                         "nothing to export: pass --merge_lora true with --adapters FOLDER");
    if (!o.model)
        return apus_fail(APUS_ERR_ARG, "the adapter's args.json names no model: pass --model");
    config = apus_path_join(o.output_dir, "config.json");
    saved = apus_path_join(o.output_dir, "args.json");
    if (!config || !saved)
        APUS_TRY(APUS_ERR_MEMORY);
    if (apus_path_exists(config)) {
        apus_log(APUS_LOG_INFO, "%s exists already and is used as it is", o.output_dir);
    } else {
        APUS_TRY(apus_merge_lora(o.model, o.adapters.items[0], NULL, o.torch_dtype, o.output_dir));
        APUS_TRY(apus_args_write(args, saved));
        apus_log(APUS_LOG_INFO, "Successfully merged LoRA and saved in: %s", o.output_dir);
    }
fail:
    apus_free(config);
    apus_free(saved);
    return st;
}
