/* json.c - fuzz target: a text is parsed, printed, parsed again and read as a model's config. */
#include "config.h"
#include "fuzz.h"

static void check_frequencies(const apus_config *config)
{
    static float inv_freq[2048];
    float scale;

    APUS_BUG_IF(config->head_dim / 2 > APUS_COUNT(inv_freq));
    apus_rope_frequencies(config, inv_freq, &scale);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    cJSON *json, *again;
    apus_config config;

    if (apus_json_parse(&json, (const char *)data, bytes, "fuzz") != APUS_OK)
        return 0;
    for (int indent = 0; indent <= 2; indent += 2) {
        char *text = apus_json_text(json, indent);
        char *second;

        APUS_BUG_IF(!text);
        APUS_BUG_IF(apus_json_parse(&again, text, strlen(text), "again") != APUS_OK);
        second = apus_json_text(again, indent);
        APUS_BUG_IF(!second || strcmp(text, second) != 0);
        apus_free(second);
        cJSON_Delete(again);
        apus_free(text);
    }
    if (apus_config_read(&config, json) == APUS_OK)
        check_frequencies(&config);
    cJSON_Delete(json);
    return 0;
}
