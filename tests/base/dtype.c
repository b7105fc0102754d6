/* dtype.c - the table of number formats, and blocks decoded by hand. */
#include "dtype.h"

#include "half.h"
#include "harness.h"

TEST(table)
{
    CHECK_EQ_STR(apus_dtype_of(APUS_Q4_1)->name, "q4_1");
    CHECK_EQ_U64(apus_dtype_of(APUS_Q4_1)->block, 32);
    CHECK_EQ_U64(apus_dtype_of(APUS_Q4_1)->block_bytes, 20);
    CHECK(apus_dtype_is_quant(APUS_Q8_0) && !apus_dtype_is_quant(APUS_BF16));
}

TEST(look_ups)
{
    apus_dtype d;

    CHECK(apus_dtype_by_gguf(0, &d) && d == APUS_F32);
    CHECK(apus_dtype_by_gguf(8, &d) && d == APUS_Q8_0);
    CHECK(apus_dtype_by_gguf(30, &d) && d == APUS_BF16);
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
