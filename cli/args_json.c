/* args_json.c - args.json: the values in force, as swift writes them beside each result. */
#include "base.h"
#include "cli_internal.h"

static bool add(cJSON *to, const apusi_value *value)
{
    const char *name = value->row->name;
    cJSON *list;

    if (!value->set && value->row->type != APUS_ARG_STRINGS)
        return cJSON_AddNullToObject(to, name) != NULL;
    switch (value->row->type) {
    case APUS_ARG_BOOL:
        return cJSON_AddBoolToObject(to, name, value->on) != NULL;
    case APUS_ARG_INT:
    case APUS_ARG_UINT:
        return cJSON_AddNumberToObject(to, name, (double)value->whole) != NULL;
    case APUS_ARG_FLOAT:
        return apus_json_add_float(to, name, value->real);
    case APUS_ARG_STRING:
    case APUS_ARG_CHOICE:
        return cJSON_AddStringToObject(to, name, value->texts[0]) != NULL;
    case APUS_ARG_STRINGS:
        break;
    }
    list = cJSON_AddArrayToObject(to, name);
    for (size_t i = 0; list && i < value->n_texts; i++) {
        cJSON *text = cJSON_CreateString(value->texts[i]);

        if (!text || !cJSON_AddItemToArray(list, text)) {
            cJSON_Delete(text);
            return false;
        }
    }
    return list != NULL;
}

apus_status apus_args_json(cJSON **out, const apus_args *args)
{
    cJSON *all = cJSON_CreateObject();

    *out = NULL;
    for (size_t i = 0; all && i < args->n_values; i++) {
        if (!add(all, &args->values[i])) {
            cJSON_Delete(all);
            all = NULL;
        }
    }
    if (!all)
        return apus_fail(APUS_ERR_MEMORY, "args.json: out of memory");
    *out = all;
    return APUS_OK;
}
