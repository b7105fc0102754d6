/* json.c - parsing, errors with their place, access to members. */
#include "json.h"

#include <math.h>

#include "env.h"
#include "file.h"
#include "harness.h"

typedef struct bad {
    const char *text, *place_and_reason;
} bad;

/* clang-format off */
static const bad bads[] = {
    { "", "x: line 1, column 1: the text ends too early" },
    { " \n ", "x: line 2, column 2: the text ends too early" },
    { "{\"a\": 1,\n \"b\": }", "x: line 2, column 7: unexpected character" },
    { "{\"a\": 1} x", "x: line 1, column 10: unexpected text after the value" },
    { "1 2", "x: line 1, column 3: unexpected text after the value" },
    { "{\"a\" 1}", "x: line 1, column 6: expected ':' after a key" },
    { "{a: 1}", "x: line 1, column 2: expected a key in double quotes" },
    { "{\"a\": 1,}", "x: line 1, column 9: expected a key in double quotes" },
    { "[1,]", "x: line 1, column 4: unexpected character" },
    { "[1 2]", "x: line 1, column 4: expected ',' or ']'" },
    { "{\"a\": 1 2}", "x: line 1, column 9: expected ',' or '}'" },
    { "[1}", "x: line 1, column 3: expected ',' or ']'" },
    { "[1", "x: line 1, column 3: the text ends too early" },
    { "{\"\xc3\xa9\xe2\x82\xac\": x}", "x: line 1, column 8: unexpected character" },
    { "\"abc", "x: line 1, column 1: string without an end" },
    { "\"a\nb\"", "x: line 1, column 3: control character in a string" },
    { "\"a\\qb\"", "x: line 1, column 3: unknown escape in a string" },
    { "\"a\\", "x: line 1, column 3: unknown escape in a string" },
    { "\"\\u12g4\"", "x: line 1, column 2: \\u without four hexadecimal digits" },
    { "\"\\u0000\"", "x: line 1, column 2: \\u0000 in a string is not supported" },
    { "{\"\\u0000\": 1}", "x: line 1, column 3: \\u0000 in a string is not supported" },
    { "\"\\ud83d\"", "x: line 1, column 2: half of a surrogate pair" },
    { "\"\\ud83d\\u0041\"", "x: line 1, column 2: half of a surrogate pair" },
    { "\"\\ude00\"", "x: line 1, column 2: half of a surrogate pair" },
    { "01", "x: line 1, column 1: number with a leading zero" },
    { "-", "x: line 1, column 1: unexpected character" },
    { "+1", "x: line 1, column 1: unexpected character" },
    { ".5", "x: line 1, column 1: unexpected character" },
    { "[1.]", "x: line 1, column 2: number without digits after the point" },
    { "[1e+]", "x: line 1, column 2: number without digits in its exponent" },
    { "1-2", "x: line 1, column 2: unexpected text after the value" },
    { "nullx", "x: line 1, column 5: unexpected text after the value" },
    { "nul", "x: line 1, column 1: unexpected character" },
    { "-inf", "x: line 1, column 1: unexpected character" },
    { "// c\n1", "x: line 1, column 1: unexpected character" },
    { "'a'", "x: line 1, column 1: unexpected character" },
    { "\x01" "1", "x: line 1, column 1: unexpected character" },
    { "\"\x80\"", "x: line 1, column 2: invalid UTF-8" },
    { "\"\xc0\xaf\"", "x: line 1, column 2: invalid UTF-8" },         /* overlong / */
    { "\"\xe0\x9f\xbf\"", "x: line 1, column 2: invalid UTF-8" },     /* overlong */
    { "\"\xed\xa0\x80\"", "x: line 1, column 2: invalid UTF-8" },     /* surrogate */
    { "\"\xf4\x90\x80\x80\"", "x: line 1, column 2: invalid UTF-8" }, /* above U+10FFFF */
    { "\"\xe2\x82\"", "x: line 1, column 2: invalid UTF-8" },         /* cut short */
    { "\"\xe2\x82", "x: line 1, column 2: invalid UTF-8" },
};
/* clang-format on */

