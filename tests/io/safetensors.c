/* Tests of engine/io/safetensors.c and safetensors_write.c. */
#include "build.h"
#include "dtype.h"
#include "env.h"
#include "file.h"
#include "half.h"
#include "safetensors.h"

static bytes file;

static apus_status parse(const char *header, size_t n)
{
    apus_safetensors *st_file;
    apus_status st;

    put_safetensors(&file, header, n);
    st = apus_safetensors_parse(&st_file, file.at, file.n, "test");
    apus_safetensors_close(&st_file);
    return st;
}

TEST(golden_values)
{
    apus_safetensors *f;
    const apus_file_tensor *t;
    float v[2];

    REQUIRE_OK(apus_safetensors_open(&f, golden("qwen3/model/model.safetensors")));
    CHECK_EQ_U64(apus_safetensors_count(f), 24);
    CHECK_EQ_STR(apus_safetensors_metadata(f, "format"), "pt");
    CHECK(!apus_safetensors_metadata(f, "other"));
    CHECK_OK(apus_safetensors_need(f, "model.layers.1.self_attn.k_proj.weight", &t));
    CHECK_EQ_U64(t->dtype, APUS_BF16);
    CHECK_EQ_STR(t->format, "BF16");
    CHECK_EQ_U64(t->n_dims, 2);
    CHECK_EQ_U64(t->dims[0], 32);
    CHECK_EQ_U64(t->dims[1], 48);
    CHECK_EQ_U64(t->bytes, 3072);
    CHECK_EQ_U64(t->pair_heads, 0);
    CHECK(t->data != NULL);
    CHECK_FAILS(apus_safetensors_need(f, "lm_head.weight", &t), APUS_ERR_MISSING,
                "no tensor 'lm_head.weight'");
    apus_safetensors_close(&f);
    CHECK(!f);
    REQUIRE_OK(apus_safetensors_open(&f, golden("qwen3/ref.safetensors")));
    CHECK_OK(apus_safetensors_need(f, "loss", &t));
    memcpy(v, t->data, 4);
    CHECK_NEAR((double)v[0], 8.53017807006836, 1e-6);
    CHECK_OK(apus_safetensors_need(f, "gen.prompt", &t));
    CHECK_EQ_U64(t->dtype, APUS_I32);
    CHECK_EQ_U64(t->dims[0], 13);
    apus_safetensors_close(&f);
}

TEST(small_file)
{
    apus_safetensors *f;
    const apus_file_tensor *t;

    put_safetensors(&file,
                    "{\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[6,14]},"
                    "\"a\":{\"dtype\":\"F16\",\"shape\":[3,1],\"data_offsets\":[0,6]},"
                    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[14,14]}}   ",
                    14);
    REQUIRE_OK(apus_safetensors_parse(&f, file.at, file.n, "test"));
    CHECK_EQ_U64(apus_safetensors_count(f), 3);
    CHECK_EQ_STR(apus_safetensors_at(f, 0)->name, "a");
    CHECK_EQ_U64(apus_safetensors_at(f, 0)->data[5], 5);
    t = apus_safetensors_find(f, "b");
    CHECK_EQ_U64(t->n_dims, 0);
    CHECK_EQ_U64(apus_file_tensor_elements(t), 1);
    CHECK_EQ_U64(t->data[0], 6);
    CHECK_EQ_U64(apus_safetensors_find(f, "empty")->bytes, 0);
    CHECK_EQ_U64(apus_file_tensor_elements(apus_safetensors_find(f, "empty")), 0);
    apus_safetensors_close(&f);
    CHECK_OK(parse("{}", 0));
}

TEST(formats_that_cannot_be_read_are_listed)
{
    apus_safetensors *f;
    const apus_file_tensor *t;

    put_safetensors(&file,
                    "{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]},"
                    "\"y\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[2,4]}}",
                    4);
    REQUIRE_OK(apus_safetensors_parse(&f, file.at, file.n, "test"));
    CHECK_EQ_U64(apus_safetensors_find(f, "x")->dtype, APUS_DTYPE_COUNT);
    CHECK_EQ_U64(apus_safetensors_find(f, "y")->bytes, 2);
    CHECK_FAILS(apus_safetensors_need(f, "x", &t), APUS_ERR_SUPPORT,
                "tensor 'x' has format F8_E4M3: not supported yet");
    CHECK(!t->data);
    apus_safetensors_close(&f);
}

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"x\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

