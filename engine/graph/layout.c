/* layout.c - block formats of files to the plane layouts of device memory.  See layout.h. */
#include "layout.h"

uint64_t apus_layout_quant_bytes(apus_dtype dtype, uint64_t cols)
{
    return dtype == APUS_Q8_0 ? cols : cols / 2;
}

/* Words of plane 1 that a row's upper bits take. */
static uint32_t high_words(apus_dtype dtype, uint32_t blocks)
{
    if (dtype == APUS_Q6_K)
        return 2 * blocks;
    return dtype == APUS_Q5_0 || dtype == APUS_Q5_1 ? blocks : 0;
}

uint32_t apus_layout_scale_words(apus_dtype dtype, uint32_t cols)
{
    const uint32_t blocks = cols / 32, high = high_words(dtype, blocks);

    switch (dtype) {
    case APUS_Q4_1:
    case APUS_Q5_1:
        return high + blocks;
    case APUS_Q4_K:
        return blocks / 2;
    case APUS_Q6_K:
        return (high + blocks / 2 + (blocks / 8 + 1) / 2 + 1) & ~1u;
    default:
        return high + (blocks + 1) / 2;
    }
}

uint64_t apus_layout_scales_at(apus_dtype dtype, uint64_t rows, uint64_t cols)
{
    return apus_round_up(rows * apus_layout_quant_bytes(dtype, cols), 256);
}

bool apus_layout_bytes(apus_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
    uint64_t quants, scales;

    if (cols % apus_dtype_of(dtype)->block || cols >> 32 ||
        !apus_mul_u64(rows, apus_layout_quant_bytes(dtype, cols), &quants) || quants >> 48 ||
        !apus_mul_u64(rows, 4 * (uint64_t)apus_layout_scale_words(dtype, (uint32_t)cols), &scales))
        return false;
    *bytes = apus_round_up(quants, 256) + scales;
    return true;
}

static void put_quants(apus_dtype dtype, const uint8_t *q, uint32_t n, uint8_t *to)
{
    if (dtype == APUS_Q8_0) {
        memcpy(to, q, n);
        return;
    }
    for (uint32_t w = 0; w < n / 8; w++)
        for (uint32_t j = 0; j < 4; j++)
            to[4 * w + j] = (uint8_t)((q[8 * w + j] & 15) | (q[8 * w + 4 + j] & 15) << 4);
}

/* The `bits` bits above the fourth; they were zero. */
static void put_high(const uint8_t *q, uint32_t n, uint32_t bits, uint8_t *to)
{
    const uint32_t fours = 8 / bits; /* of a word */

    for (uint32_t i = 0; i < n; i++)
        to[i / 4 / fours * 4 + i % 4] |= (uint8_t)(q[i] >> 4 << i / 4 % fours * bits);
}

static void put_q4_k_scales(const uint8_t *block, uint8_t *to)
{
    uint8_t s[8], m[8];

    apus_dtype_q4_k_scales(block, s, m);
    memcpy(to, block, 4);
    for (uint32_t b = 0; b < 8; b++) {
        to[4 + b] = (uint8_t)((s[b] & 15) | (m[b] & 15) << 4);
        to[12 + b / 2] |= (uint8_t)((s[b] >> 4 | m[b] >> 4 << 2) << b % 2 * 4);
    }
}

/* Block b's place in the scales of its row of n blocks. */
static void put_scales(apus_dtype dtype, const uint8_t *block, uint32_t b, uint32_t n, uint8_t *to)
{
    const uint32_t head = dtype == APUS_Q4_1 || dtype == APUS_Q5_1 ? 4 : 2;

    if (dtype == APUS_Q4_K) {
        put_q4_k_scales(block, to + 16 * b);
    } else if (dtype == APUS_Q6_K) {
        memcpy(to + 16 * b, block + 192, 16);
        memcpy(to + 16 * n + 2 * b, block + 208, 2);
    } else {
        memcpy(to + head * b, block, head);
    }
}

void apus_layout_row(apus_dtype dtype, const uint8_t *blocks, uint32_t cols, uint8_t *quants,
                     uint8_t *scales)
{
    const apus_dtype_info *info = apus_dtype_of(dtype);
    const uint32_t n = cols / info->block, high = high_words(dtype, cols / 32);
    const uint32_t bits = 32 * high / cols;
    uint8_t q[256];

    memset(scales, 0, 4 * (size_t)apus_layout_scale_words(dtype, cols));
    for (uint32_t b = 0; b < n; b++, blocks += info->block_bytes) {
        const uint32_t at = b * info->block;
        apus_dtype_quants(dtype, blocks, q);
        put_quants(dtype, q, info->block, quants + apus_layout_quant_bytes(dtype, at));
        if (bits)
            put_high(q, info->block, bits, scales + at * bits / 8);
        put_scales(dtype, blocks, b, n, scales + 4 * high);
    }
}
