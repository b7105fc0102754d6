/* Tests of engine/io/gguf.c: a file made here with every type of value, every lie, a real file. */
#include <math.h>

#include "build.h"
#include "env.h"
#include "file.h"

static bytes file;

static apus_status parse_only(const bytes *b)
{
    apus_gguf *g;
    apus_status st = apus_gguf_parse(&g, b->at, b->n, "test");

    CHECK((st == APUS_OK) == (g != NULL));
    apus_gguf_close(&g);
    return st;
}

static void put_array(bytes *b, const char *key, apus_gguf_type type, uint64_t n)
{
    put_key(b, key, APUS_GGUF_ARRAY);
    put_number(b, type, 4);
    put_number(b, n, 8);
}

/* A file with a value of each type and three tensors. */
static void put_everything(bytes *b, uint32_t version)
{
    const double half = 0.5;

    put_gguf(b, version, 3, 18);
    put_key(b, "u8", APUS_GGUF_U8), put_number(b, 200, 1);
    put_key(b, "i8", APUS_GGUF_I8), put_number(b, 200, 1);
    put_key(b, "u16", APUS_GGUF_U16), put_number(b, 65535, 2);
    put_key(b, "i16", APUS_GGUF_I16), put_number(b, 65535, 2);
    put_u32(b, "u32", 4000000000u);
    put_key(b, "i32", APUS_GGUF_I32), put_number(b, 7, 4);
    put_f32(b, "f32", 1.5f);
    put_key(b, "bool", APUS_GGUF_BOOL), put_number(b, 1, 1);
    put_string(b, "string", "text");
    put_key(b, "u64", APUS_GGUF_U64), put_number(b, 1ull << 32, 8);
    put_key(b, "i64", APUS_GGUF_I64), put_number(b, 12, 8);
    put_key(b, "f64", APUS_GGUF_F64), put(b, &half, 8);
    put_array(b, "strings", APUS_GGUF_STRING, 3);
    put_text(b, "a"), put_text(b, ""), put_text(b, "ccc");
    put_array(b, "ints", APUS_GGUF_I32, 2);
    put_number(b, (uint32_t)-5, 4), put_number(b, 6, 4);
    put_array(b, "floats", APUS_GGUF_F64, 1);
    put(b, &half, 8);
    put_array(b, "nested", APUS_GGUF_ARRAY, 2);
    put_number(b, APUS_GGUF_U8, 4), put_number(b, 3, 8), put(b, "xyz", 3);
    put_number(b, APUS_GGUF_STRING, 4), put_number(b, 1, 8), put_text(b, "s");
    put_array(b, "none", APUS_GGUF_STRING, 0);
    put_u32(b, "general.alignment", 64);
    put_tensor(b, "plain", 2, 3, 2, 0, 0);       /* f32, 24 bytes */
    put_tensor(b, "blocks", 2, 32, 2, 8, 64);    /* q8_0, 68 bytes */
    put_tensor(b, "strange", 1, 32, 0, 20, 192); /* iq4_nl, 18 bytes */
    put_padding(b, 64);
    for (int i = 0; i < 192 + 18; i++)
        put_number(b, (uint64_t)i, 1);
}

