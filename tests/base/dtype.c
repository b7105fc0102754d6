/* dtype.c - the table of number formats, and blocks decoded by hand. */
#include "dtype.h"

#include "file.h"
#include "half.h"
#include "harness.h"

TEST(table)
{
    CHECK_EQ_STR(apus_dtype_of(APUS_Q4_1)->name, "q4_1");
    CHECK_EQ_U64(apus_dtype_of(APUS_Q4_1)->block, 32);
    CHECK_EQ_U64(apus_dtype_of(APUS_Q4_1)->block_bytes, 20);
    CHECK_EQ_STR(apus_dtype_of(APUS_Q6_K)->name, "q6_K");
    CHECK_EQ_U64(apus_dtype_of(APUS_Q6_K)->block, 256);
    CHECK(apus_dtype_is_quant(APUS_Q8_0) && !apus_dtype_is_quant(APUS_BF16));
    CHECK(apus_dtype_is_quant(APUS_Q4_K) && !apus_dtype_is_quant(APUS_I64));
    CHECK(apus_dtype_is_weight(APUS_Q5_0) && apus_dtype_is_weight(APUS_F16));
    CHECK(!apus_dtype_is_weight(APUS_U32) && !apus_dtype_is_weight(APUS_I32));
}

TEST(look_ups)
{
    apus_dtype d;

    CHECK(apus_dtype_by_gguf(0, &d) && d == APUS_F32);
    CHECK(apus_dtype_by_gguf(8, &d) && d == APUS_Q8_0);
    CHECK(apus_dtype_by_gguf(30, &d) && d == APUS_BF16);
    CHECK(apus_dtype_by_gguf(6, &d) && d == APUS_Q5_0);
    CHECK(apus_dtype_by_gguf(7, &d) && d == APUS_Q5_1);
    CHECK(apus_dtype_by_gguf(12, &d) && d == APUS_Q4_K);
    CHECK(apus_dtype_by_gguf(14, &d) && d == APUS_Q6_K);
    CHECK(!apus_dtype_by_gguf(-1, &d)); /* the row of u32 has no number of GGUF */
    CHECK(!apus_dtype_by_gguf(12345, &d));
    CHECK(apus_dtype_by_safetensors("BF16", &d) && d == APUS_BF16);
    CHECK(apus_dtype_by_safetensors("I64", &d) && d == APUS_I64);
    CHECK(!apus_dtype_by_safetensors("", &d));
    CHECK(!apus_dtype_by_safetensors("bf16", &d));
    CHECK(apus_dtype_by_name("q4_0", &d) && d == APUS_Q4_0);
    CHECK(!apus_dtype_by_name("q4", &d));
    CHECK(apus_dtype_by_torch("bfloat16", &d) && d == APUS_BF16);
    CHECK(!apus_dtype_by_torch("bf16", &d));
    CHECK_EQ_STR(apus_dtype_torch(APUS_F16), "float16");
    CHECK(apus_dtype_torch(APUS_Q8_0) == NULL);
}

TEST(bytes_of_a_row)
{
    uint64_t bytes;

    CHECK(apus_dtype_bytes(APUS_F16, 7, &bytes));
    CHECK_EQ_U64(bytes, 14);
    CHECK(apus_dtype_bytes(APUS_Q4_0, 64, &bytes));
    CHECK_EQ_U64(bytes, 36);
    CHECK(!apus_dtype_bytes(APUS_Q4_0, 63, &bytes));
    CHECK(apus_dtype_bytes(APUS_Q8_0, 0, &bytes));
    CHECK_EQ_U64(bytes, 0);
    CHECK(!apus_dtype_bytes(APUS_I64, UINT64_MAX / 8 + 1, &bytes));
    CHECK(!apus_dtype_bytes(APUS_Q8_0, UINT64_MAX / 32 * 32, &bytes));
}

