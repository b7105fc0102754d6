/* layout.h - how a quantized matrix (rows, cols) lies in device memory: planes instead of blocks.
 *
 * One layout a format serves mat-vec, A B^T, A B and row gather (ADR 0001):
 *   plane 0: quants, row-major.  q8_0: one signed byte an element, four to a word, in order.
 *            q4_0, q4_1: eight elements to a word; byte j of word w holds element 8w+j in its low
 *            and element 8w+4+j in its high nibble, so that `w & 0x0f0f0f0f` is four in order.
 *   plane 1: scales, row-major, one entry for 32 elements.  q8_0, q4_0: d as f16, two to a word
 *            (rows padded to whole words); q4_1: d and m as f16, one word.
 * Plane 1 starts at the next multiple of 256 bytes.  No value is re-rounded.  cols is a multiple
 * of 32. */
#ifndef APUSI_LAYOUT_H
#define APUSI_LAYOUT_H

#include "dtype.h"

/* Bytes of both planes; false if cols is not a multiple of 32 or the size overflows. */
bool apus_layout_bytes(apus_dtype dtype, uint64_t rows, uint64_t cols, uint64_t *bytes);
/* Where plane 1 starts. */
uint64_t apus_layout_scales_at(apus_dtype dtype, uint64_t rows, uint64_t cols);
/* Words of plane 1 in a row. */
uint32_t apus_layout_scale_words(apus_dtype dtype, uint32_t cols);
/* Re-lay one row of file blocks: `quants` and `scales` are the row's places in the two planes. */
void apus_layout_row(apus_dtype dtype, const uint8_t *blocks, uint32_t cols, uint8_t *quants,
                     uint8_t *scales);

#endif
