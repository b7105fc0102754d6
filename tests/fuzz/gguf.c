/* gguf.c - fuzz target: a GGUF file is parsed, its config built, every tensor's bytes touched. */
#include "fuzz.h"
#include "config.h"
#include "io_internal.h"

static volatile uint8_t sink;

static void touch(const apus_file_tensor *t)
{
    char name[128];
    uint32_t pairs;

    APUS_BUG_IF(!t->format || t->n_dims > APUS_FILE_DIMS);
    apusi_gguf_name(name, sizeof(name), t->name, &pairs);
    if (!t->data)
        return;
    APUS_BUG_IF(t->dtype >= APUS_DTYPE_COUNT);
    if (t->bytes)
        sink = (uint8_t)(t->data[0] + t->data[t->bytes - 1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const keys[] = { "general.name", "general.alignment", "a", "b", "c" };
    apus_gguf *g;
    cJSON *json;
    apus_config config;

    if (apus_gguf_parse(&g, data, bytes, "fuzz") != APUS_OK)
        return 0;
    for (size_t i = 0; i < apus_gguf_count(g); i++)
        touch(apus_gguf_at(g, i));
    for (size_t i = 0; i < APUS_COUNT(keys); i++) {
        apus_gguf_text text;
        apus_gguf_array array;
        uint32_t u;
        float f;
        bool b;

        if (apus_gguf_string(g, keys[i], &text) == APUS_OK && text.bytes)
            sink = (uint8_t)text.text[text.bytes - 1];
        apus_gguf_u32(g, keys[i], &u);
        apus_gguf_f32(g, keys[i], &f);
        apus_gguf_bool(g, keys[i], &b);
        if (apus_gguf_array_of(g, keys[i], &array) != APUS_OK)
            continue;
        for (uint64_t j = 0; j < array.n && j < 1000; j++) {
            int64_t v;
            double d;

            apus_gguf_array_int(&array, j, &v);
            apus_gguf_array_float(&array, j, &d);
            if (array.texts && array.texts[j].bytes)
                sink = (uint8_t)array.texts[j].text[0];
        }
    }
    if (apusi_gguf_config(&json, g) == APUS_OK) {
        apus_config_read(&config, json);
        cJSON_Delete(json);
    }
    apus_gguf_close(&g);
    return 0;
}