TEST(plain_values)
{
    /* Odd addresses: files give no alignment. */
    const unsigned char f32[] = { 0xff, 0x00, 0x00, 0x20, 0xc1, 0x00, 0x00, 0x80, 0x3f };
    const unsigned char f16[] = { 0x00, 0x3c, 0x00, 0xc0 };
    const unsigned char bf16[] = { 0x80, 0x3f, 0x20, 0xc1 };
    const unsigned char i32[] = { 0xfe, 0xff, 0xff, 0xff };
    const unsigned char i64[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                  0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00 };
    float x[2];

    apus_dtype_decode(APUS_F32, f32 + 1, 2, x);
    CHECK(x[0] == -10.0f && x[1] == 1.0f);
    apus_dtype_decode(APUS_F16, f16, 2, x);
    CHECK(x[0] == 1.0f && x[1] == -2.0f);
    apus_dtype_decode(APUS_BF16, bf16, 2, x);
    CHECK(x[0] == 1.0f && x[1] == -10.0f);
    apus_dtype_decode(APUS_I32, i32, 1, x);
    CHECK(x[0] == -2.0f);
    apus_dtype_decode(APUS_U32, i32, 1, x);
    CHECK(x[0] == 4294967294.0f);
    apus_dtype_decode(APUS_I64, i64, 2, x);
    CHECK(x[0] == -1.0f && x[1] == 4294967296.0f);
    apus_dtype_decode(APUS_U8, f32, 2, x);
    CHECK(x[0] == 255.0f && x[1] == 0.0f);
}

TEST(q8_0_block)
{
    unsigned char block[2 * 34];
    float x[64];

    for (int b = 0; b < 2; b++) {
        unsigned char *p = block + b * 34;
        p[0] = 0x00;
        p[1] = b ? 0xc0 : 0x38; /* d = 0.5, then -2 */
        for (int j = 0; j < 32; j++)
            p[2 + j] = (unsigned char)(j * 8 - 128);
    }
    apus_dtype_decode(APUS_Q8_0, block, 64, x);
    for (int j = 0; j < 32; j++) {
        CHECK(x[j] == 0.5f * (float)(j * 8 - 128));
        CHECK(x[32 + j] == -2.0f * (float)(j * 8 - 128));
    }
}

TEST(q4_blocks)
{
    unsigned char block[20] = { 0x00, 0x34, 0x00, 0xbc }; /* d = 0.25, m = -1 */
    float x[32];

    /* Element j is j % 16 in the low half, 15 - j in the high one. */
    for (int j = 0; j < 16; j++)
        block[4 + j] = (unsigned char)(j | (15 - j) << 4);
    apus_dtype_decode(APUS_Q4_1, block, 32, x);
    for (int j = 0; j < 16; j++) {
        CHECK(x[j] == 0.25f * (float)j - 1.0f);
        CHECK(x[j + 16] == 0.25f * (float)(15 - j) - 1.0f);
    }
    block[2] = 0x00;
    block[3] = 0x34;
    apus_dtype_decode(APUS_Q4_0, block + 2, 32, x);
    for (int j = 0; j < 16; j++) {
        CHECK(x[j] == 0.25f * (float)(j - 8));
        CHECK(x[j + 16] == 0.25f * (float)(7 - j));
    }
}

/* Blocks of 32 elements with a fifth bit, and of 256 with scales of scales, by hand. */
TEST(q5_blocks)
{
    unsigned char block[24] = { 0x00, 0x34, 0x00, 0xbc }; /* d = 0.25, m = -1 */
    float x[32];

    /* Element j is j: the fifth bits are those of the upper half. */
    for (int j = 0; j < 16; j++)
        block[8 + j] = (unsigned char)(j | j << 4);
    block[6] = block[7] = 0xff;
    apus_dtype_decode(APUS_Q5_1, block, 32, x);
    for (int j = 0; j < 32; j++)
        CHECK(x[j] == 0.25f * (float)j - 1.0f);
    memmove(block + 2, block + 4, 20);
    apus_dtype_decode(APUS_Q5_0, block, 32, x);
    for (int j = 0; j < 32; j++)
        CHECK(x[j] == 0.25f * (float)(j - 16));
}