TEST(lies_are_named)
{
    static const struct {
        const char *header;
        size_t n;
        const char *words;
    } cases[] = {
        { " {}", 0, "does not begin with '{'" },
        { "", 0, "does not begin with '{'" },
        { "{}x", 0, "line 1" },
        { "{\"x\":1}", 0, "the entry of tensor 'x' is not an object" },
        { "{\"x\":{}}", 0, "tensor 'x' has no dtype" },
        { ENTRY("3", "[]", "[0,4]"), 4, "tensor 'x' has no dtype" },
        { ENTRY("\"F31\"", "[]", "[0,4]"), 4, "unknown dtype 'F31'" },
        { ENTRY("\"F32\"", "3", "[0,4]"), 4, "tensor 'x' has no shape" },
        { ENTRY("\"F32\"", "[-1]", "[0,4]"), 4, "dimension 0 is not a whole number" },
        { ENTRY("\"F32\"", "[1,0.5]", "[0,4]"), 4, "dimension 1 is not a whole number" },
        { ENTRY("\"F32\"", "[18446744073709551615]", "[0,4]"), 4, "dimension 0 is not" },
        { ENTRY("\"F32\"", "[4294967296,4294967296]", "[0,4]"), 4, "overflows" },
        { ENTRY("\"F32\"", "[4294967296,2147483648]", "[0,4]"), 4, "overflows" },
        { ENTRY("\"F32\"", "[1,1,1,1,1,1,1]", "[0,4]"), 4, "more than 6 dimensions" },
        { ENTRY("\"F32\"", "[1]", "[0]"), 4, "no valid data_offsets" },
        { ENTRY("\"F32\"", "[1]", "[0,4,8]"), 4, "no valid data_offsets" },
        { ENTRY("\"F32\"", "[1]", "[4,0]"), 4, "no valid data_offsets" },
        { ENTRY("\"F32\"", "[1]", "[-4,0]"), 4, "no valid data_offsets" },
        { ENTRY("\"F32\"", "[1]", "[0,8]"), 4, "ends at byte 8 of the data, which has 4" },
        { ENTRY("\"F32\"", "[2]", "[0,4]"), 4, "has 4 bytes, but 2 elements of F32" },
        { ENTRY("\"F4\"", "[3]", "[0,1]"), 1, "has 1 bytes, but 3 elements of F4" },
        { ENTRY("\"F32\"", "[1]", "[4,8]"), 8, "begins at byte 4 of the data, but 0 is next" },
        { ENTRY("\"F32\"", "[1]", "[0,4]"), 5, "the tensors take 4 bytes of 5" },
        { "{}", 1, "the tensors take 0 bytes of 1" },
        { "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
          "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
          3, "tensor 'y' begins at byte 1 of the data, but 2 is next" },
        { "{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
          "\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
          2, "tensor 'x' is there twice" },
        { "{\"__metadata__\":[]}", 0, "__metadata__ is not an object" },
        { "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: 'a' is not a string" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ is there twice" },
    };
    apus_safetensors *f;

    for (size_t i = 0; i < APUS_COUNT(cases); i++)
        harness_fails(parse(cases[i].header, cases[i].n), APUS_ERR_FORMAT, cases[i].words, __FILE__,
                      __LINE__, cases[i].header);
    file.n = 0;
    put_number(&file, 100000001, 8);
    put_text(&file, "{}");
    CHECK_FAILS(apus_safetensors_parse(&f, file.at, file.n, "test"), APUS_ERR_FORMAT,
                "a header of 100000001 bytes is too long");
    CHECK(!f);
    file.n = 0;
    put_number(&file, 3, 8);
    put(&file, "{}", 2);
    CHECK_FAILS(apus_safetensors_parse(&f, file.at, file.n, "test"), APUS_ERR_FORMAT,
                "the header has 3 bytes, the file only 10");
    CHECK_FAILS(apus_safetensors_open(&f, golden("qwen3")), APUS_ERR_IO, "qwen3");
    CHECK_FAILS(apus_safetensors_open(&f, golden("absent")), APUS_ERR_MISSING, "absent");
}

TEST(truncated_at_every_byte)
{
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]}}";

    put_safetensors(&file, header, 8);
    for (size_t n = 0; n <= file.n; n++) {
        apus_safetensors *f;
        uint8_t *copy =
            malloc(n ? n : 1); /* of that size, so that a sanitizer sees a read past it */
        apus_status st;

        REQUIRE(copy != NULL);
        memcpy(copy, file.at, n);
        st = apus_safetensors_parse(&f, copy, n, "test");
        harness_check(st == (n == file.n ? APUS_OK : APUS_ERR_FORMAT), __FILE__, __LINE__,
                      "%zu bytes: %s", n, apus_error_text());
        apus_safetensors_close(&f);
        free(copy);
    }
}

