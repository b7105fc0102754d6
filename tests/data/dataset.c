/* Splits, samples and shuffles against what ms-swift 4.6 returned; the validation file. */
#include <stdio.h>

#include "data_internal.h"
#include "harness.h"

static cJSON *golden(void)
{
    cJSON *json = NULL;

    CHECK_OK(apus_json_read(&json, harness_fixture("data/order_swift.json")));
    return json;
}

/* Row k of uniq.jsonl asks "qk". */
static uint32_t number_of(const apus_data *data, apus_data_part part, size_t i)
{
    const apus_data_row *row = apus_data_get(data, part, i);
    uint32_t k = UINT32_MAX;

    sscanf(row->messages[0].content, "q%u", &k);
    CHECK_EQ_U64(row->line, k + 1);
    return k;
}

static void check_part(const cJSON *want, const apus_data *data, apus_data_part part,
                       const char *key)
{
    const size_t n = cJSON_IsNull(want) ? 0 : (size_t)cJSON_GetArraySize(want);
    const cJSON *item = want->child;

    if (!harness_check(apus_data_count(data, part) == n, __FILE__, __LINE__,
                       "%s: %zu rows, not %zu", key, apus_data_count(data, part), n))
        return;
    for (size_t i = 0; i < n; i++, item = item->next) {
        const uint32_t got = number_of(data, part, i);
        if (!harness_check(got == (uint32_t)item->valuedouble, __FILE__, __LINE__,
                           "%s: row %zu is %u, not %g", key, i, got, item->valuedouble))
            return;
    }
}

TEST(orders_equal_the_reference)
{
    cJSON *json = golden(), *entry;
    size_t cases = 0;

    cJSON_ArrayForEach(entry, json)
    {
        char path[600];
        const char *brace = strchr(entry->string, '{');
        cJSON *args = NULL;
        apus_data *data = NULL;

        if (!brace)
            continue;
        const int n = (int)(brace - entry->string - 1);
        snprintf(path, sizeof path, "%s%.*s", harness_fixture(""), n, entry->string);
        REQUIRE_OK(apus_json_parse(&args, brace, strlen(brace), "arguments"));
        const char *paths[] = { path };
        const apus_data_params params = {
            .paths = paths,
            .n_paths = 1,
            .split_ratio = apus_json_number(args, "split_dataset_ratio", 0.0),
            .shuffle = apus_json_bool(args, "shuffle", false),
            .seed = (uint64_t)apus_json_number(args, "seed", 0.0),
        };
        if (CHECK_OK(apus_data_open(&data, &params))) {
            check_part(cJSON_GetObjectItemCaseSensitive(entry, "train"), data, APUS_DATA_TRAIN,
                       entry->string);
            check_part(cJSON_GetObjectItemCaseSensitive(entry, "val"), data, APUS_DATA_VAL,
                       entry->string);
        }
        apus_data_close(&data);
        cJSON_Delete(args);
        cases++;
    }
    CHECK_EQ_U64(cases, 8);
    cJSON_Delete(json);
}

TEST(another_seed_gives_another_order)
{
    const char *paths[] = { harness_fixture("data/uniq.jsonl") };
    apus_data_params params = { .paths = paths, .n_paths = 1, .shuffle = true, .seed = 43 };
    apus_data *data = NULL;

    /* numpy 2.4.6: the second draw of RandomState(43) as default_rng's seed, permutation(200). */
    static const uint32_t want[5] = { 194, 61, 134, 95, 2 };
    REQUIRE_OK(apus_data_open(&data, &params));
    for (size_t i = 0; i < 5; i++)
        CHECK_EQ_U64(number_of(data, APUS_DATA_TRAIN, i), want[i]);
    apus_data_close(&data);
}

TEST(two_sets_are_split_one_by_one_and_shuffled_together)
{
    char path[600], sampled[640];
    snprintf(path, sizeof path, "%s", harness_fixture("data/uniq.jsonl"));
    snprintf(sampled, sizeof sampled, "%s#30", path);
    const char *paths[] = { path, sampled };
    const apus_data_params params = {
        .paths = paths, .n_paths = 2, .shuffle = true, .seed = 42, .split_ratio = 0.1
    };
    /* numpy 2.4.6, following the order of draws that the reference was seen to have. */
    static const uint32_t train[8] = { 70, 66, 28, 114, 19, 143, 58, 166 };
    static const uint32_t val[8] = { 159, 134, 175, 178, 131, 18, 145, 106 };
    apus_data *data = NULL;

    REQUIRE_OK(apus_data_open(&data, &params));
    REQUIRE(apus_data_count(data, APUS_DATA_TRAIN) == 180 + 27);
    REQUIRE(apus_data_count(data, APUS_DATA_VAL) == 20 + 3);
    for (size_t i = 0; i < 8; i++) {
        CHECK_EQ_U64(number_of(data, APUS_DATA_TRAIN, i), train[i]);
        CHECK_EQ_U64(number_of(data, APUS_DATA_VAL, i), val[i]);
    }
    apus_data_close(&data);
}