TEST(q4_k_block)
{
    /* d = 0.5, that of the minima 2; scales 1..8 and 60..63 in the third four bits' place. */
    unsigned char block[144] = { 0x00, 0x38, 0x00, 0x40, 1, 2, 3, 4, 5, 6, 7, 8 };
    static const int s[8] = { 1, 2, 3, 4, 35, 35, 35, 35 }, m[8] = { 5, 6, 7, 8, 20, 20, 20, 20 };
    float x[256];

    for (int b = 0; b < 4; b++) {
        block[4 + b] |= 2 << 6; /* 2 * 16 + 3 */
        block[8 + b] |= 1 << 6; /* 1 * 16 + 4 */
        block[12 + b] = 3 | 4 << 4;
    }
    for (int i = 0; i < 128; i++) /* element i of 64 is i % 16, 32 further 15 - i % 16 */
        block[16 + i] = (unsigned char)(i % 16 | (15 - i % 16) << 4);
    apus_dtype_decode(APUS_Q4_K, block, 256, x);
    for (int i = 0; i < 256; i++) {
        const int q = i % 64 < 32 ? i % 16 : 15 - i % 16;
        CHECK(x[i] == 0.5f * (float)(q * s[i / 32]) - 2.0f * (float)m[i / 32]);
    }
}

TEST(q6_k_block)
{
    unsigned char block[210] = { 0 };
    float x[256];

    /* Element i is i % 64: low bits i % 16, upper ones i / 16 % 4. */
    for (int i = 0; i < 256; i++) {
        const int part = i / 128, r = i % 128;
        block[64 * part + r % 64] |= (unsigned char)(i % 16 << (r < 64 ? 0 : 4));
        block[128 + 32 * part + r % 32] |= (unsigned char)(i / 16 % 4 << r / 32 * 2);
    }
    for (int g = 0; g < 16; g++)
        block[192 + g] = (unsigned char)(g - 8);
    block[209] = 0x34; /* d = 0.25 */
    apus_dtype_decode(APUS_Q6_K, block, 256, x);
    for (int i = 0; i < 256; i++)
        CHECK(x[i] == 0.25f * (float)((i / 16 - 8) * (i % 64 - 32)));
}

/* Random blocks of every format as another implementation decodes them, bit for bit
 * (tests/fixtures/base/README.md). */
TEST(recorded_blocks)
{
    char *all = NULL;
    size_t bytes = 0, at = 0;
    uint32_t formats = 0;

    REQUIRE_OK(apus_file_read(&all, &bytes, harness_fixture("base/blocks.bin"), 1 << 20));
    while (at + 16 <= bytes) {
        uint32_t counts[2]; /* blocks, values */
        apus_dtype d;
        REQUIRE(apus_dtype_by_name(all + at, &d));
        memcpy(counts, all + at + 8, 8);
        const apus_dtype_info *info = apus_dtype_of(d);
        const size_t block_bytes = (size_t)counts[0] * info->block_bytes;
        REQUIRE(counts[1] == counts[0] * info->block);
        REQUIRE(at + 16 + block_bytes + 4 * (size_t)counts[1] <= bytes);
        float *x = apus_calloc(counts[1], sizeof(float));
        apus_dtype_decode(d, all + at + 16, counts[1], x);
        harness_check(!memcmp(x, all + at + 16 + block_bytes, 4 * (size_t)counts[1]), __FILE__,
                      __LINE__, "%s differs", info->name);
        apus_free(x);
        at += 16 + block_bytes + 4 * (size_t)counts[1];
        formats++;
    }
    CHECK_EQ_U64(at, bytes);
    CHECK_EQ_U64(formats, 7);
    apus_free(all);
}
