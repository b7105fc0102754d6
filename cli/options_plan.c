/* options_plan.c - the options of `apus plan`: those of `apus sft` that shape memory and time. */
#include "base.h"
#include "options.h"

apus_status apus_plan_options_read(apus_plan_options *out, apus_args *args)
{
    *out = (apus_plan_options) { 0 };
    out->model = apus_args_text(args, "model");
    if (!out->model)
        return apus_fail(APUS_ERR_ARG,
                         "--model is missing: name a config.json, a folder in Hugging "
                         "Face's layout, or a GGUF file");
    out->device_class = apus_args_text(args, "device_class");
    if (apus_args_has(args, "device_memory"))
        out->device_memory = (uint64_t)(apus_args_float(args, "device_memory") * 1073741824);
    out->weights = apus_args_text(args, "weights");
    out->torch_dtype = apus_args_text(args, "torch_dtype");
    out->max_length = apus_args_uint(args, "max_length");
    out->packing = apus_args_bool(args, "packing");
    out->packing_length = apus_args_uint(args, "packing_length");
    if (!out->packing && apus_args_given(args, "packing_length"))
        apus_log(APUS_LOG_WARN, "--packing_length has no effect without --packing true");
    out->full = !strcmp(apus_args_text(args, "tuner_type"), "full");
    out->lora_rank = (uint32_t)apus_args_uint(args, "lora_rank");
    out->lora_dropout = apus_args_float(args, "lora_dropout");
    out->target_modules = apusi_targets_asked(args, &out->all_linear);
    out->train_batch_size = (uint32_t)apus_args_uint(args, "per_device_train_batch_size");
    out->gradient_accumulation_steps =
        (uint32_t)apus_args_uint(args, "gradient_accumulation_steps");
    out->gradient_checkpointing = apusi_recompute_asked(args);
    out->optim = apusi_optim_asked(args);
    out->json = !strcmp(apus_args_text(args, "output"), "json");
    return APUS_OK;
}
