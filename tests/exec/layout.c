/* layout.c - tests of the plane layouts: what the planes hold, decoded here by the text of
 * layout.h, is what the format's own definition decodes from the file's blocks, bit for bit. */
#include "layout.h"

#include "half.h"
#include "harness.h"
#include "rng.h"

static uint8_t draw(uint64_t *state)
{
    const uint32_t key[2] = { 1, 2 }, counter[4] = { (uint32_t)*state, 0, 0, 0 };
    uint32_t out[4];

    ++*state;
    apus_philox(key, counter, out);
    return (uint8_t)out[0];
}

static float half_at(const uint8_t *p)
{
    uint16_t h;

    memcpy(&h, p, 2);
    return apus_f16_to_f32(h);
}

typedef struct matrix {
    apus_dtype dtype;
    uint32_t rows, cols;
    uint64_t bytes;  /* of the planes */
    uint32_t quants; /* bytes a row of plane 0 */
    uint8_t *blocks, *planes;
} matrix;

static uint8_t *scales_of(const matrix *m, uint32_t row)
{
    return m->planes + apus_layout_scales_at(m->dtype, m->rows, m->cols) +
           (uint64_t)row * 4 * apus_layout_scale_words(m->dtype, m->cols);
}

/* Quant q of the 32 elements b of 256, by the four words of its scales. */
static float q4_k(const uint8_t *words, uint32_t b, float q)
{
    const uint8_t low = words[4 + b], high = words[12 + b / 2] >> 4 * (b % 2) & 15;
    const float s = (float)((low & 15) + 16 * (high & 3)), m = (float)(low / 16 + 16 * (high / 4));

    return q * (s * half_at(words)) - m * half_at(words + 2);
}

/* Element (r, c) of the planes. */
static float element(const matrix *m, uint32_t r, uint32_t c)
{
    const uint8_t *row = scales_of(m, r), *quants = m->planes + r * m->quants;
    const uint32_t b = c / 32, e = c % 8, n = m->cols / 32;
    const uint32_t high = m->dtype == APUS_Q6_K                            ? 8 * n
                          : m->dtype == APUS_Q5_0 || m->dtype == APUS_Q5_1 ? 4 * n
                                                                           : 0;
    const uint8_t *scales = row + high; /* behind the bytes of upper bits */

    if (m->dtype == APUS_Q8_0)
        return (float)(int8_t)quants[c] * half_at(scales + 2 * b);
    /* Byte j of a word holds element j in its low and element 4 + j in its high nibble. */
    const uint8_t byte = quants[c / 8 * 4 + e % 4];
    float q = (float)(e < 4 ? byte & 15 : byte >> 4);
    /* Bits 8j+i of a word for 32, or 8j+2i and the next of one for 16, are those of 4i+j. */
    if (high == 4 * n)
        q += (float)(16 * (row[4 * b + c % 4] >> c % 32 / 4 & 1));
    else if (high)
        q += (float)(16 * (row[4 * (c / 16) + c % 4] >> c % 16 / 4 * 2 & 3));
    switch (m->dtype) {
    case APUS_Q4_0:
        return (q - 8) * half_at(scales + 2 * b);
    case APUS_Q5_0:
        return (q - 16) * half_at(scales + 2 * b);
    case APUS_Q4_K:
        return q4_k(scales + 16 * (b / 8), b % 8, q);
    case APUS_Q6_K:
        return (q - 32) * ((float)(int8_t)scales[c / 16] * half_at(scales + 2 * n + 2 * (c / 256)));
    default:
        return q * half_at(scales + 4 * b) + half_at(scales + 4 * b + 2);
    }
}

/* Random blocks whose scales are numbers, laid anew; 16 bytes behind the planes are watched. */
static void fill(matrix *m, uint64_t *state)
{
    const apus_dtype_info *info = apus_dtype_of(m->dtype);
    const uint32_t block = info->block_bytes, row = m->cols / info->block * block;
    const uint32_t d = m->dtype == APUS_Q6_K ? 208 : 0;

    m->blocks = apus_alloc((size_t)m->rows * row);
    m->planes = apus_alloc(m->bytes + 16);
    memset(m->planes, 0xa5, m->bytes + 16);
    for (uint32_t i = 0; i < m->rows * row; i++)
        m->blocks[i] = draw(state);
    for (uint32_t i = 0; i < m->rows * row; i += block) {
        m->blocks[i + d + 1] &= 0x3f;
        if (m->dtype == APUS_Q4_1 || m->dtype == APUS_Q5_1 || m->dtype == APUS_Q4_K)
            m->blocks[i + 3] &= 0xbf;
    }
    for (uint32_t r = 0; r < m->rows; r++)
        apus_layout_row(m->dtype, m->blocks + r * row, m->cols, m->planes + r * m->quants,
                        scales_of(m, r));
}

