/* layout.c - block formats of files to the plane layouts of device memory.  See layout.h. */
#include "layout.h"

static uint64_t quant_bytes(apus_dtype dtype, uint64_t cols)
{
    return dtype == APUS_Q8_0 ? cols : cols / 2;
}

uint32_t apus_layout_scale_words(apus_dtype dtype, uint32_t cols)
{
    const uint32_t blocks = cols / 32;

    return dtype == APUS_Q4_1 ? blocks : (blocks + 1) / 2;
}

uint64_t apus_layout_scales_at(apus_dtype dtype, uint64_t rows, uint64_t cols)
{
    return apus_round_up(rows * quant_bytes(dtype, cols), 256);
}

bool apus_layout_bytes(apus_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
    uint64_t quants, scales;

    if (cols % 32 || cols >> 32 || !apus_mul_u64(rows, quant_bytes(dtype, cols), &quants) ||
        quants >> 48 ||
        !apus_mul_u64(rows, 4 * apus_layout_scale_words(dtype, (uint32_t)cols), &scales))
        return false;
    *bytes = apus_round_up(quants, 256) + scales;
    return true;
}

void apus_layout_row(apus_dtype dtype, const uint8_t *blocks, uint32_t cols, uint8_t *quants,
                     uint8_t *scales)
{
    const uint32_t n = cols / 32, stride = apus_dtype_of(dtype)->block_bytes;

    for (uint32_t b = 0; b < n; b++, blocks += stride) {
        if (dtype == APUS_Q8_0) {
            memcpy(scales + 2 * b, blocks, 2);
            memcpy(quants + 32 * b, blocks + 2, 32);
            continue;
        }
        const uint32_t head = dtype == APUS_Q4_1 ? 4 : 2;
        memcpy(scales + head * b, blocks, head);
        for (uint32_t w = 0; w < 4; w++)
            for (uint32_t j = 0; j < 4; j++) {
                /* Element e of a file block: low nibble of byte e, or high nibble of byte e -
                 * 16. */
                const uint32_t lo = 8 * w + j, hi = lo + 4;
                const uint8_t a = lo < 16 ? blocks[head + lo] & 15 : blocks[head + lo - 16] >> 4;
                const uint8_t c = hi < 16 ? blocks[head + hi] & 15 : blocks[head + hi - 16] >> 4;
                quants[16 * b + 4 * w + j] = (uint8_t)(a | c << 4);
            }
    }
    if (dtype != APUS_Q4_1 && n % 2)
        memset(scales + 2 * n, 0, 2);
}
