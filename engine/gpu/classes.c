/* classes.c - the table of classes of GPUs, with what their drivers said. */
#include "classes.h"

#include <stdio.h>

#include "base.h"
#include "caps_json.h"
#include "str.h"

static const apus_gpu_class classes[] = {
#define X(name, caps, example, f32, matrix, bandwidth, memory, dispatch, bus)                      \
    { #name,           example,         (f32)*1e9, (matrix)*1e9,                                   \
      (bandwidth)*1e9, (dispatch)*1e-6, (bus)*1e9, (uint64_t)(memory) << 30 },
#include "classes.def"
#undef X
};

static const char *const recorded[] = {
#define X(name, caps, example, f32, matrix, bandwidth, memory, dispatch, bus) apusi_class_##caps,
#include "classes.def"
#undef X
};

const apus_gpu_class *apus_gpu_classes(size_t *n)
{
    *n = APUS_COUNT(classes);
    return classes;
}

apus_status apus_gpu_class_find(const apus_gpu_class **out, const char *name)
{
    apus_str names = { 0 };
    apus_status st;

    for (size_t i = 0; i < APUS_COUNT(classes); i++)
        if (!strcmp(classes[i].name, name)) {
            *out = &classes[i];
            return APUS_OK;
        }
    for (size_t i = 0; i < APUS_COUNT(classes); i++)
        apus_str_addf(&names, "%s%s", i ? ", " : "", classes[i].name);
    st = apus_fail(APUS_ERR_ARG, "no class of devices is called '%s'; there are %s", name,
                   names.data ? names.data : "");
    apus_str_release(&names);
    return st;
}

apus_status apusi_class_caps(apus_caps *out, const apus_gpu_class *c, uint64_t memory)
{
    const char *text = recorded[c - classes];
    cJSON *json = NULL;
    apus_status st;

    APUS_FORWARD(apus_json_parse(&json, text, strlen(text), c->name));
    st = apus_caps_from_json(out, json, c->name);
    cJSON_Delete(json);
    if (st != APUS_OK)
        return st;
    snprintf(out->name, sizeof(out->name), "%s (%s)", c->name, c->example);
    out->heap = memory ? memory : c->memory;
    if (out->max_alloc > out->heap)
        out->max_alloc = out->heap;
    return APUS_OK;
}