static void check_format(apus_dtype dtype, uint32_t rows, uint32_t cols, uint64_t *state)
{
    matrix m = { dtype, rows, cols, 0, (uint32_t)apus_layout_quant_bytes(dtype, cols), NULL, NULL };
    float *want = apus_calloc((size_t)rows * cols, sizeof(float));
    uint32_t wrong = 0;

    REQUIRE(apus_layout_bytes(dtype, rows, cols, &m.bytes));
    REQUIRE(apus_layout_scales_at(dtype, rows, cols) % 256 == 0);
    REQUIRE(apus_layout_scales_at(dtype, rows, cols) >= (uint64_t)rows * m.quants);
    CHECK_EQ_U64(m.bytes, (uint64_t)(scales_of(&m, rows) - m.planes));
    fill(&m, state);
    apus_dtype_decode(dtype, m.blocks, (uint64_t)rows * cols, want);
    for (uint32_t i = 0; i < rows * cols; i++) {
        const float got = element(&m, i / cols, i % cols);
        wrong += memcmp(&got, &want[i], 4) != 0;
    }
    harness_check(wrong == 0, __FILE__, __LINE__, "%s (%u, %u): %u elements differ",
                  apus_dtype_of(dtype)->name, rows, cols, wrong);
    for (uint32_t i = 0; i < 16; i++)
        CHECK(m.planes[m.bytes + i] == 0xa5);
    apus_free(m.blocks);
    apus_free(m.planes);
    apus_free(want);
}

TEST(planes_decode_as_blocks_do)
{
    uint64_t state = 1;
    uint32_t formats = 0;

    for (apus_dtype d = 0; d < APUS_DTYPE_COUNT; d++) {
        if (!apus_dtype_is_quant(d))
            continue;
        formats++;
        const uint32_t block = apus_dtype_of(d)->block;
        check_format(d, 1, block, &state);
        check_format(d, 3, 2 * block, &state);
        check_format(d, 7, 3 * block, &state); /* an odd count: a padded row of scales */
        check_format(d, 5, 18 * block, &state);
    }
    CHECK_EQ_U64(formats, 7);
}

TEST(sizes_that_do_not_fit)
{
    uint64_t bytes;

    CHECK(!apus_layout_bytes(APUS_Q8_0, 4, 33, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q4_0, 4, 16, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q8_0, UINT64_MAX / 32, 64, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q4_1, 1, (uint64_t)1 << 32, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q4_1, (uint64_t)1 << 60, 32, &bytes));
    CHECK(apus_layout_bytes(APUS_Q4_0, 49152, 576, &bytes));
    CHECK_EQ_U64(bytes, 49152ull * 288 + 49152ull * 9 * 4);
    CHECK(!apus_layout_bytes(APUS_Q5_0, 4, 16, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q4_K, 4, 128, &bytes));
    CHECK(!apus_layout_bytes(APUS_Q6_K, 4, 576, &bytes));
    /* As large as in the file, 5.5, 6, 4.5 and 6.5625 bits an element, but for whole words. */
    CHECK(apus_layout_bytes(APUS_Q5_0, 896, 896, &bytes));
    CHECK_EQ_U64(bytes, 896ull * 896 / 32 * 22);
    CHECK(apus_layout_bytes(APUS_Q5_1, 896, 896, &bytes));
    CHECK_EQ_U64(bytes, 896ull * 896 / 32 * 24);
    CHECK(apus_layout_bytes(APUS_Q4_K, 896, 4864, &bytes));
    CHECK_EQ_U64(bytes, 896ull * 4864 / 256 * 144);
    CHECK(apus_layout_bytes(APUS_Q6_K, 896, 4864, &bytes));
    CHECK_EQ_U64(bytes, 896ull * (4864 / 256 * 210 + 2));
}
