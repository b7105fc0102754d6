/* json_text.c - values written byte for byte as Python's json.dumps(ensure_ascii=False). */
#include <math.h>

#include "env.h"
#include "file.h"
#include "harness.h"
#include "json.h"

typedef struct number {
    double value;
    const char *text;
} number;

/* clang-format off */
static const number floats[] = {
    { 0.0, "0.0" }, { -0.0, "-0.0" }, { 1.0, "1.0" }, { -32.0, "-32.0" }, { 0.1, "0.1" },
    { 1.5, "1.5" }, { 1.0 / 3, "0.3333333333333333" }, { 2.0 / 3, "0.6666666666666666" },
    { 0.1 + 0.2, "0.30000000000000004" }, { 1e-4, "0.0001" }, { 1e-5, "1e-05" },
    { 1.25e-5, "1.25e-05" }, { 5e-5, "5e-05" }, { 0.00012345, "0.00012345" },
    { 9.999e-5, "9.999e-05" }, { 123456.789, "123456.789" }, { 1e15, "1000000000000000.0" },
    { 1e16, "1e+16" }, { 1.2345e16, "1.2345e+16" }, { 9007199254740993.0, "9007199254740992.0" },
    { 1e22, "1e+22" }, { 1e23, "1e+23" }, { 1e100, "1e+100" }, { 1e-100, "1e-100" },
    { 1.7976931348623157e308, "1.7976931348623157e+308" },
    { 2.2250738585072014e-308, "2.2250738585072014e-308" },
    { 5e-324, "5e-324" }, { 1e-310, "1e-310" }, { 0x1p-44, "5.684341886080802e-14" },
    { 3.14159265358979323846, "3.141592653589793" }, { 2.718281828459045, "2.718281828459045" },
    { 4.35, "4.35" }, { 100.0, "100.0" }, { 0.00009999999999999999, "9.999999999999999e-05" },
    { 9999999999999998.0, "9999999999999998.0" },
};
/* clang-format on */

TEST(floats_as_python_repr)
{
    for (size_t i = 0; i < APUS_COUNT(floats); i++) {
        cJSON *list = cJSON_CreateArray();
        REQUIRE(apus_json_add_float(list, NULL, floats[i].value));
        char *text = apus_json_text(list->child, 0);
        CHECK_EQ_STR(text, floats[i].text);
        apus_free(text);
        cJSON_Delete(list);
    }
}

/* Random bit patterns read back as the same number. */
TEST(floats_survive)
{
    uint64_t seed = 88172645463325252ull;

    for (int i = 0; i < 20000; i++) {
        union {
            uint64_t u;
            double f;
        } v;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        v.u = seed;
        if (!isfinite(v.f))
            continue;
        cJSON *list = cJSON_CreateArray();
        apus_json_add_float(list, NULL, v.f);
        char *text = apus_json_text(list->child, 0);
        if (!CHECK(text && strtod(text, NULL) == v.f))
            i = 20000;
        apus_free(text);
        cJSON_Delete(list);
    }
}

typedef struct layout {
    int indent;
    const char *text;
} layout;

TEST(layouts)
{
    static const char in[] =
        "{\"a\":1,\"b\":[1,2,[]],\"c\":{},\"d\":{\"e\":null,\"f\":true},\"g\":[{\"h\":\"x\"}]}";
    static const layout layouts[] = {
        { 0, "{\"a\": 1, \"b\": [1, 2, []], \"c\": {}, \"d\": {\"e\": null, \"f\": true}, "
             "\"g\": [{\"h\": \"x\"}]}" },
        { 2, "{\n  \"a\": 1,\n  \"b\": [\n    1,\n    2,\n    []\n  ],\n  \"c\": {},\n"
             "  \"d\": {\n    \"e\": null,\n    \"f\": true\n  },\n"
             "  \"g\": [\n    {\n      \"h\": \"x\"\n    }\n  ]\n}" },
        { 4, "{\n    \"a\": 1,\n    \"b\": [\n        1,\n        2,\n        []\n    ],\n"
             "    \"c\": {},\n    \"d\": {\n        \"e\": null,\n        \"f\": true\n    },\n"
             "    \"g\": [\n        {\n            \"h\": \"x\"\n        }\n    ]\n}" },
    };
    cJSON *value;

    REQUIRE_OK(apus_json_parse(&value, in, sizeof in - 1, "x"));
    for (size_t i = 0; i < APUS_COUNT(layouts); i++) {
        char *text = apus_json_text(value, layouts[i].indent);
        CHECK_EQ_STR(text, layouts[i].text);
        apus_free(text);
    }
    cJSON_Delete(value);
}

