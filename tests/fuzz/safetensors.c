/* safetensors.c - fuzz target: a safetensors file is parsed and every tensor's bytes touched. */
#include "fuzz.h"
#include "safetensors.h"

static volatile uint8_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    apus_safetensors *f;
    uint64_t sum = 0;

    if (apus_safetensors_parse(&f, data, bytes, "fuzz") != APUS_OK)
        return 0;
    for (size_t i = 0; i < apus_safetensors_count(f); i++) {
        const apus_file_tensor *t = apus_safetensors_at(f, i);

        APUS_BUG_IF(apus_safetensors_find(f, t->name) != t);
        APUS_BUG_IF(apus_file_tensor_elements(t) > t->bytes * 2);
        sum += t->bytes;
        if (t->data && t->bytes)
            sink = (uint8_t)(t->data[0] + t->data[t->bytes - 1]);
    }
    APUS_BUG_IF(sum > bytes);
    apus_safetensors_metadata(f, "format");
    apus_safetensors_close(&f);
    return 0;
}