TEST(every_type_of_value)
{
    for (uint32_t version = 2; version <= 3; version++) {
        apus_gguf *g;
        apus_gguf_text text;
        apus_gguf_array array;
        uint32_t u = 1;
        int64_t i;
        double d;
        float f;
        bool yes = false;

        put_everything(&file, version);
        REQUIRE_OK(apus_gguf_parse(&g, file.at, file.n, "test"));
        CHECK_OK(apus_gguf_u32(g, "u8", &u));
        CHECK_EQ_U64(u, 200);
        CHECK_OK(apus_gguf_u32(g, "u16", &u));
        CHECK_EQ_U64(u, 65535);
        CHECK_OK(apus_gguf_u32(g, "u32", &u));
        CHECK_EQ_U64(u, 4000000000u);
        CHECK_OK(apus_gguf_u32(g, "i32", &u));
        CHECK_EQ_U64(u, 7);
        CHECK_OK(apus_gguf_u32(g, "i64", &u));
        CHECK_EQ_U64(u, 12);
        CHECK_FAILS(apus_gguf_u32(g, "i8", &u), APUS_ERR_FORMAT, "'i8' is out of range");
        CHECK_FAILS(apus_gguf_u32(g, "i16", &u), APUS_ERR_FORMAT, "'i16' is out of range");
        CHECK_FAILS(apus_gguf_u32(g, "u64", &u), APUS_ERR_FORMAT, "'u64' is out of range");
        CHECK_FAILS(apus_gguf_u32(g, "f32", &u), APUS_ERR_FORMAT, "is of type f32, not a whole");
        CHECK_FAILS(apus_gguf_u32(g, "bool", &u), APUS_ERR_FORMAT, "is of type bool");
        CHECK_FAILS(apus_gguf_u32(g, "absent", &u), APUS_ERR_MISSING, "no metadata 'absent'");
        CHECK_EQ_U64(u, 12);
        CHECK_OK(apus_gguf_f32(g, "f32", &f));
        CHECK(f == 1.5f);
        CHECK_OK(apus_gguf_f32(g, "f64", &f));
        CHECK(f == 0.5f);
        CHECK_OK(apus_gguf_f32(g, "i8", &f));
        CHECK(f == -56.0f);
        CHECK_FAILS(apus_gguf_f32(g, "string", &f), APUS_ERR_FORMAT, "is of type string");
        CHECK_OK(apus_gguf_bool(g, "bool", &yes));
        CHECK(yes);
        CHECK_FAILS(apus_gguf_bool(g, "u8", &yes), APUS_ERR_FORMAT, "is of type u8, not bool");
        CHECK_OK(apus_gguf_string(g, "string", &text));
        CHECK(text.bytes == 4 && memcmp(text.text, "text", 4) == 0);
        CHECK_FAILS(apus_gguf_string(g, "strings", &text), APUS_ERR_FORMAT, "is of type array");
        REQUIRE_OK(apus_gguf_array_of(g, "strings", &array));
        CHECK_EQ_U64(array.type, APUS_GGUF_STRING);
        CHECK_EQ_U64(array.n, 3);
        CHECK_EQ_U64(array.texts[1].bytes, 0);
        CHECK(array.texts[2].bytes == 3 && memcmp(array.texts[2].text, "ccc", 3) == 0);
        CHECK(!apus_gguf_array_int(&array, 0, &i));
        REQUIRE_OK(apus_gguf_array_of(g, "ints", &array));
        CHECK(apus_gguf_array_int(&array, 0, &i) && i == -5);
        CHECK(apus_gguf_array_float(&array, 1, &d) && d == 6.0);
        CHECK(!apus_gguf_array_int(&array, 2, &i));
        REQUIRE_OK(apus_gguf_array_of(g, "floats", &array));
        CHECK(apus_gguf_array_float(&array, 0, &d) && d == 0.5);
        CHECK(!apus_gguf_array_int(&array, 0, &i));
        REQUIRE_OK(apus_gguf_array_of(g, "none", &array));
        CHECK_EQ_U64(array.n, 0);
        CHECK(apus_gguf_has(g, "nested"));
        CHECK(!apus_gguf_has(g, "neste"));
        apus_gguf_close(&g);
    }
}