static void check_same_file(const char *a, const char *b)
{
    apus_map x = { 0 }, y = { 0 };

    CHECK_OK(apus_map_open(&x, a));
    CHECK_OK(apus_map_open(&y, b));
    harness_check(x.bytes == y.bytes && memcmp(x.data, y.data, x.bytes) == 0, __FILE__, __LINE__,
                  "%s differs from %s", a, b);
    apus_map_close(&x);
    apus_map_close(&y);
}

/* Entries that write a file's tensors again, last first; free with free(). */
static apus_safetensors_entry *entries_of(const apus_safetensors *f)
{
    const size_t n = apus_safetensors_count(f);
    apus_safetensors_entry *entries = calloc(n ? n : 1, sizeof(*entries));

    for (size_t i = 0; entries && i < n; i++) {
        const apus_file_tensor *t = apus_safetensors_at(f, n - 1 - i);

        entries[i] = (apus_safetensors_entry) {
            .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data
        };
        memcpy(entries[i].dims, t->dims, sizeof(t->dims));
    }
    return entries;
}

TEST(golden_files_are_written_byte_for_byte)
{
    static const apus_safetensors_pair pt = { "format", "pt" };
    static const char *const names[] = {
        "qwen3/model/model.safetensors",
        "qwen3/ref.safetensors",
        "llama_untied_f32_sharded/model/model-00002-of-00003.safetensors",
        "qwen2_tied_yarn_f16/lora/adapter_model.safetensors",
    };
    char out[4096];

    snprintf(out, sizeof(out), "%s/again.safetensors", harness_folder());
    for (size_t i = 0; i < APUS_COUNT(names); i++) {
        apus_safetensors *f;
        apus_safetensors_entry *entries;

        REQUIRE_OK(apus_safetensors_open(&f, golden(names[i])));
        entries = entries_of(f);
        REQUIRE(entries != NULL);
        CHECK_OK(apus_safetensors_write(out, entries, apus_safetensors_count(f), &pt,
                                        apus_safetensors_metadata(f, "format") ? 1 : 0));
        check_same_file(out, golden(names[i]));
        free(entries);
        apus_safetensors_close(&f);
    }
}

static apus_status fill(void *user, uint64_t offset, void *out, size_t n)
{
    uint64_t *pieces = user;

    ++*pieces;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)out)[i] = (uint8_t)((offset + i) * 7);
    return APUS_OK;
}

static apus_status refuse(void *user, uint64_t offset, void *out, size_t n)
{
    (void)user, (void)offset, (void)out, (void)n;
    return apus_fail(APUS_ERR_DEVICE, "the device is gone");
}

TEST(entries_are_read_in_pieces)
{
    char path[4096];
    uint64_t pieces = 0;
    const uint64_t n = (10u << 20) + 3;
    apus_safetensors_entry e = { .name = "quote \" slash \\ tab \t \xc3\xa9 \x01",
                                 .dtype = APUS_I32,
                                 .n_dims = 1,
                                 .dims = { n },
                                 .read = fill,
                                 .user = &pieces };
    apus_safetensors *f;

    snprintf(path, sizeof(path), "%s/pieces.safetensors", harness_folder());
    REQUIRE_OK(apus_safetensors_write(path, &e, 1, NULL, 0));
    CHECK_EQ_U64(pieces, 11); /* 40 MiB and 12 bytes by 4 MiB */
    REQUIRE_OK(apus_safetensors_open(&f, path));
    const apus_file_tensor *t = apus_safetensors_find(f, e.name);
    REQUIRE(t != NULL);
    CHECK_EQ_U64(t->bytes, n * 4);
    bool same = true;
    for (uint64_t i = 0; i < t->bytes; i++)
        same = same && t->data[i] == (uint8_t)(i * 7);
    CHECK(same);
    apus_safetensors_close(&f);
    e.read = refuse;
    snprintf(path, sizeof(path), "%s/refused.safetensors", harness_folder());
    CHECK_FAILS(apus_safetensors_write(path, &e, 1, NULL, 0), APUS_ERR_DEVICE, "is gone");
    CHECK(!apus_path_exists(path));
}

