/* peft.c - adapters as files: PEFT's adapter_config.json and adapter_model.safetensors. */
#include <math.h>

#include "adapters_internal.h"
#include "file.h"
#include "json.h"
#include "safetensors.h"

#define KEY "base_model.model.%s.lora_%c.weight"

static apus_status read_config(cJSON **out, const char *folder, apus_lora_config *c)
{
    apus_status st;
    char *path = apus_path_join(folder, "adapter_config.json");
    uint64_t rank = 0;

    *out = NULL;
    if (!path)
        return APUS_ERR_MEMORY;
    if (!apus_path_exists(path))
        APUS_TRY(apus_fail(APUS_ERR_MISSING,
                           "adapter %s: there is no adapter_config.json in it; name a checkpoint "
                           "folder of a LoRA training",
                           folder));
    APUS_TRY(apus_json_read(out, path));
    const char *type = apus_json_string(*out, "peft_type", "");
    if (strcmp(type, "LORA"))
        APUS_TRY(apus_fail(APUS_ERR_SUPPORT,
                           "%s: adapters of type \"%s\" are not supported yet; LORA is", path,
                           type));
    if (apus_json_bool(*out, "use_dora", false))
        APUS_TRY(apus_fail(APUS_ERR_SUPPORT, "%s: DoRA is not supported yet", path));
    APUS_TRY(apus_json_u64(*out, "r", 1, 1024, &rank));
    *c = (apus_lora_config) {
        .rank = (uint32_t)rank,
        .alpha = apus_json_number(*out, "lora_alpha", (double)rank),
        .dropout = apus_json_number(*out, "lora_dropout", 0),
        .rslora = apus_json_bool(*out, "use_rslora", false),
    };
    if (!(c->alpha > 0) || !(c->dropout >= 0 && c->dropout < 1))
        APUS_TRY(apus_fail(APUS_ERR_FORMAT, "%s: lora_alpha %g, lora_dropout %g", path, c->alpha,
                           c->dropout));
fail:
    apus_free(path);
    return st;
}

apus_status apus_adapter_peek(const char *folder, apus_lora_config *out)
{
    cJSON *json;
    const apus_status st = read_config(&json, folder, out);

    cJSON_Delete(json);
    return st;
}

static apus_status find_pair(const apus_safetensors *file, const char *module,
                             const apus_file_tensor *pair[2])
{
    for (int i = 0; i < 2; i++) {
        char *key = apus_format(KEY, module, "AB"[i]);
        if (!key)
            return APUS_ERR_MEMORY;
        pair[i] = apus_safetensors_find(file, key);
        apus_free(key);
    }
    return APUS_OK;
}

static apus_status check_pair(const char *folder, const apus_weight *w,
                              const apus_file_tensor *const pair[2])
{
    const apus_file_tensor *a = pair[0], *b = pair[1];

    if (!a || !b)
        return apus_fail(APUS_ERR_FORMAT, "%s: %s has only one of lora_A and lora_B", folder,
                         w->name);
    if (a->dtype > APUS_BF16 || b->dtype > APUS_BF16)
        return apus_fail(APUS_ERR_SUPPORT, "%s: the adapter of %s has format %s", folder, w->name,
                         a->format);
    if (a->n_dims != 2 || b->n_dims != 2 || a->dims[1] != w->cols || b->dims[0] != w->rows ||
        a->dims[0] != b->dims[1] || a->dims[0] == 0)
        return apus_fail(APUS_ERR_SHAPE,
                         "%s: the adapter of %s is (%llu, %llu) and (%llu, %llu), the weight is "
                         "(%u, %u): it belongs to another model",
                         folder, w->name, (unsigned long long)a->dims[0],
                         (unsigned long long)a->dims[1], (unsigned long long)b->dims[0],
                         (unsigned long long)b->dims[1], w->rows, w->cols);
    return APUS_OK;
}

/* Places first (they decide the slab), then values. */
static apus_status fill_slot(apus_adapters *ad, uint32_t slot, const char *folder,
                             const apus_safetensors *file)
{
    apus_status st = APUS_OK;
    apus_lora_slot *s = &ad->slots[slot];
    const apus_file_tensor *pair[2];
    float *values = NULL;
    size_t used = 0;

    for (uint32_t i = 0; i < ad->n_modules; i++) {
        APUS_TRY(find_pair(file, ad->modules[i].name, pair));
        if (!pair[0] && !pair[1])
            continue;
        APUS_TRY(check_pair(folder, ad->modules[i].weight, pair));
        if (pair[0]->dims[0] > ad->max_rank)
            APUS_TRY(apus_fail(APUS_ERR_SUPPORT, "%s: rank %llu is above %u", folder,
                               (unsigned long long)pair[0]->dims[0], ad->max_rank));
        apusi_slot_place(ad, slot, i, (uint32_t)pair[0]->dims[0]);
        used += 2;
    }
    if (used == 0 || used != apus_safetensors_count(file))
        APUS_TRY(apus_fail(APUS_ERR_SHAPE, "%s: %zu of its %zu tensors belong to this model",
                           folder, used, apus_safetensors_count(file)));
    values = apus_calloc(s->n, sizeof(*values));
    if (!values)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < ad->n_modules; i++) {
        if (!s->places[i].rank)
            continue;
        APUS_TRY(find_pair(file, ad->modules[i].name, pair));
        apus_dtype_decode(pair[0]->dtype, pair[0]->data, apus_file_tensor_elements(pair[0]),
                          values + s->places[i].a);
        apus_dtype_decode(pair[1]->dtype, pair[1]->data, apus_file_tensor_elements(pair[1]),
                          values + s->places[i].b);
    }
    APUS_TRY(apusi_slot_end(ad, slot, values));
fail:
    apus_free(values);
    return st;
}

apus_status apus_adapters_load(apus_adapters *ad, uint32_t slot, const char *folder)
{
    apus_status st;
    apus_lora_config c;
    cJSON *json = NULL;
    apus_safetensors *file = NULL;
    char *path = apus_path_join(folder, "adapter_model.safetensors");

    if (!path)
        return APUS_ERR_MEMORY;
    APUS_TRY(read_config(&json, folder, &c));
    APUS_TRY(apus_safetensors_open(&file, path));
    APUS_TRY(apusi_slot_begin(ad, slot));
    ad->slots[slot].rank = c.rank;
    ad->slots[slot].alpha = c.alpha;
    ad->slots[slot].dropout = c.dropout;
    ad->slots[slot].rslora = c.rslora;
    APUS_TRY(fill_slot(ad, slot, folder, file));
fail:
    cJSON_Delete(json);
    apus_safetensors_close(&file);
    apus_free(path);
    return st;
}