TEST(tensors)
{
    apus_gguf *g;
    const apus_file_tensor *t;

    put_everything(&file, 3);
    REQUIRE_OK(apus_gguf_parse(&g, file.at, file.n, "test"));
    CHECK_EQ_U64(apus_gguf_count(g), 3);
    t = apus_gguf_find(g, "plain");
    REQUIRE(t != NULL);
    CHECK_EQ_U64(t->dtype, APUS_F32);
    CHECK_EQ_U64(t->dims[0], 2); /* the file says 3, 2: innermost first */
    CHECK_EQ_U64(t->dims[1], 3);
    CHECK_EQ_U64(t->bytes, 24);
    CHECK_EQ_U64(t->data[1], 1);
    t = apus_gguf_find(g, "blocks");
    REQUIRE(t != NULL);
    CHECK_EQ_U64(t->dtype, APUS_Q8_0);
    CHECK_EQ_U64(t->bytes, 68);
    CHECK_EQ_U64(t->data[0], 64);
    t = apus_gguf_find(g, "strange");
    REQUIRE(t != NULL);
    CHECK_EQ_U64(t->dtype, APUS_DTYPE_COUNT);
    CHECK_EQ_STR(t->format, "iq4_nl");
    CHECK_EQ_U64(t->bytes, 18);
    CHECK(!t->data);
    CHECK_FAILS(apus_file_tensor_check(t, "f"), APUS_ERR_SUPPORT,
                "tensor 'strange' has format iq4_nl: not supported yet");
    CHECK(!apus_gguf_find(g, "absent"));
    apus_gguf_close(&g);
}

TEST(truncated_at_every_byte)
{
    put_everything(&file, 3);
    for (size_t n = 0; n <= file.n; n++) {
        apus_gguf *g;
        uint8_t *copy =
            malloc(n ? n : 1); /* of that size, so that a sanitizer sees a read past it */
        apus_status st;

        REQUIRE(copy != NULL);
        memcpy(copy, file.at, n);
        st = apus_gguf_parse(&g, copy, n, "test");
        harness_check(st == (n == file.n ? APUS_OK : APUS_ERR_FORMAT), __FILE__, __LINE__,
                      "%zu bytes: %s", n, apus_error_text());
        apus_gguf_close(&g);
        free(copy);
    }
}

/* A byte of the header changed to each of a few values: a status, whatever it is, and no crash. */
TEST(every_byte_of_the_header_changed)
{
    static const uint8_t values[] = { 0, 1, 9, 0x7f, 0x80, 0xff };
    static bytes changed;

    put_everything(&file, 3);
    for (size_t at = 0; at < file.n; at++)
        for (size_t v = 0; v < APUS_COUNT(values); v++) {
            changed = file;
            changed.at[at] = values[v];
            parse_only(&changed);
        }
}

static void put_one_tensor(bytes *b, uint32_t n_dims, uint64_t inner, uint64_t outer,
                           uint32_t format, uint64_t offset, size_t data)
{
    put_gguf(b, 3, 1, 0);
    put_tensor(b, "t", n_dims, inner, outer, format, offset);
    put_padding(b, 32);
    for (size_t i = 0; i < data; i++)
        put_number(b, 0, 1);
}

TEST(lying_headers)
{
    file.n = 0;
    put(&file, "GGML", 4);
    put_number(&file, 3, 4);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "not a GGUF file");
    put_gguf(&file, 1, 0, 0);
    CHECK_FAILS(parse_only(&file), APUS_ERR_SUPPORT, "GGUF version 1: not supported yet");
    put_gguf(&file, 0x03000000, 0, 0);
    CHECK_FAILS(parse_only(&file), APUS_ERR_SUPPORT, "big-endian");
    put_gguf(&file, 3, 0, 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "1 metadata pairs do not fit in 0 bytes");
    put_gguf(&file, 3, UINT64_MAX, 0);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "tensors do not fit in 0 bytes");
    put_gguf(&file, 3, 0, UINT64_MAX);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "metadata pairs do not fit");
    put_gguf(&file, 3, 0, 0);
    CHECK_OK(parse_only(&file));
}