TEST(errors_have_a_place)
{
    for (size_t i = 0; i < APUS_COUNT(bads); i++) {
        cJSON *value = (cJSON *)&value;
        const char *text = bads[i].text;
        CHECK_FAILS(apus_json_parse(&value, text, strlen(text), "x"), APUS_ERR_FORMAT,
                    bads[i].place_and_reason);
        CHECK(!value);
    }
}

/* Bytes behind the given length must not be read: the copy ends where the text does. */
TEST(every_prefix_is_an_error)
{
    static const char text[] = "{\"k\": [1.5e3, \"\\ud83d\\ude00\xc3\xa9\", NaN, -Infinity, true]}";

    for (size_t n = 0; n < sizeof text - 1; n++) {
        cJSON *value;
        char *copy = malloc(n ? n : 1);
        REQUIRE(copy);
        memcpy(copy, text, n);
        CHECK_FAILS(apus_json_parse(&value, copy, n, "x"), APUS_ERR_FORMAT, "x: line 1, column ");
        free(copy);
    }
}

TEST(nul_bytes_are_errors)
{
    cJSON *value;

    CHECK_FAILS(apus_json_parse(&value, "1\0", 2, "x"), APUS_ERR_FORMAT, "column 2: unexpected");
    CHECK_FAILS(apus_json_parse(&value, "\"\0\"", 3, "x"), APUS_ERR_FORMAT, "column 2: control");
    CHECK_FAILS(apus_json_parse(&value, "[1\0]", 4, "x"), APUS_ERR_FORMAT, "column 3: expected");
}

TEST(depth_is_limited)
{
    char text[2200];

    for (size_t depth = 999; depth <= 1001; depth++) {
        cJSON *value;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        if (depth <= 1000) {
            CHECK_OK(apus_json_parse(&value, text, 2 * depth, "x"));
            cJSON_Delete(value);
        } else {
            CHECK_FAILS(apus_json_parse(&value, text, 2 * depth, "x"), APUS_ERR_FORMAT,
                        "x: line 1, column 1001: nested too deeply");
        }
    }
}

static cJSON *parse(const char *text)
{
    cJSON *value = NULL;

    CHECK_OK(apus_json_parse(&value, text, strlen(text), "x"));
    return value;
}

TEST(values)
{
    cJSON *v =
        parse("\xef\xbb\xbf {\"s\": \"a\\u00e9\\ud83d\\ude00\\n\", \"n\": 12, \"f\": -2.5e-3,"
              " \"t\": true, \"u\": false, \"z\": null, \"A\": 1, \"a\": 2}\r\n\t ");

    CHECK_EQ_STR(apus_json_string(v, "s", "?"), "a\xc3\xa9\xf0\x9f\x98\x80\n");
    CHECK(apus_json_number(v, "n", 0) == 12.0);
    CHECK(apus_json_number(v, "f", 0) == -2.5e-3);
    CHECK(apus_json_bool(v, "t", false));
    CHECK(!apus_json_bool(v, "u", true));
    /* Keys differ by case. */
    CHECK(apus_json_number(v, "A", 0) == 1.0);
    CHECK(apus_json_number(v, "a", 0) == 2.0);
    CHECK(!apus_json_get(v, "S"));
    /* Absent, null and other types give the default. */
    CHECK_EQ_STR(apus_json_string(v, "none", "?"), "?");
    CHECK_EQ_STR(apus_json_string(v, "z", "?"), "?");
    CHECK_EQ_STR(apus_json_string(v, "n", "?"), "?");
    CHECK(apus_json_number(v, "s", 7) == 7.0);
    CHECK(apus_json_bool(v, "n", true));
    CHECK(!apus_json_get(v, "z"));
    CHECK(!apus_json_get(NULL, "z"));
    cJSON_Delete(v);
}

TEST(numbers_of_python)
{
    cJSON *v = parse("[NaN, Infinity, -Infinity, 1, 1e400]");

    CHECK(isnan(cJSON_GetArrayItem(v, 0)->valuedouble));
    CHECK(cJSON_GetArrayItem(v, 1)->valuedouble == HUGE_VAL);
    CHECK(cJSON_GetArrayItem(v, 2)->valuedouble == -HUGE_VAL);
    CHECK(cJSON_GetArrayItem(v, 3)->valuedouble == 1.0);
    CHECK(cJSON_GetArrayItem(v, 4)->valuedouble == HUGE_VAL);
    cJSON_Delete(v);
}

