/* Rows of every shape, good and bad, and what is said of the bad ones. */
#include <stdio.h>

#include "data_internal.h"
#include "env.h"
#include "harness.h"

static char log_text[8192];

static void keep_log(void *user, apus_log_level level, const char *line)
{
    const size_t n = strlen(log_text);

    (void)user;
    (void)level;
    snprintf(log_text + n, sizeof log_text - n, "%s\n", line);
}

static apus_status open_path(apus_data **data, const char *path, apus_data_params params)
{
    log_text[0] = 0;
    apus_log_set(keep_log, NULL, APUS_LOG_WARN);
    params.paths = &path;
    params.n_paths = 1;
    return apus_data_open(data, &params);
}

static apus_status open_fixture(apus_data **data, const char *name, apus_data_params params)
{
    char path[640];

    snprintf(path, sizeof path, "data/%s", name);
    snprintf(path, sizeof path, "%s", harness_fixture(path));
    return open_path(data, path, params);
}

/* Write a file into the test folder and open it. */
static apus_status open_text(apus_data **data, const char *name, const char *text,
                             apus_data_params params)
{
    char path[640];

    snprintf(path, sizeof path, "%s/%s", harness_folder(), name);
    CHECK_OK(apus_file_write(path, text, strlen(text)));
    return open_path(data, path, params);
}

/* The row as "role:content|role:content". */
static const char *shown(const apus_data *data, size_t i)
{
    static char text[1024];
    const apus_data_row *row = apus_data_get(data, APUS_DATA_TRAIN, i);
    size_t n = 0;

    for (uint32_t m = 0; m < row->n_messages; m++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s:%s", m ? "|" : "",
                              row->messages[m].role, row->messages[m].content);
    return text;
}

/* One row of text gives these messages. */
static void check_row(const char *text, const char *want)
{
    apus_data *data = NULL;

    REQUIRE_OK(open_text(&data, "row.jsonl", text, (apus_data_params) { .keep_unanswered = true }));
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 1);
    CHECK_EQ_STR(shown(data, 0), want);
    apus_data_close(&data);
}

/* One row of text is left out for this reason. */
static void check_bad(const char *text, const char *why)
{
    apus_data *data = NULL;

    CHECK_FAILS(open_text(&data, "bad.jsonl", text,
                          (apus_data_params) { .keep_unanswered = true, .strict = true }),
                APUS_ERR_FORMAT, why);
    CHECK(strstr(apus_error_text(), "bad.jsonl:1: ") != NULL);
    CHECK(data == NULL);
}

TEST(known_shapes_become_messages)
{
    check_row("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
              "{\"role\":\"assistant\",\"content\":\"b\"}]}",
              "user:a|assistant:b");
    check_row("{\"conversations\":[{\"from\":\"human\",\"value\":\"a\"},"
              "{\"from\":\"gpt\",\"value\":\"b\"}],\"system\":\"s\"}",
              "system:s|user:a|assistant:b");
    check_row("{\"conversation\":[{\"human\":\"a\",\"assistant\":\"b\"},"
              "{\"human\":\"c\",\"assistant\":\"d\"}],\"system\":\"s\"}",
              "system:s|user:a|assistant:b|user:c|assistant:d");
    check_row("{\"instruction\":\"i\",\"input\":\"j\",\"output\":\"o\"}", "user:i\nj|assistant:o");
    check_row("{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}", "user:i|assistant:o");
    check_row("{\"instruction\":\"\",\"input\":\"j\",\"output\":\"o\"}", "user:j|assistant:o");
    check_row("{\"instruction\":\"i\",\"output\":\"o\"}", "user:i|assistant:o");
    check_row("{\"query\":\"q\",\"response\":\"r\",\"history\":[[\"h\",\"i\"]],\"system\":\"s\"}",
              "system:s|user:h|assistant:i|user:q|assistant:r");
    check_row("{\"Question\":\"q\",\"ANSWER\":\"r\"}", "user:q|assistant:r");
    check_row("{\"text\":\"all of it\"}", "assistant:all of it");
    check_row("{\"query\":\"q\",\"response\":[\"first\",\"second\"]}", "user:q|assistant:first");
    check_row("{\"query\":\"1 + 1\",\"answer\":2}", "user:1 + 1|assistant:2");
    /* Two names for one thing: the exact one wins. */
    check_row("{\"query\":\"q\",\"response\":\"r\",\"solution\":\"s\"}", "user:q|assistant:r");
    check_row("{\"messages\":[\"{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"a\\\"}\","
              "\"{\\\"role\\\":\\\"bot\\\",\\\"content\\\":\\\"b\\\"}\"]}",
              "user:a|assistant:b");
    check_row("{\"messages\":[{\"role\":\"system\",\"content\":\"own\"},"
              "{\"role\":\"user\",\"content\":\"a\"}],\"system\":\"s\"}",
              "system:own|user:a");
    check_row("\xef\xbb\xbf{\"text\":\"after a mark\"}", "assistant:after a mark");
    check_row("\r\n \n{\"text\":\"after blank lines\"}\r\n\n", "assistant:after blank lines");
}

