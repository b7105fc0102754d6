/* peft_save.c - writing adapters as PEFT folders, and merging them into weights. */
#include "adapters_internal.h"
#include "file.h"
#include "json.h"
#include "safetensors.h"

/* The last parts of the names of the modules that have the adapter, each once. */
static cJSON *targets_of(const apus_adapters *ad, const apus_lora_slot *s)
{
    cJSON *list = cJSON_CreateArray();

    for (uint32_t i = 0; i < ad->n_modules; i++) {
        const char *dot = strrchr(ad->modules[i].name, '.');
        const char *last = dot ? dot + 1 : ad->modules[i].name;
        const cJSON *t;
        bool known = false;
        if (!s->places[i].rank)
            continue;
        cJSON_ArrayForEach(t, list) known = known || !strcmp(t->valuestring, last);
        if (!known)
            cJSON_AddItemToArray(list, cJSON_CreateString(last));
    }
    return list;
}

static apus_status write_config(const apus_adapters *ad, const apus_lora_slot *s,
                                const char *folder, const char *base)
{
    cJSON *c;

    apus_json_begin();
    c = cJSON_CreateObject();
    cJSON_AddStringToObject(c, "base_model_name_or_path", base);
    cJSON_AddStringToObject(c, "bias", "none");
    cJSON_AddBoolToObject(c, "fan_in_fan_out", false);
    cJSON_AddBoolToObject(c, "inference_mode", true);
    cJSON_AddBoolToObject(c, "init_lora_weights", true);
    apus_json_add_float(c, "lora_alpha", s->alpha);
    apus_json_add_float(c, "lora_dropout", s->dropout);
    cJSON_AddItemToObject(c, "modules_to_save", cJSON_CreateArray());
    cJSON_AddStringToObject(c, "peft_type", "LORA");
    cJSON_AddNumberToObject(c, "r", s->rank);
    cJSON_AddItemToObject(c, "target_modules", targets_of(ad, s));
    cJSON_AddStringToObject(c, "task_type", "CAUSAL_LM");
    cJSON_AddBoolToObject(c, "use_dora", false);
    cJSON_AddBoolToObject(c, "use_rslora", s->rslora);
    const apus_status st = apus_json_write(c, folder, "adapter_config.json");
    cJSON_Delete(c);
    return st;
}

static apus_status write_tensors(const apus_adapters *ad, const apus_lora_slot *s,
                                 const char *folder, const float *values)
{
    apus_status st = APUS_OK;
    apus_safetensors_entry *e = apus_calloc(2 * (size_t)ad->n_modules + 1, sizeof(*e));
    char **names = apus_calloc(2 * (size_t)ad->n_modules + 1, sizeof(*names));
    char *path = apus_path_join(folder, "adapter_model.safetensors");
    const apus_safetensors_pair format = { "format", "pt" };
    size_t n = 0;

    if (!e || !names || !path)
        APUS_TRY(APUS_ERR_MEMORY);
    for (uint32_t i = 0; i < ad->n_modules; i++) {
        const apus_lora_place *p = &s->places[i];
        const apus_weight *w = ad->modules[i].weight;
        for (int k = 0; k < 2 && p->rank; k++, n++) {
            names[n] =
                apus_format("base_model.model.%s.lora_%c.weight", ad->modules[i].name, "AB"[k]);
            if (!names[n])
                APUS_TRY(APUS_ERR_MEMORY);
            e[n] =
                (apus_safetensors_entry) { .name = names[n],
                                           .dtype = APUS_F32,
                                           .n_dims = 2,
                                           .dims = { k ? w->rows : p->rank, k ? p->rank : w->cols },
                                           .data = values + (k ? p->b : p->a) };
        }
    }
    APUS_TRY(apus_safetensors_write(path, e, n, &format, 1));
fail:
    for (size_t i = 0; names && i < 2 * (size_t)ad->n_modules; i++)
        apus_free(names[i]);
    apus_free(names);
    apus_free(e);
    apus_free(path);
    return st;
}

apus_status apus_adapters_save(const apus_adapters *ad, uint32_t slot, const char *folder,
                               const char *base_model)
{
    apus_status st;
    const apus_lora_slot *s = &ad->slots[slot];
    float *values = apus_alloc(s->n * 4);

    if (!values)
        return APUS_ERR_MEMORY;
    APUS_TRY(apus_buffer_read(ad->model->gpu, &s->slab, 0, values, s->n * 4));
    APUS_TRY(apus_dir_create(folder));
    APUS_TRY(write_config(ad, s, folder, base_model));
    APUS_TRY(write_tensors(ad, s, folder, values));
fail:
    apus_free(values);
    return st;
}

apus_status apus_adapters_merge(const apus_adapters *ad, uint32_t slot, const char *weight,
                                float *values)
{
    apus_status st = APUS_OK;
    const apus_lora_slot *s = &ad->slots[slot];
    uint32_t m = 0;
    float *a = NULL, *b = NULL;

    while (m < ad->n_modules && strcmp(ad->modules[m].weight->name, weight))
        m++;
    if (m == ad->n_modules || !s->places || !s->places[m].rank)
        return APUS_OK;
    const apus_lora_place *p = &s->places[m];
    const uint32_t rows = ad->modules[m].weight->rows, cols = ad->modules[m].weight->cols;
    a = apus_alloc(4 * (uint64_t)p->rank * cols);
    b = apus_alloc(4 * (uint64_t)p->rank * rows);
    if (!a || !b)
        APUS_TRY(APUS_ERR_MEMORY);
    APUS_TRY(apus_buffer_read(ad->model->gpu, &s->slab, 4 * p->a, a, 4 * (uint64_t)p->rank * cols));
    APUS_TRY(apus_buffer_read(ad->model->gpu, &s->slab, 4 * p->b, b, 4 * (uint64_t)p->rank * rows));
    for (uint32_t i = 0; i < rows; i++)
        for (uint32_t r = 0; r < p->rank; r++) {
            const float f = s->scale * b[(uint64_t)i * p->rank + r];
            for (uint32_t k = 0; k < cols; k++)
                values[(uint64_t)i * cols + k] += f * a[(uint64_t)r * cols + k];
        }
fail:
    apus_free(a);
    apus_free(b);
    return st;
}
