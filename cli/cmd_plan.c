/* cmd_plan.c - `apus plan`: what a run would take on a GPU that is not there. */
#include <stdio.h>

#include "args.h"
#include "base.h"
#include "plan.h"

static apus_forecast_params params_of(const apus_plan_options *o, const char *device_class)
{
    return (apus_forecast_params) {
        .train = { .model = o->model,
                   .torch_dtype = o->torch_dtype,
                   .device_class = device_class,
                   .class_memory = o->device_memory,
                   .max_length = o->max_length,
                   .packing = o->packing ? APUS_PACKING_BINPACK : APUS_PACKING_NONE,
                   .packing_length = o->packing_length,
                   .full = o->full,
                   .lora_rank = o->lora_rank,
                   .lora_alpha = 32,
                   .lora_dropout = o->lora_dropout,
                   .targets = o->all_linear ? NULL : o->target_modules.items,
                   .n_targets = o->all_linear ? 0 : o->target_modules.n,
                   .batch = o->train_batch_size,
                   .accumulation = o->gradient_accumulation_steps,
                   .recompute = o->gradient_checkpointing,
                   .optim = o->optim },
        .weights = o->weights,
    };
}

static apus_status print(apus_str *text)
{
    const bool whole = !text->failed && text->data;
    const bool ok = whole && fputs(text->data, stdout) >= 0 && fflush(stdout) == 0;

    apus_str_release(text);
    return ok      ? APUS_OK
           : whole ? apus_fail(APUS_ERR_IO, "plan: the text could not be written")
                   : apus_fail(APUS_ERR_MEMORY, "plan: out of memory");
}

static apus_status print_json(cJSON *json)
{
    apus_str text = { 0 };
    char *plain = json ? apus_json_text(json, 2) : NULL;

    apus_str_add(&text, plain ? plain : "");
    apus_str_add(&text, "\n");
    text.failed |= !plain;
    apus_free(plain);
    return print(&text);
}

/* One class in full; that the run does not fit is told, and is a failure as it is in `apus sft`. */
static apus_status plan_one(const apus_plan_options *o)
{
    const apus_forecast_params params = params_of(o, o->device_class);
    const apus_gpu_class *device;
    apus_forecast f;
    apus_str text = { 0 };
    cJSON *json = NULL;
    apus_status st;
    size_t n;

    APUS_TRY(apus_forecast_make(&f, &params));
    for (device = apus_gpu_classes(&n); strcmp(device->name, o->device_class) != 0; device++)
        ;
    if (o->json) {
        json = apusi_plan_json(device, &f);
        APUS_TRY(print_json(json));
    } else {
        apusi_plan_page(&text, o, device, &f);
        APUS_TRY(print(&text));
    }
    if (!f.training.fits)
        st = apus_fail(APUS_ERR_MEMORY, "%s", f.training.why ? f.training.why : "out of memory");
fail:
    cJSON_Delete(json);
    apus_forecast_release(&f);
    return st;
}

/* A line for each class. */
static apus_status plan_all(const apus_plan_options *o)
{
    size_t n;
    const apus_gpu_class *devices = apus_gpu_classes(&n);
    apus_str text = { 0 };
    cJSON *all = cJSON_CreateArray();
    apus_status st = APUS_OK;

    apusi_plan_line(&text, NULL);
    for (size_t i = 0; i < n && st == APUS_OK; i++) {
        const apus_forecast_params params = params_of(o, devices[i].name);
        apus_forecast f;

        st = apus_forecast_make(&f, &params);
        if (st == APUS_ERR_MEMORY) { /* a tensor is larger than any may be there: an answer too */
            apus_log(APUS_LOG_WARN, "%s: %s", devices[i].name, apus_error_text());
            st = APUS_OK;
        } else if (st == APUS_OK && o->json) {
            cJSON_AddItemToArray(all, apusi_plan_json(&devices[i], &f));
        } else if (st == APUS_OK) {
            apusi_plan_line(&text, &f);
        }
        apus_forecast_release(&f);
    }
    if (st == APUS_OK)
        st = o->json ? print_json(all) : print(&text);
    apus_str_release(&text);
    cJSON_Delete(all);
    return st;
}

apus_status apus_cmd_plan(apus_args *args)
{
    apus_plan_options o;

    APUS_FORWARD(apus_plan_options_read(&o, args));
    return o.device_class ? plan_one(&o) : plan_all(&o);
}