TEST(lying_metadata)
{
    put_gguf(&file, 3, 0, 1);
    put_number(&file, UINT64_MAX, 8);
    put_padding(&file, 64);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "a metadata key needs 18446744073709551615");
    put_gguf(&file, 3, 0, 1);
    put_key(&file, "k", (apus_gguf_type)13), put_number(&file, 0, 8);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "'k' has the unknown value type 13");
    put_gguf(&file, 3, 0, 1);
    put_key(&file, "k", APUS_GGUF_STRING), put_number(&file, 1ull << 40, 8);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "k needs 1099511627776 bytes, 0 are left");
    put_gguf(&file, 3, 0, 1);
    put_array(&file, "k", APUS_GGUF_STRING, 1ull << 60);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "'k' claims 1152921504606846976 strings");
    put_gguf(&file, 3, 0, 1);
    put_array(&file, "k", APUS_GGUF_U64, 1ull << 61); /* times 8 is 0 in 64 bits */
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "'k' claims 2305843009213693952 elements");
    put_gguf(&file, 3, 0, 1);
    put_array(&file, "k", APUS_GGUF_U64, 2), put_number(&file, 0, 8);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "k needs 16 bytes, 8 are left");
    put_gguf(&file, 3, 0, 1);
    put_array(&file, "k", APUS_GGUF_ARRAY, 1ull << 50);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "'k' has arrays in arrays that cannot be");
    put_gguf(&file, 3, 0, 1);
    put_key(&file, "k", APUS_GGUF_ARRAY);
    for (int i = 0; i < 1000; i++)
        put_number(&file, APUS_GGUF_ARRAY, 4), put_number(&file, 1, 8);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "'k' has arrays in arrays that cannot be");
    put_gguf(&file, 3, 0, 2);
    put_u32(&file, "k", 1);
    put_u32(&file, "k", 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "metadata 'k' is there twice");
    put_gguf(&file, 3, 0, 1);
    put_u32(&file, "k\n", 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "a control byte in its name");
    put_gguf(&file, 3, 0, 1);
    put_u32(&file, "general.alignment", 24);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "general.alignment 24 is not a power of two");
    put_gguf(&file, 3, 0, 1);
    put_u32(&file, "general.alignment", 0);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "general.alignment 0 is not a power of two");
    put_gguf(&file, 3, 0, 1);
    put_string(&file, "general.alignment", "32");
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "is of type string");
}

TEST(lying_tensors)
{
    put_one_tensor(&file, 2, 4, 2, 0, 0, 32);
    CHECK_OK(parse_only(&file));
    put_one_tensor(&file, 2, 4, 2, 0, 0, 31);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT,
                "tensor 't' needs 32 bytes at 0 of the data, which has 31");
    put_one_tensor(&file, 2, 4, 2, 0, 32, 32);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "needs 32 bytes at 32 of the data");
    put_one_tensor(&file, 2, 4, 2, 0, UINT64_MAX - 31, 32);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "at 18446744073709551584 of the data");
    put_one_tensor(&file, 2, 4, 2, 0, 1, 64);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "is at offset 1, not a multiple of 32");
    put_one_tensor(&file, 5, 1, 1, 0, 0, 32);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "tensor 't' has 5 dimensions");
    put_one_tensor(&file, 2, 1ull << 32, 1ull << 32, 0, 0, 32);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "the shape of tensor 't' overflows");
    put_one_tensor(&file, 2, 1ull << 31, 1ull << 31, 0, 0, 32); /* 2^62 elements of 4 bytes */
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "the size of tensor 't' overflows");
    put_one_tensor(&file, 2, 33, 32, 2, 0, 4096); /* whole blocks in all, but not in a row */
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "rows of 33 elements are not whole blocks");
    put_one_tensor(&file, 2, 576, 4, 12, 0, 4096); /* 2304 elements are nine blocks of 256 */
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT,
                "rows of 576 elements are not whole blocks of q4_K");
    put_one_tensor(&file, 2, 128, 2, 14, 0, 4096);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT,
                "rows of 128 elements are not whole blocks of q6_K");
    put_one_tensor(&file, 2, 256, 3, 12, 0, 3 * 144 - 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "needs 432 bytes at 0");
    put_one_tensor(&file, 2, 256, 3, 14, 0, 3 * 210 - 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "needs 630 bytes at 0");
    put_one_tensor(&file, 2, 64, 3, 6, 0, 6 * 22 - 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "needs 132 bytes at 0");
    put_one_tensor(&file, 2, 64, 3, 7, 0, 6 * 24 - 1);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "needs 144 bytes at 0");
    put_one_tensor(&file, 2, 0, 2, 0, 0, 0);
    CHECK_OK(parse_only(&file));
    put_one_tensor(&file, 1, 5, 0, 77, 0, 0);
    CHECK_OK(parse_only(&file)); /* a format of the future is listed */
    put_gguf(&file, 3, 2, 0);
    put_tensor(&file, "t", 1, 0, 0, 0, 0);
    put_tensor(&file, "t", 1, 0, 0, 0, 0);
    CHECK_FAILS(parse_only(&file), APUS_ERR_FORMAT, "tensor 't' is there twice");
}

