/* dump_caps.c - prints what the first usable device can do: `dump_caps >FILE.json`. */
#include <stdio.h>
#include <stdlib.h>

#include "caps_json.h"
#include "gpu.h"

int main(void)
{
    apus_gpu *gpu = NULL;

    if (apus_gpu_create(&gpu, NULL) != APUS_OK) {
        fprintf(stderr, "%s\n", apus_error_text());
        return 1;
    }
    cJSON *json = apus_caps_to_json(apus_gpu_caps(gpu));
    char *text = json ? apus_json_text(json, 1) : NULL;

    if (text)
        puts(text);
    cJSON_Delete(json);
    apus_gpu_destroy(&gpu);
    const int failed = !text;
    apus_free(text);
    return failed;
}
