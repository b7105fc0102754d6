/* result.c - rows of the file of answers, as ms-swift writes them. */
#include "base.h"
#include "file.h"
#include "infer.h"
#include "json.h"

static bool add_message(cJSON *list, const char *role, const char *content)
{
    cJSON *m = cJSON_CreateObject();

    if (!m || !cJSON_AddItemToArray(list, m)) {
        cJSON_Delete(m);
        return false;
    }
    return cJSON_AddStringToObject(m, "role", role) &&
           cJSON_AddStringToObject(m, "content", content);
}

static bool add_messages(cJSON *out, const apusi_result_row *row)
{
    cJSON *list = cJSON_AddArrayToObject(out, "messages");

    for (size_t i = 0; list && i < row->n; i++) {
        if (!add_message(list, row->messages[i].role, row->messages[i].content))
            return false;
    }
    return list && add_message(list, "assistant", row->response);
}

static bool fill(cJSON *out, const apusi_result_row *row)
{
    static const char *const media[] = { "images", "audios", "videos" };

    if (!cJSON_AddStringToObject(out, "response", row->response))
        return false;
    if (row->dataset) {
        if (row->label ? !cJSON_AddStringToObject(out, "labels", row->label)
                       : !cJSON_AddNullToObject(out, "labels"))
            return false;
        if (row->logprobs && !cJSON_AddNullToObject(out, "logprobs"))
            return false;
        return add_messages(out, row) && cJSON_AddStringToObject(out, "dataset", row->dataset);
    }
    for (size_t i = 0; i < APUS_COUNT(media); i++) {
        if (i == 0 && !add_messages(out, row))
            return false;
        if (!cJSON_AddArrayToObject(out, media[i]))
            return false;
    }
    return true;
}

static apus_status make_folder(const char *path)
{
    char *folder = apus_strdup(path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    apus_status st = folder ? APUS_OK : APUS_ERR_MEMORY;

    if (slash && slash != folder) {
        *slash = '\0';
        st = apus_dir_create(folder);
    }
    apus_free(folder);
    return st;
}

apus_status apusi_result_add(const char *path, const apusi_result_row *row)
{
    cJSON *out = cJSON_CreateObject();
    char *text = out && fill(out, row) ? apus_json_text(out, 0) : NULL;
    char *line = text ? apus_format("%s\n", text) : NULL;
    apus_status st;

    cJSON_Delete(out);
    apus_free(text);
    if (!line)
        return apus_fail(APUS_ERR_MEMORY, "%s: out of memory", path);
    st = make_folder(path);
    if (st == APUS_OK)
        st = apus_file_append(path, line, strlen(line));
    apus_free(line);
    return st;
}