TEST(every_failing_call_is_a_status)
{
    char path[4096];

    put_everything(&file, 3);
    snprintf(path, sizeof(path), "%s/all.gguf", harness_folder());
    REQUIRE_OK(apus_file_write(path, file.at, file.n));
    for (apus_fault kind = APUS_FAULT_HOST_ALLOC; kind <= APUS_FAULT_FILE; kind++) {
        apus_status st = APUS_ERR_IO;
        uint64_t n;

        for (n = 1; n < 1000 && st != APUS_OK; n++) {
            apus_gguf *g;

            apus_fault_set(kind, n);
            st = apus_gguf_open(&g, path);
            apus_fault_set(kind, 0);
            CHECK((st == APUS_OK) == (g != NULL));
            CHECK(st == APUS_OK || st == APUS_ERR_MEMORY || st == APUS_ERR_IO);
            apus_gguf_close(&g);
        }
        CHECK(n > 2 && n < 1000);
    }
}

TEST(a_real_file)
{
    const char *folder = harness_real_data("smollm2");
    char path[4096];
    apus_gguf *g;
    apus_gguf_array array;
    apus_gguf_text text;
    const apus_file_tensor *t;
    int64_t v;

    if (!folder)
        return;
    snprintf(path, sizeof(path), "%s/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    REQUIRE_OK(apus_gguf_open(&g, path));
    CHECK_EQ_U64(apus_gguf_count(g), 272);
    REQUIRE_OK(apus_gguf_array_of(g, "tokenizer.ggml.tokens", &array));
    CHECK_EQ_U64(array.n, 49152);
    CHECK(array.texts[1].bytes == 12 && memcmp(array.texts[1].text, "<|im_start|>", 12) == 0);
    REQUIRE_OK(apus_gguf_array_of(g, "tokenizer.ggml.token_type", &array));
    CHECK(apus_gguf_array_int(&array, 0, &v) && v == 3);
    REQUIRE_OK(apus_gguf_array_of(g, "tokenizer.ggml.merges", &array));
    CHECK_EQ_U64(array.n, 48900);
    CHECK_OK(apus_gguf_string(g, "tokenizer.chat_template", &text));
    CHECK(text.bytes > 40 && memcmp(text.text, "{% for message in messages %}", 29) == 0);
    t = apus_gguf_find(g, "token_embd.weight");
    REQUIRE(t != NULL);
    CHECK_EQ_U64(t->dtype, APUS_Q8_0);
    CHECK_EQ_U64(t->dims[0], 49152);
    CHECK_EQ_U64(t->dims[1], 576);
    CHECK_EQ_U64(t->bytes, 49152ull * 576 / 32 * 34);
    apus_gguf_close(&g);
}
