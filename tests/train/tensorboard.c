/* The event file, read back byte by byte by a reader of its own. */
#include "tensorboard.h"

#include <stdio.h>

#include "file.h"
#include "harness.h"

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t x = 0;

    for (int i = n; i-- > 0;)
        x = x << 8 | p[i];
    return x;
}

/* CRC-32C by its definition, a bit at a time (polynomial 0x82f63b78 reflected). */
static uint32_t slow_masked_crc(const uint8_t *p, size_t n)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static uint64_t varint(const uint8_t **p)
{
    uint64_t x = 0;

    for (int shift = 0;; shift += 7) {
        const uint8_t c = *(*p)++;
        x |= (uint64_t)(c & 127) << shift;
        if (!(c & 128))
            return x;
    }
}

/* The first field of this number in a message: a pointer to its bytes and their count, or the
 * number itself. */
static bool field(const uint8_t *p, size_t n, uint32_t want, const uint8_t **at, uint64_t *value)
{
    const uint8_t *end = p + n;

    while (p < end) {
        const uint64_t key = varint(&p);
        const uint8_t *start = p;
        uint64_t v = 0;

        if ((key & 7) == 0) {
            v = varint(&p);
        } else if ((key & 7) == 1) {
            v = little(p, 8);
            p += 8;
        } else if ((key & 7) == 5) {
            v = little(p, 4);
            p += 4;
        } else {
            v = varint(&p);
            start = p;
            p += v;
        }
        if (key >> 3 == want) {
            *at = start;
            *value = v;
            return true;
        }
    }
    return false;
}

static bool text_is(const uint8_t *p, size_t n, uint32_t number, const char *want)
{
    const uint8_t *at;
    uint64_t bytes;

    return field(p, n, number, &at, &bytes) && bytes == strlen(want) &&
           memcmp(at, want, bytes) == 0;
}

typedef struct records {
    uint8_t *data;
    const uint8_t *at[32];
    size_t bytes[32], n;
} records;

static void read_records(records *r, const char *path)
{
    char *text = NULL;
    size_t size, at = 0;

    *r = (records) { 0 };
    REQUIRE_OK(apus_file_read(&text, &size, path, 1 << 20));
    r->data = (uint8_t *)text;
    while (at < size && r->n < 32) {
        REQUIRE(size - at > 16);
        const uint64_t bytes = little(r->data + at, 8);
        CHECK_EQ_U64(little(r->data + at + 8, 4), slow_masked_crc(r->data + at, 8));
        REQUIRE(bytes <= size - at - 16);
        r->at[r->n] = r->data + at + 12;
        r->bytes[r->n++] = bytes;
        CHECK_EQ_U64(little(r->data + at + 12 + bytes, 4),
                     slow_masked_crc(r->data + at + 12, bytes));
        at += bytes + 16;
    }
    CHECK_EQ_U64(at, size);
}

/* The value inside a record's summary. */
static bool value_of(const records *r, size_t i, const uint8_t **at, uint64_t *bytes)
{
    return field(r->at[i], r->bytes[i], 5, at, bytes) && field(*at, *bytes, 1, at, bytes);
}

static void check_scalar(const records *r, size_t i, const char *tag, uint64_t step, float want)
{
    const uint8_t *at, *inner;
    uint64_t bytes, number;
    union {
        uint32_t u;
        float f;
    } bits = { 0 };

    REQUIRE(i < r->n && value_of(r, i, &at, &bytes));
    harness_check(text_is(at, bytes, 1, tag), __FILE__, __LINE__, "record %zu has the tag %s", i,
                  tag);
    REQUIRE(field(at, bytes, 2, &inner, &number));
    bits.u = (uint32_t)number;
    CHECK(bits.f == want);
    REQUIRE(field(r->at[i], r->bytes[i], 2, &inner, &number));
    CHECK_EQ_U64(number, step);
    REQUIRE(field(r->at[i], r->bytes[i], 1, &inner, &number));
    union {
        uint64_t u;
        double d;
    } seconds = { number };
    CHECK(seconds.d > 1.5e9);
}