TEST(tools_and_blocks_become_messages)
{
    check_row("{\"messages\":[{\"role\":\"user\",\"content\":\"w?\"},"
              "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":"
              "{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}]},"
              "{\"role\":\"tool\",\"content\":\"sun\"},"
              "{\"role\":\"assistant\",\"content\":\"Sunny\"}]}",
              "user:w?|tool_call:{\"name\": \"f\", \"arguments\": {\"x\": 1}}|tool_response:sun|"
              "assistant:Sunny");
    check_row(
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see \"},"
        "{\"type\":\"image_url\",\"image_url\":{\"url\":\"p.png\"}}]}]}",
        "user:see <image>");
    check_bad("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"smell\"}]}]}",
              "content block of the type \"smell\"");
}

TEST(bad_rows_say_why)
{
    check_bad("{\"messages\":[]}", "list of messages is empty");
    check_bad("{\"messages\":7}", "not a list");
    check_bad("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
              "{\"role\":\"alien\",\"content\":\"y\"}]}",
              "message 2: the role \"alien\"");
    check_bad("{\"messages\":[{\"role\":\"user\",\"content\":null}]}",
              "message 1: it has no content");
    check_bad("{\"messages\":[{\"role\":\"user\",\"content\":{\"a\":1}}]}", "not a text");
    check_bad("{\"messages\":[{\"content\":\"x\"}]}", "message 1: it has no \"role\"");
    check_bad("{\"messages\":[3]}", "message 1: it is not a JSON object");
    check_bad("{\"messages\":[\"oops\"]}", "message 1: its text: line 1");
    check_bad("{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\",\"loss\":\"no\"}]}",
              "neither true nor false");
    check_bad("{\"foo\":\"x\",\"bar\":\"y\"}", "none of its columns (foo, bar)");
    check_bad("{\"answer\":\"x\",\"solution\":\"y\"}",
              "several of its columns could be the response");
    check_bad("{\"instruction\":\"\",\"input\":null,\"output\":\"o\"}",
              "its instruction and input");
    check_bad("[{\"text\":\"a\"}] {}", "something follows the array");
    check_bad("17", "it is not a JSON object");
    check_bad("{\"query\":\"q\",\"response\":\"r\",\"history\":[[\"h\"]]}", "list of pairs");
    check_bad("{\"query\":\"q\",\"response\":\"r\",\"rejected_response\":\"r\"}",
              "equals the chosen one");
}

TEST(the_reference_rows_read_as_it_read_them)
{
    static const struct {
        const char *file, *first;
        size_t n;
    } cases[] = {
        { "alpaca.jsonl", "user:Add 0 and\n1|assistant:ANSWER: 1", 8 },
        { "sharegpt.jsonl", "user:Add 0|assistant:ANSWER: 0", 8 },
        { "query_response.jsonl", "user:hi|assistant:ho|user:Add 0|assistant:ANSWER: 0", 8 },
        { "pt.txt",
          "assistant:The capital of Austria is Vienna. The city of Vienna lies in "
          "Austria.",
          20 },
    };

    for (size_t i = 0; i < APUS_COUNT(cases); i++) {
        apus_data *data = NULL;
        if (!CHECK_OK(open_fixture(&data, cases[i].file, (apus_data_params) { 0 })))
            continue;
        CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), cases[i].n);
        CHECK_EQ_STR(shown(data, 0), cases[i].first);
        CHECK_EQ_STR(log_text, "");
        apus_data_close(&data);
    }
}

