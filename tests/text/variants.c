/* variants.c - every feature of a tokenizer.json by itself: one small vocabulary with one thing
 * changed in each variant, against the ids that Hugging Face's tokenizers 0.23 gives. */
#include "apus/text.h"
#include "recorded.h"
#include "text_internal.h"

static bool same_ids(const apus_tokens *got, const cJSON *want)
{
    const cJSON *id;
    size_t i = 0;

    cJSON_ArrayForEach(id, want)
    {
        if (i >= got->n || (double)got->ids[i] != id->valuedouble)
            return false;
        i++;
    }
    return i == got->n;
}

static void change_model(cJSON *model, const cJSON *change)
{
    const cJSON *item, *entry;

    cJSON_ArrayForEach(item, change)
    {
        cJSON *vocab = cJSON_GetObjectItemCaseSensitive(model, "vocab");

        if (!strcmp(item->string, "vocab_without")) {
            cJSON_ArrayForEach(entry, item)
                cJSON_DeleteItemFromObjectCaseSensitive(vocab, entry->valuestring);
        } else if (!strcmp(item->string, "vocab_with")) {
            cJSON_ArrayForEach(entry, item)
                cJSON_AddItemToObject(vocab, entry->string, cJSON_Duplicate(entry, true));
        } else {
            cJSON_ReplaceItemInObjectCaseSensitive(model, item->string,
                                                   cJSON_Duplicate(item, true));
        }
    }
}

static apus_tokenizer *variant_tokenizer(const cJSON *base, const cJSON *change)
{
    cJSON *root = cJSON_Duplicate(base, true);
    apus_tokenizer *t = NULL;
    const cJSON *item;

    cJSON_ArrayForEach(item, change)
    {
        if (!strcmp(item->string, "model"))
            change_model(cJSON_GetObjectItemCaseSensitive(root, "model"), item);
        else
            cJSON_ReplaceItemInObjectCaseSensitive(root, item->string, cJSON_Duplicate(item, true));
    }
    char *text = apus_json_text(root, 0);
    CHECK_OK(apusi_tokenizer_from_json(&t, text, strlen(text), "variant"));
    apus_free(text);
    cJSON_Delete(root);
    return t;
}

static void check_ids(const apus_tokenizer *t, const char *name, const cJSON *row, unsigned flags,
                      const char *key)
{
    const char *text = apus_json_string(row, "text", "");
    const cJSON *want = apus_json_get(row, key);
    apus_tokens ids = { 0 };

    CHECK_OK(apus_tokenizer_encode(t, text, strlen(text), flags, &ids));
    harness_check(same_ids(&ids, want ? want : apus_json_get(row, "ids")), __FILE__, __LINE__,
                  "%s: %s of '%s'", name, key, text);
    apus_tokens_release(&ids);
}

static void check_row(const apus_tokenizer *t, const char *name, const cJSON *row)
{
    const char *text = apus_json_string(row, "text", "");
    const unsigned parse = APUS_ENCODE_PARSE_SPECIAL;
    apus_tokens ids = { 0 };
    apus_text decoded = { 0 };

    check_ids(t, name, row, parse, "ids");
    check_ids(t, name, row, parse | APUS_ENCODE_ADD_SPECIAL, "ids_with_special");
    check_ids(t, name, row, 0, "ids_as_text");
    CHECK_OK(apus_tokenizer_encode(t, text, strlen(text), parse, &ids));
    CHECK_OK(apus_tokenizer_decode(t, ids.ids, ids.n, true, &decoded));
    CHECK_EQ_STR(decoded.data, apus_json_string(row, "decoded_skip_special", text));
    apus_text_release(&decoded);
    apus_tokens_release(&ids);
}

TEST(one_feature_at_a_time)
{
    cJSON *file = NULL;
    const cJSON *variant, *row;
    size_t n = 0;

    REQUIRE_OK(apus_json_read(&file, harness_fixture("text/variants.json")));
    cJSON_ArrayForEach(variant, apus_json_get(file, "variants"))
    {
        const char *name = apus_json_string(variant, "name", "");
        apus_tokenizer *t =
            variant_tokenizer(apus_json_get(file, "base"), apus_json_get(variant, "change"));

        REQUIRE(t != NULL);
        cJSON_ArrayForEach(row, apus_json_get(variant, "rows")) check_row(t, name, row);
        apus_tokenizer_close(&t);
        n++;
    }
    CHECK_EQ_U64(n, 37);
    cJSON_Delete(file);
}