TEST(what_cannot_be_written_is_named)
{
    char path[4096];
    const float one = 1;
    apus_safetensors_entry e[2] = { { .name = "x", .dtype = APUS_F32, .data = &one },
                                    { .name = "x", .dtype = APUS_F16, .data = &one } };

    snprintf(path, sizeof(path), "%s/bad.safetensors", harness_folder());
    CHECK_FAILS(apus_safetensors_write(path, e, 2, NULL, 0), APUS_ERR_ARG,
                "two tensors are called 'x'");
    e[1].dtype = APUS_Q4_0;
    e[1].name = "y";
    CHECK_FAILS(apus_safetensors_write(path, e, 2, NULL, 0), APUS_ERR_ARG,
                "tensor 'y': a safetensors file cannot hold format q4_0");
    e[1].dtype = APUS_F32;
    e[1].name = "__metadata__";
    CHECK_FAILS(apus_safetensors_write(path, e, 2, NULL, 0), APUS_ERR_ARG, "__metadata__");
    e[1].name = "y";
    e[1].n_dims = 2;
    e[1].dims[0] = e[1].dims[1] = (uint64_t)1 << 40;
    CHECK_FAILS(apus_safetensors_write(path, e, 2, NULL, 0), APUS_ERR_ARG, "overflows");
    CHECK(!apus_path_exists(path));
}

TEST(shards)
{
    static const uint8_t data[64] = { 1, 2, 3 };
    const apus_safetensors_entry e[] = {
        { "c", APUS_F32, 1, { 4 }, data, NULL, NULL },
        { "b", APUS_F32, 1, { 2 }, data, NULL, NULL },
        { "a", APUS_F32, 1, { 16 }, data, NULL, NULL },
        { "d", APUS_F16, 1, { 1 }, data, NULL, NULL },
    };
    char path[4096], *text;
    apus_safetensors *f;
    size_t n;

    snprintf(path, sizeof(path), "%s/model-00001-of-00009.safetensors", harness_folder());
    REQUIRE_OK(apus_file_write(path, "", 0));
    REQUIRE_OK(apus_safetensors_write_sharded(harness_folder(), e, 4, 24));
    CHECK(!apus_path_exists(path));
    snprintf(path, sizeof(path), "%s/model.safetensors.index.json", harness_folder());
    REQUIRE_OK(apus_file_read(&text, &n, path, 4096));
    CHECK_EQ_STR(text,
                 "{\n  \"metadata\": {\n    \"total_parameters\": 23,\n    \"total_size\": 90\n"
                 "  },\n  \"weight_map\": {\n"
                 "    \"a\": \"model-00002-of-00003.safetensors\",\n"
                 "    \"b\": \"model-00001-of-00003.safetensors\",\n"
                 "    \"c\": \"model-00001-of-00003.safetensors\",\n"
                 "    \"d\": \"model-00003-of-00003.safetensors\"\n  }\n}\n");
    apus_free(text);
    snprintf(path, sizeof(path), "%s/model-00001-of-00003.safetensors", harness_folder());
    REQUIRE_OK(apus_safetensors_open(&f, path));
    CHECK_EQ_U64(apus_safetensors_count(f), 2);
    CHECK_EQ_STR(apus_safetensors_at(f, 0)->name, "b");
    CHECK_EQ_STR(apus_safetensors_metadata(f, "format"), "pt");
    apus_safetensors_close(&f);
    REQUIRE_OK(apus_safetensors_write_sharded(harness_folder(), e, 4, 90));
    CHECK(!apus_path_exists(path));
    snprintf(path, sizeof(path), "%s/model.safetensors.index.json", harness_folder());
    CHECK(!apus_path_exists(path));
    snprintf(path, sizeof(path), "%s/model.safetensors", harness_folder());
    REQUIRE_OK(apus_safetensors_open(&f, path));
    CHECK_EQ_U64(apus_safetensors_count(f), 4);
    apus_safetensors_close(&f);
}

TEST(every_failing_call_is_a_status)
{
    static const uint8_t data[64] = { 1 };
    uint64_t pieces = 0;
    const apus_safetensors_entry e[] = {
        { "c", APUS_F32, 1, { 4 }, data, NULL, NULL },
        { "b", APUS_F32, 1, { 2 }, NULL, fill, &pieces },
    };

    for (apus_fault kind = APUS_FAULT_HOST_ALLOC; kind <= APUS_FAULT_FILE; kind++) {
        apus_status write = APUS_ERR_IO, read = APUS_ERR_IO;
        uint64_t n;

        for (n = 1; n < 1000 && (write != APUS_OK || read != APUS_OK); n++) {
            apus_safetensors *f;
            const char *path = golden("qwen3/model/model.safetensors");

            apus_fault_set(kind, n);
            write = apus_safetensors_write_sharded(harness_folder(), e, 2, 16);
            apus_fault_set(kind, n);
            read = apus_safetensors_open(&f, path);
            apus_fault_set(kind, 0);
            CHECK(write == APUS_OK || *apus_error_text());
            CHECK((read == APUS_OK) == (f != NULL));
            apus_safetensors_close(&f);
        }
        CHECK(n > 2 && n < 1000);
    }
}