TEST(three_files_of_the_same_text_are_the_same_rows)
{
    static const char *const files[3] = { "pt.jsonl", "pt_text.jsonl", "pt.txt" };
    apus_data *data[3] = { NULL };

    for (size_t i = 0; i < 3; i++)
        REQUIRE_OK(open_fixture(&data[i], files[i], (apus_data_params) { 0 }));
    const size_t n = apus_data_count(data[0], APUS_DATA_TRAIN);
    for (size_t i = 0; i < 3; i++) {
        REQUIRE(apus_data_count(data[i], APUS_DATA_TRAIN) == n);
        for (size_t r = 0; r < n; r++) {
            char want[512];
            snprintf(want, sizeof want, "%s", shown(data[0], r));
            CHECK_EQ_STR(shown(data[i], r), want);
        }
    }
    for (size_t i = 0; i < 3; i++)
        apus_data_close(&data[i]);
}

TEST(bad_rows_are_left_out_with_a_warning)
{
    apus_data *data = NULL;

    REQUIRE_OK(open_fixture(&data, "mixed_bad.jsonl", (apus_data_params) { 0 }));
    /* 8 good rows and one with only an answer; the reference kept the one without, too. */
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 9);
    CHECK_EQ_U64(apus_data_report(data).rows, 10);
    CHECK_EQ_U64(apus_data_report(data).bad, 2);
    CHECK_EQ_U64(apus_data_report(data).unanswered, 1);
    CHECK(strstr(log_text, "mixed_bad.jsonl:9: its list of messages is empty; the row is left "
                           "out\n") != NULL);
    CHECK(strstr(log_text, "mixed_bad.jsonl:11: it has no answer to train") != NULL);
    CHECK(strstr(log_text, "mixed_bad.jsonl:12: message 2: the role \"alien\" is not known") !=
          NULL);
    apus_data_close(&data);
    REQUIRE_OK(
        open_fixture(&data, "mixed_bad.jsonl", (apus_data_params) { .keep_unanswered = true }));
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 10);
    apus_data_close(&data);
    CHECK_FAILS(open_fixture(&data, "mixed_bad.jsonl", (apus_data_params) { .strict = true }),
                APUS_ERR_FORMAT, "mixed_bad.jsonl:9: its list of messages is empty");
    CHECK_FAILS(open_fixture(&data, "no_messages.jsonl", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "none of its 4 rows can be used");
}