TEST(a_validation_set_of_its_own_is_not_split_off)
{
    const char *uniq = harness_fixture("data/uniq.jsonl");
    char sampled[640];
    snprintf(sampled, sizeof sampled, "%s#5", uniq);
    char copy[600];
    snprintf(copy, sizeof copy, "%.*s", (int)(strlen(sampled) - 2), sampled);
    const char *paths[] = { copy }, *val[] = { sampled };
    apus_data_params params = { .paths = paths,
                                .n_paths = 1,
                                .val_paths = val,
                                .n_val_paths = 1,
                                .split_ratio = 0.5,
                                .seed = 42 };
    apus_data *data = NULL;

    REQUIRE_OK(apus_data_open(&data, &params));
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 200);
    REQUIRE(apus_data_count(data, APUS_DATA_VAL) == 5);
    for (size_t i = 0; i < 5; i++)
        CHECK_EQ_U64(number_of(data, APUS_DATA_VAL, i), i);
    apus_data_close(&data);

    snprintf(sampled, sizeof sampled, "%s#201", copy);
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "only 200 usable rows");
}

TEST(requests_out_of_range_say_so)
{
    char path[600];
    const char *paths[] = { path };
    apus_data_params params = { .paths = paths, .n_paths = 1, .split_ratio = 1.0 };
    apus_data *data = NULL;

    snprintf(path, sizeof path, "%s#0", harness_fixture("data/uniq.jsonl"));
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "split_dataset_ratio is 1");
    params.split_ratio = 0.0;
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "#0 asks for no row");
    snprintf(path, sizeof path, "%s#99999999999999999999", harness_fixture("data/uniq.jsonl"));
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "at most");
    snprintf(path, sizeof path, "%s#1", harness_fixture("data/uniq.jsonl"));
    params.split_ratio = 0.5;
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "none is left to train");
    params.split_ratio = 0.0;
    params.seed = (uint64_t)1 << 32;
    CHECK_FAILS(apus_data_open(&data, &params), APUS_ERR_ARG, "data_seed");
}

TEST(a_file_whose_name_has_a_hash_is_itself)
{
    char path[600];
    const char *paths[] = { path };
    const char *text = "{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n";
    const apus_data_params params = { .paths = paths, .n_paths = 1 };
    apus_data *data = NULL;

    snprintf(path, sizeof path, "%s/rows#2", harness_folder());
    REQUIRE_OK(apus_file_write(path, text, strlen(text)));
    REQUIRE_OK(apus_data_open(&data, &params));
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 3);
    apus_data_close(&data);
}

TEST(the_validation_file_reads_back)
{
    char path[600], written[600], *text = NULL;
    snprintf(path, sizeof path, "%s/in.jsonl", harness_folder());
    snprintf(written, sizeof written, "%s/val_dataset.jsonl", harness_folder());
    const char *rows = "{\"messages\":[{\"role\":\"user\",\"content\":\"\xc3\xa4 \\\"q\\\"\\n\"},"
                       "{\"role\":\"assistant\",\"content\":\"b\",\"loss\":false}],"
                       "\"label\":true}\n{\"text\":\"c\"}\n";
    const char *in[] = { path }, *back[] = { written };
    apus_data *data = NULL;
    size_t bytes;

    REQUIRE_OK(apus_file_write(path, rows, strlen(rows)));
    REQUIRE_OK(apus_data_open(&data, &(apus_data_params) { .val_paths = in, .n_val_paths = 1 }));
    REQUIRE_OK(apus_data_write_val(data, written));
    apus_data_close(&data);
    REQUIRE_OK(apus_file_read(&text, &bytes, written, 4096));
    char want[2048];
    snprintf(want, sizeof want,
             "{\"messages\": [\"{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"\xc3\xa4 "
             "\\\\\\\"q\\\\\\\"\\\\n\\\"}\", \"{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":"
             "\\\"b\\\",\\\"loss\\\":false}\"], \"label\": 1, \"dataset\": \"%s\"}\n"
             "{\"messages\": [\"{\\\"role\\\":\\\"assistant\\\",\\\"content\\\":\\\"c\\\"}\"], "
             "\"dataset\": \"%s\"}\n",
             path, path);
    CHECK_EQ_STR(text, want);
    apus_free(text);
    REQUIRE_OK(apus_data_open(&data, &(apus_data_params) { .paths = back, .n_paths = 1 }));
    REQUIRE(apus_data_count(data, APUS_DATA_TRAIN) == 2);
    const apus_data_row *row = apus_data_get(data, APUS_DATA_TRAIN, 0);
    CHECK_EQ_STR(row->messages[0].content, "\xc3\xa4 \"q\"\n");
    CHECK(row->messages[1].loss == APUS_LOSS_MASK);
    CHECK_EQ_U64(row->n_labels, 1);
    apus_data_close(&data);
}
