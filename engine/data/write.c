/* write.c - val_dataset.jsonl: the rows that were split off, so that they can be evaluated again.
 *
 * A message stands as a JSON text inside the list, as ms-swift 4.6 writes it. */
#include "apus/data.h"
#include "file.h"
#include "json.h"

static bool add_text(cJSON *object, const char *key, const char *text)
{
    return !text || cJSON_AddStringToObject(object, key, text);
}

/* {"role":...,"content":...} without spaces. */
static char *message_text(const apus_message *m)
{
    cJSON *object = cJSON_CreateObject();
    char *text = NULL;
    bool ok =
        object && add_text(object, "role", m->role) && add_text(object, "content", m->content);

    if (ok && m->loss != APUS_LOSS_UNSET)
        ok = cJSON_AddBoolToObject(object, "loss", m->loss == APUS_LOSS_TRAIN) != NULL;
    if (ok && m->has_loss_scale)
        ok = apus_json_add_float(object, "loss_scale", (double)m->loss_scale);
    if (ok)
        text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    return text;
}

static bool add_messages(cJSON *row, const char *key, const apus_message *messages, uint32_t n)
{
    cJSON *array = cJSON_AddArrayToObject(row, key);

    for (uint32_t i = 0; array && i < n; i++) {
        char *text = message_text(&messages[i]);
        cJSON *item = text ? cJSON_CreateString(text) : NULL;

        cJSON_free(text);
        if (!item || !cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return array != NULL;
}

static bool add_images(cJSON *object, const apus_data_row *row)
{
    cJSON *array = row->n_images ? cJSON_AddArrayToObject(object, "images") : NULL;

    for (uint32_t i = 0; array && i < row->n_images; i++) {
        cJSON *item = cJSON_CreateString(row->images[i]);
        if (!item || !cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return array || !row->n_images;
}

static bool add_labels(cJSON *object, const apus_data_row *row)
{
    cJSON *array;

    if (row->n_labels == 0)
        return true;
    if (row->n_labels == 1)
        return cJSON_AddNumberToObject(object, "label", row->labels[0]);
    array = cJSON_AddArrayToObject(object, "label");
    for (uint32_t i = 0; array && i < row->n_labels; i++) {
        cJSON *item = cJSON_CreateNumber(row->labels[i]);
        if (!item || !cJSON_AddItemToArray(array, item)) {
            cJSON_Delete(item);
            return false;
        }
    }
    return array != NULL;
}

static char *row_text(const apus_data_row *row)
{
    cJSON *object = cJSON_CreateObject();
    char *text = NULL;
    bool ok = object && add_messages(object, "messages", row->messages, row->n_messages);

    if (ok && row->n_rejected)
        ok = add_messages(object, "rejected_messages", row->rejected, row->n_rejected);
    ok = ok && add_images(object, row) && add_text(object, "tools", row->tools) &&
         add_labels(object, row) && add_text(object, "channel", row->channel);
    if (ok && row->has_margin)
        ok = apus_json_add_float(object, "margin", row->margin);
    if (ok && add_text(object, "dataset", row->dataset))
        text = apus_json_text(object, 0);
    cJSON_Delete(object);
    return text;
}

apus_status apus_data_write_val(const apus_data *data, const char *path)
{
    apus_status st;
    apus_writer writer;

    APUS_FORWARD(apus_writer_open(&writer, path));
    for (size_t i = 0; i < apus_data_count(data, APUS_DATA_VAL); i++) {
        char *text = row_text(apus_data_get(data, APUS_DATA_VAL, i));

        st = text ? apus_writer_add(&writer, text, strlen(text)) : APUS_ERR_MEMORY;
        apus_free(text);
        if (st == APUS_OK)
            st = apus_writer_add(&writer, "\n", 1);
        if (st != APUS_OK)
            goto fail;
    }
    return apus_writer_commit(&writer);

fail:
    apus_writer_release(&writer);
    return st;
}