TEST(malformed_json_names_line_and_column)
{
    apus_data *data = NULL;

    CHECK_FAILS(open_fixture(&data, "bad_line.jsonl", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "bad_line.jsonl:2: column 15: ");
    CHECK_FAILS(open_text(&data, "a.json", "[{\"text\":\"x\"},\n {\"text\":\n  oops}]",
                          (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.json:3: column 3: ");
    CHECK_FAILS(open_text(&data, "a.json", "[{\"text\":\"\xc3\xa4\"}, {\"text\":oops}]",
                          (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.json:1: column 24: ");
    CHECK_FAILS(
        open_text(&data, "a.json", "[{\"text\":\"x\"} {\"text\":\"y\"}]", (apus_data_params) { 0 }),
        APUS_ERR_FORMAT, "a.json:1: column 15: a comma or ]");
    CHECK_FAILS(open_text(&data, "a.json", "[{\"text\":\"x\"},", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "the file ends inside its array");
    CHECK_FAILS(open_text(&data, "a.json", "[{\"text\":\"x\"},]", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "expected after the comma");
    CHECK_FAILS(open_text(&data, "a.json", "[,{\"text\":\"x\"}]", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.json:1: column 2: a row was expected");
    CHECK_FAILS(open_text(&data, "a.jsonl", "{\"text\":\"\xff\"}", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.jsonl:1: column ");
    CHECK_FAILS(open_text(&data, "a.jsonl", "{\"text\":\"unclosed", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.jsonl:1: column ");
    CHECK_FAILS(open_text(&data, "a.txt", "fine\n\xff\xfe", (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "a.txt:2: the line is not UTF-8");
    CHECK(data == NULL);
}

TEST(an_array_and_values_one_after_another)
{
    apus_data *data = NULL;

    REQUIRE_OK(open_text(&data, "a.json", " [ {\"text\":\"a]\\\"}\"} ,\n\n{\"text\":\"b\"}\n] ",
                         (apus_data_params) { 0 }));
    REQUIRE(apus_data_count(data, APUS_DATA_TRAIN) == 2);
    CHECK_EQ_STR(shown(data, 0), "assistant:a]\"}");
    CHECK_EQ_STR(shown(data, 1), "assistant:b");
    CHECK_EQ_U64(apus_data_get(data, APUS_DATA_TRAIN, 1)->line, 3);
    apus_data_close(&data);
    REQUIRE_OK(open_text(&data, "b.json", "{\n \"text\":\"a\"\n}\n{\"text\":\"b\"}{\"text\":\"c\"}",
                         (apus_data_params) { 0 }));
    CHECK_EQ_U64(apus_data_count(data, APUS_DATA_TRAIN), 3);
    apus_data_close(&data);
}

TEST(files_that_cannot_be_data_say_so)
{
    apus_data *data = NULL;

    CHECK_FAILS(open_path(&data, "/no/such.jsonl", (apus_data_params) { 0 }), APUS_ERR_MISSING,
                "data set /no/such.jsonl: no such file");
    CHECK_FAILS(open_path(&data, harness_folder(), (apus_data_params) { 0 }), APUS_ERR_ARG,
                "is a folder");
    CHECK_FAILS(open_text(&data, "x.csv", "a,b\n", (apus_data_params) { 0 }), APUS_ERR_ARG,
                "CSV files are not read");
    CHECK_FAILS(open_text(&data, "x.jsonl", "", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "holds no rows");
    CHECK_FAILS(open_text(&data, "x.json", "[]", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "holds no rows");
    CHECK_FAILS(open_text(&data, "x.jsonl", "\xff\xfe{", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "x.jsonl: is UTF-16 text; save it as UTF-8");
    CHECK_FAILS(open_text(&data, "x.txt", "\xfe\xff{", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "is UTF-16 text");
    CHECK_FAILS(open_text(&data, "x.bin", "GGUF", (apus_data_params) { 0 }), APUS_ERR_FORMAT,
                "is not JSON");
    CHECK_FAILS(open_text(&data, "u.jsonl",
                          "{\"messages\":[{\"role\":\"user\",\"content\":"
                          "\"x\"}]}",
                          (apus_data_params) { 0 }),
                APUS_ERR_FORMAT, "no row of the training set has an answer");
    CHECK_FAILS(apus_data_open(&data, &(apus_data_params) { 0 }), APUS_ERR_ARG, "--dataset");
    CHECK(data == NULL);
}

TEST(columns_rename_and_extra_columns_stay)
{
    const apus_data_rename rename[] = { { "Frage", "query" }, { "antwort", "response" } };
    const char *text = "{\"frage\":\"q\",\"Antwort\":\"r\",\"solution\":\"7\",\"level\":[1]}";
    apus_data *data = NULL;

    REQUIRE_OK(
        open_text(&data, "c.jsonl", text,
                  (apus_data_params) { .columns = rename, .n_columns = 2, .keep_extra = true }));
    CHECK_EQ_STR(shown(data, 0), "user:q|assistant:r");
    CHECK_EQ_STR(apus_data_get(data, APUS_DATA_TRAIN, 0)->extra,
                 "{\"solution\": \"7\", \"level\": [1]}");
    apus_data_close(&data);
    CHECK_FAILS(open_text(&data, "d.jsonl", "{\"question\":\"q\",\"answer\":\"r\"}",
                          (apus_data_params) { .no_auto_columns = true }),
                APUS_ERR_FORMAT, "none of its 1 rows");
}

TEST(members_beside_the_messages)
{
    apus_data *data = NULL;

    REQUIRE_OK(open_fixture(&data, "loss_field.jsonl", (apus_data_params) { 0 }));
    const apus_data_row *row = apus_data_get(data, APUS_DATA_TRAIN, 0);
    REQUIRE(row->n_messages == 4);
    CHECK(row->messages[0].loss == APUS_LOSS_UNSET);
    CHECK(row->messages[1].loss == APUS_LOSS_MASK);
    CHECK(row->messages[3].loss == APUS_LOSS_TRAIN);
    apus_data_close(&data);

    REQUIRE_OK(open_fixture(&data, "pref.jsonl", (apus_data_params) { 0 }));
    row = apus_data_get(data, APUS_DATA_TRAIN, 0);
    REQUIRE(row->n_rejected == 2);
    CHECK_EQ_STR(row->rejected[0].content, "What is 44 + 34?");
    CHECK_EQ_STR(row->rejected[1].content, "I think it might be 83, or not.");
    CHECK_EQ_STR(row->rejected[1].role, "assistant");
    apus_data_close(&data);

    REQUIRE_OK(open_fixture(&data, "kto.jsonl", (apus_data_params) { 0 }));
    REQUIRE(apus_data_get(data, APUS_DATA_TRAIN, 0)->n_labels == 1);
    CHECK_NEAR(apus_data_get(data, APUS_DATA_TRAIN, 0)->labels[0], 1.0, 0.0);
    CHECK_NEAR(apus_data_get(data, APUS_DATA_TRAIN, 1)->labels[0], 0.0, 0.0);
    apus_data_close(&data);

    REQUIRE_OK(open_text(&data, "m.jsonl",
                         "{\"query\":\"<image>?\",\"response\":\"r\",\"image\":\"a.png\","
                         "\"tools\":[{\"name\":\"f\"}],\"label\":[1,2.5],\"margin\":0.5,"
                         "\"channel\":\"web\",\"rejected_response\":\"s\"}",
                         (apus_data_params) { 0 }));
    row = apus_data_get(data, APUS_DATA_TRAIN, 0);
    REQUIRE(row->n_images == 1 && row->n_labels == 2 && row->n_rejected == 2);
    CHECK_EQ_STR(row->images[0], "a.png");
    CHECK_EQ_STR(row->tools, "[{\"name\": \"f\"}]");
    CHECK_EQ_STR(row->channel, "web");
    CHECK_NEAR(row->labels[1], 2.5, 0.0);
    CHECK(row->has_margin && row->margin == 0.5);
    apus_data_close(&data);
}

/* A masked answer trains nothing, but its end mark is trained where it is the last message. */
TEST(masked_answers_count_only_at_the_end)
{
    const char *text =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\","
        "\"content\":\"b\",\"loss\":false},{\"role\":\"user\",\"content\":\"c\"}]}\n"
        "{\"messages\":[{\"role\":\"user\",\"content\":\"d\"},{\"role\":\"assistant\","
        "\"content\":\"e\",\"loss\":false}]}\n";
    apus_data *data = NULL;

    REQUIRE_OK(open_text(&data, "masked.jsonl", text, (apus_data_params) { 0 }));
    CHECK_EQ_U64(apus_data_report(data).unanswered, 1);
    REQUIRE(apus_data_count(data, APUS_DATA_TRAIN) == 1);
    CHECK_EQ_STR(shown(data, 0), "user:d|assistant:e");
    apus_data_close(&data);
}

/* Host memory fails at the n-th call for every n until the set is read: a status, no crash. */
TEST(running_out_of_memory_is_a_status)
{
    apus_data *data = NULL;
    uint64_t n = 1;

    for (; n < 2000 && !data; n++) {
        apus_fault_set(APUS_FAULT_HOST_ALLOC, n);
        const apus_status st = open_fixture(
            &data, "query_response.jsonl",
            (apus_data_params) { .shuffle = true, .split_ratio = 0.25, .keep_extra = true });
        apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
        if (!CHECK(st == APUS_OK || (st == APUS_ERR_MEMORY && !data)))
            break;
    }
    CHECK(data != NULL && n > 100);
    apus_data_close(&data);
}
