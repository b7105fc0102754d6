/* caps_json.c - caps to JSON and back, field by field.  See caps_json.h. */
#include "caps_json.h"

#include <stdio.h>

#define FIELDS(TEXT, U32, U64, BOOL, REAL)                                                         \
    TEXT(name)                                                                                     \
    TEXT(driver)                                                                                   \
    U32(vendor_id)                                                                                 \
    U32(device_id)                                                                                 \
    U32(driver_version)                                                                            \
    U32(api_version)                                                                               \
    BOOL(integrated)                                                                               \
    U32(subgroup)                                                                                  \
    U32(subgroup_min)                                                                              \
    U32(subgroup_max)                                                                              \
    BOOL(subgroup_pinned)                                                                          \
    BOOL(subgroup_arith)                                                                           \
    BOOL(subgroup_shuffle)                                                                         \
    BOOL(uniform_loads)                                                                            \
    BOOL(f16)                                                                                      \
    BOOL(small_ints)                                                                               \
    BOOL(int8_dot)                                                                                 \
    BOOL(int8_fast)                                                                                \
    BOOL(bf16)                                                                                     \
    U32(max_invocations)                                                                           \
    U32(max_shared)                                                                                \
    U32(max_push)                                                                                  \
    U32(max_groups[0])                                                                             \
    U32(max_groups[1])                                                                             \
    U32(max_groups[2])                                                                             \
    U64(max_alloc)                                                                                 \
    U64(heap)                                                                                      \
    BOOL(timestamps)                                                                               \
    REAL(ns_per_tick)                                                                              \
    BOOL(coop_built)

cJSON *apus_caps_to_json(const apus_caps *c)
{
    cJSON *json = cJSON_CreateObject();
    char number[32];

    if (!json)
        return NULL;
#define TEXT(f) cJSON_AddStringToObject(json, #f, c->f);
#define WHOLE(f)                                                                                   \
    snprintf(number, sizeof(number), "%llu", (unsigned long long)c->f);                            \
    cJSON_AddRawToObject(json, #f, number);
#define BOOL(f) cJSON_AddBoolToObject(json, #f, c->f);
#define REAL(f) apus_json_add_float(json, #f, c->f);
    FIELDS(TEXT, WHOLE, WHOLE, BOOL, REAL)
#undef TEXT
#undef WHOLE
#undef BOOL
#undef REAL
    cJSON_AddBoolToObject(json, "cpu", c->device_class == APUS_CLASS_CPU);
    cJSON *shapes = cJSON_AddArrayToObject(json, "coop");
    for (uint32_t i = 0; shapes && i < c->n_coop; i++) {
        char text[64];

        snprintf(text, sizeof(text), "%ux%ux%u %s", c->coop[i].m, c->coop[i].n, c->coop[i].k,
                 apus_dtype_of(c->coop[i].in)->name);
        cJSON_AddItemToArray(shapes, cJSON_CreateString(text));
    }
    return json;
}

static apus_status missing(const char *path, const char *key)
{
    return apus_fail(APUS_ERR_FORMAT, "%s: '%s' is missing or of another type", path, key);
}

static apus_status read_shapes(apus_caps *c, const cJSON *json, const char *path)
{
    const cJSON *shapes = cJSON_GetObjectItemCaseSensitive(json, "coop"), *s;

    if (!cJSON_IsArray(shapes) || cJSON_GetArraySize(shapes) > APUS_MAX_COOP)
        return missing(path, "coop");
    cJSON_ArrayForEach(s, shapes)
    {
        apus_coop_shape *to = &c->coop[c->n_coop++];
        char type[16] = "";

        if (!cJSON_IsString(s) ||
            sscanf(s->valuestring, "%ux%ux%u %15s", &to->m, &to->n, &to->k, type) != 4 ||
            !apus_dtype_by_name(type, &to->in))
            return missing(path, "coop");
    }
    return APUS_OK;
}

static apus_status read_fields(apus_caps *c, const cJSON *json, const char *path)
{
    const cJSON *item;
    uint64_t number;

#define TAKE(f, is)                                                                                \
    item = cJSON_GetObjectItemCaseSensitive(json, #f);                                             \
    if (!is(item))                                                                                 \
        return missing(path, #f);
#define TEXT(f)                                                                                    \
    TAKE(f, cJSON_IsString)                                                                        \
    snprintf(c->f, sizeof(c->f), "%s", item->valuestring);
#define U32(f)                                                                                     \
    APUS_FORWARD(apus_json_u64(json, #f, 0, UINT32_MAX, &number));                                 \
    c->f = (uint32_t)number;
#define U64(f)                                                                                     \
    APUS_FORWARD(apus_json_u64(json, #f, 0, UINT64_MAX, &number));                                 \
    c->f = number;
#define BOOL(f)                                                                                    \
    TAKE(f, cJSON_IsBool)                                                                          \
    c->f = cJSON_IsTrue(item);
#define REAL(f)                                                                                    \
    TAKE(f, cJSON_IsNumber)                                                                        \
    c->f = item->valuedouble;
    FIELDS(TEXT, U32, U64, BOOL, REAL)
#undef TEXT
#undef U32
#undef U64
#undef BOOL
#undef REAL
    TAKE(cpu, cJSON_IsBool)
    c->device_class = cJSON_IsTrue(item) ? APUS_CLASS_CPU : APUS_CLASS_GPU;
#undef TAKE
    return read_shapes(c, json, path);
}

apus_status apus_caps_from_json(apus_caps *caps, const cJSON *json, const char *where)
{
    memset(caps, 0, sizeof(*caps));
    return read_fields(caps, json, where);
}