/* What was read is written as it was: 1.0 stays a float, 1 an integer, large integers whole. */
TEST(round_trip)
{
    static const char in[] =
        "{\"rope_theta\": 10000.0, \"dropout\": 0.0, \"n\": -32, \"zero\": 0, "
        "\"most\": 1000000000000000019884624838656, \"big\": 9007199254740993, "
        "\"id\": -1234567890123456789, \"eps\": 1e-06, "
        "\"limit\": [0.0, Infinity, -Infinity, NaN], "
        "\"text\": \"\xc3\xa9 \xf0\x9f\x98\x80 / \\\" \\\\ \\n\\r\\t\\b\\f \\u0001\\u001f \x7f\"}";
    cJSON *value;

    REQUIRE_OK(apus_json_parse(&value, in, sizeof in - 1, "x"));
    char *text = apus_json_text(value, 0);
    CHECK_EQ_STR(text, in);
    apus_free(text);
    cJSON_Delete(value);
}

TEST(changed_values)
{
    static const char in[] = "[12345678901234567, 1.0]";
    cJSON *value;

    REQUIRE_OK(apus_json_parse(&value, in, sizeof in - 1, "x"));
    cJSON_SetNumberValue(value->child, 5);
    cJSON_SetNumberValue(value->child->next, 5);
    char *text = apus_json_text(value, 0);
    CHECK_EQ_STR(text, "[5, 5.0]");
    apus_free(text);
    cJSON_Delete(value);
}

TEST(built_values)
{
    cJSON *value = cJSON_CreateObject();

    cJSON_AddNumberToObject(value, "step", 10);
    CHECK(apus_json_add_float(value, "loss", 2));
    cJSON_AddNumberToObject(value, "half", 0.5);
    cJSON_AddRawToObject(value, "raw", "[1,  2]");
    CHECK(apus_json_add_float(value, "bad", (double)NAN));
    /* A float that was added is a number like any other. */
    CHECK(apus_json_number(value, "loss", 0) == 2.0);
    char *text = apus_json_text(value, 0);
    CHECK_EQ_STR(text, "{\"step\": 10, \"loss\": 2.0, \"half\": 0.5, \"raw\": [1,  2], "
                       "\"bad\": NaN}");
    apus_free(text);
    cJSON_Delete(value);
}

TEST(writing_without_memory)
{
    cJSON *value = cJSON_CreateObject();

    apus_fault_set(APUS_FAULT_HOST_ALLOC, 1);
    CHECK(!apus_json_text(value, 0));
    for (uint64_t n = 1; n <= 2; n++) {
        apus_fault_set(APUS_FAULT_HOST_ALLOC, n);
        CHECK(!apus_json_add_float(value, "key", 1));
    }
    apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
    CHECK(!value->child);
    cJSON_Delete(value);
}

/* Whichever allocation fails: it is a failure, and a file that is there is whole. */
TEST(a_file_without_memory)
{
    static const char whole[] =
        "{\n  \"a\": \"b\",\n  \"list\": [\n    \"item\"\n  ],\n  \"x\": 1.0\n}";
    char *path = apus_path_join(harness_folder(), "value.json");
    bool fired = true;
    uint64_t n = 0;

    while (fired) {
        char *text = NULL;
        size_t bytes;

        apus_fault_set(APUS_FAULT_HOST_ALLOC, ++n);
        apus_json_begin();
        cJSON *value = cJSON_CreateObject();
        cJSON_AddStringToObject(value, "a", "b");
        cJSON_AddItemToArray(cJSON_AddArrayToObject(value, "list"), cJSON_CreateString("item"));
        apus_json_add_float(value, "x", 1);
        const apus_status st = apus_json_write(value, harness_folder(), "value.json");
        fired = !apus_fault_pending(APUS_FAULT_HOST_ALLOC);
        apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
        cJSON_Delete(value);
        CHECK(st == (fired ? APUS_ERR_MEMORY : APUS_OK));
        CHECK(fired || apus_path_exists(path));
        if (apus_path_exists(path)) {
            CHECK_OK(apus_file_read(&text, &bytes, path, 1 << 10));
            CHECK_EQ_STR(text, whole);
            CHECK_OK(apus_path_remove(path));
            apus_free(text);
        }
    }
    CHECK(n > 12);
    apus_free(path);
}