TEST(whole_numbers)
{
    cJSON *v = parse("{\"a\": 5, \"b\": -1, \"c\": 1.5, \"d\": \"5\", \"e\": 1e30, \"f\": NaN,"
                     " \"g\": 9007199254740992, \"h\": 18446744073709551616,"
                     " \"i\": 18446744073709551615, \"j\": 9007199254740993, \"z\": null}");
    uint64_t n = 99;

    CHECK_OK(apus_json_u64(v, "a", 5, 5, &n));
    CHECK_EQ_U64(n, 5);
    CHECK_OK(apus_json_u64(v, "g", 0, UINT64_MAX, &n));
    CHECK_EQ_U64(n, 9007199254740992ull);
    CHECK_OK(apus_json_u64(v, "i", 0, UINT64_MAX, &n));
    CHECK_EQ_U64(n, UINT64_MAX);
    CHECK_OK(apus_json_u64(v, "j", 0, UINT64_MAX, &n));
    CHECK_EQ_U64(n, 9007199254740993ull);
    CHECK_FAILS(apus_json_u64(v, "j", 0, 9007199254740992ull, &n), APUS_ERR_FORMAT, "\"j\" is not");
    CHECK_FAILS(apus_json_u64(v, "a", 6, 9, &n), APUS_ERR_FORMAT,
                "\"a\" is not a whole number from 6 to 9");
    CHECK_FAILS(apus_json_u64(v, "a", 0, 4, &n), APUS_ERR_FORMAT, "\"a\" is not");
    CHECK_FAILS(apus_json_u64(v, "b", 0, 9, &n), APUS_ERR_FORMAT, "\"b\" is not");
    CHECK_FAILS(apus_json_u64(v, "c", 0, 9, &n), APUS_ERR_FORMAT, "\"c\" is not");
    CHECK_FAILS(apus_json_u64(v, "d", 0, 9, &n), APUS_ERR_FORMAT, "\"d\" is not");
    CHECK_FAILS(apus_json_u64(v, "e", 0, UINT64_MAX, &n), APUS_ERR_FORMAT, "\"e\" is not");
    CHECK_FAILS(apus_json_u64(v, "f", 0, UINT64_MAX, &n), APUS_ERR_FORMAT, "\"f\" is not");
    CHECK_FAILS(apus_json_u64(v, "h", 0, UINT64_MAX, &n), APUS_ERR_FORMAT, "\"h\" is not");
    CHECK_FAILS(apus_json_u64(v, "z", 0, 9, &n), APUS_ERR_FORMAT, "\"z\" is missing");
    CHECK_FAILS(apus_json_u64(v, "none", 0, 9, &n), APUS_ERR_FORMAT, "\"none\" is missing");
    CHECK_EQ_U64(n, 9007199254740993ull);
    cJSON_Delete(v);
}

TEST(reading_a_file)
{
    char *path = apus_path_join(harness_folder(), "a.json");
    cJSON *value;

    CHECK_FAILS(apus_json_read(&value, path), APUS_ERR_MISSING, "a.json");
    REQUIRE_OK(apus_file_write(path, "{\n\"a\": ?}", 9));
    CHECK_FAILS(apus_json_read(&value, path), APUS_ERR_FORMAT, "a.json: line 2, column 6: ");
    REQUIRE_OK(apus_file_write(path, "{\"a\": 3}", 8));
    CHECK_OK(apus_json_read(&value, path));
    CHECK(apus_json_number(value, "a", 0) == 3.0);
    cJSON_Delete(value);
    apus_free(path);
}

TEST(parsing_without_memory)
{
    static const char text[] =
        "{\"a\": [1, 2.5, \"text\", NaN, 1234567890123456789], \"b\": {\"c\": null}}";
    uint64_t n = 1;

    for (;; n++) {
        cJSON *value;
        apus_fault_set(APUS_FAULT_HOST_ALLOC, n);
        const apus_status st = apus_json_parse(&value, text, sizeof text - 1, "x");
        apus_fault_set(APUS_FAULT_HOST_ALLOC, 0);
        if (st == APUS_OK) {
            cJSON_Delete(value);
            break;
        }
        CHECK(!value);
        if (!CHECK(st == APUS_ERR_MEMORY) || !CHECK(n < 100))
            break;
    }
    CHECK(n > 10);
}