TEST(the_check_value_of_crc32c)
{
    /* e3069283 for "123456789", masked. */
    const uint32_t crc = 0xe3069283u;

    CHECK_EQ_U64(apusi_masked_crc("123456789", 9), (crc >> 15 | crc << 17) + 0xa282ead8u);
    CHECK_EQ_U64(apusi_masked_crc("", 0), slow_masked_crc((const uint8_t *)"", 0));
}

TEST(a_log_becomes_scalars_under_train_and_eval)
{
    char folder[512];
    apus_tensorboard *board = NULL;
    records r;
    const uint8_t *at;
    uint64_t bytes;
    const apus_log_value train[2] = { { "loss", 2.5 }, { "grad_norm", 0.0 } };
    const apus_log_value eval[1] = { { "eval_loss", 1.25 } };

    snprintf(folder, sizeof folder, "%s/a/runs", harness_folder());
    REQUIRE_OK(apus_tensorboard_open(
        &board, &(apus_tensorboard_params) { .folder = folder, .host = "box", .pid = 77 }));
    const char *name = apus_path_base(apus_tensorboard_path(board));
    CHECK(strncmp(name, "events.out.tfevents.1", 21) == 0);
    CHECK(strstr(name, ".box.77.0") != NULL);
    REQUIRE_OK(apus_tensorboard_log(
        board, &(apus_log_entry) { .step = 300, .epoch = 0.5, .values = train, .n_values = 2 }));
    REQUIRE_OK(apus_tensorboard_log(
        board, &(apus_log_entry) { .step = 301, .epoch = 1.0, .values = eval, .n_values = 1 }));
    read_records(&r, apus_tensorboard_path(board));
    CHECK_EQ_U64(r.n, 6);
    CHECK(text_is(r.at[0], r.bytes[0], 3, "brain.Event:2"));
    check_scalar(&r, 1, "train/loss", 300, 2.5f);
    check_scalar(&r, 2, "train/grad_norm", 300, 0.0f);
    check_scalar(&r, 3, "train/epoch", 300, 0.5f);
    check_scalar(&r, 4, "eval/loss", 301, 1.25f);
    check_scalar(&r, 5, "train/epoch", 301, 1.0f);
    CHECK(!value_of(&r, 0, &at, &bytes));
    apus_free(r.data);
    apus_tensorboard_close(&board);
    CHECK(board == NULL);
}

TEST(a_text_is_a_tensor_of_one_string)
{
    char folder[512];
    apus_tensorboard *board = NULL;
    records r;
    const uint8_t *value, *at;
    uint64_t bytes, n;

    snprintf(folder, sizeof folder, "%s/b", harness_folder());
    REQUIRE_OK(apus_tensorboard_open(&board, &(apus_tensorboard_params) { .folder = folder }));
    REQUIRE_OK(apus_tensorboard_text(board, "args", "{\"seed\": 42}"));
    read_records(&r, apus_tensorboard_path(board));
    REQUIRE(r.n == 2 && value_of(&r, 1, &value, &bytes));
    CHECK(text_is(value, bytes, 1, "args/text_summary"));
    REQUIRE(field(value, bytes, 9, &at, &n));
    REQUIRE(field(at, n, 1, &at, &n));
    CHECK(text_is(at, n, 1, "text"));
    REQUIRE(field(value, bytes, 8, &value, &bytes));
    CHECK(text_is(value, bytes, 8, "{\"seed\": 42}"));
    REQUIRE(field(value, bytes, 1, &at, &n));
    CHECK_EQ_U64(n, 7);
    REQUIRE(field(value, bytes, 2, &value, &bytes) && field(value, bytes, 2, &value, &bytes));
    REQUIRE(field(value, bytes, 1, &at, &n));
    CHECK_EQ_U64(n, 1);
    apus_free(r.data);
    apus_tensorboard_close(&board);
}

TEST(a_folder_that_cannot_be_written_is_a_status)
{
    apus_tensorboard *board = NULL;

    CHECK(apus_tensorboard_open(&board, &(apus_tensorboard_params) { .folder = "/dev/null/x" }) !=
          APUS_OK);
    CHECK(board == NULL);
}
